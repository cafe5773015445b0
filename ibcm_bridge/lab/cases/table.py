"""All cases of the demo, by family; and the requirements without a case, with the reason."""

from __future__ import annotations

from ibcm_bridge.lab.cases.case import Case
from ibcm_bridge.lab.cases.connections import CERTIFICATES, NAMES, ONLY_TUNNELED, TWO_LEGS
from ibcm_bridge.lab.cases.content import CONTENT, MANAGEMENT_AND_DISTRIBUTION
from ibcm_bridge.lab.cases.heads import HEADS
from ibcm_bridge.lab.cases.identity import IDENTITY
from ibcm_bridge.lab.cases.other_roles import OTHER_ROLES
from ibcm_bridge.lab.cases.unsupported import NOT_SUPPORTED
from ibcm_bridge.lab.cases.updates import UPDATES
from ibcm_bridge.lab.cases.uploads import UPLOADS

FAMILIES: dict[str, tuple[Case, ...]] = {
    "Two TLS legs": TWO_LEGS,
    "Client authentication": CERTIFICATES,
    "Client identity": IDENTITY,
    "Message content": CONTENT,
    "Uploads": UPLOADS,
    "Request heads": HEADS,
    "Management point and distribution point": MANAGEMENT_AND_DISTRIBUTION,
    "Software update point": UPDATES,
    "Other site system roles": OTHER_ROLES,
    "Not supported over the Internet": NOT_SUPPORTED,
    "Names": NAMES,
    "Tunnel only": ONLY_TUNNELED,
}

CASES = tuple(case for family in FAMILIES.values() for case in family)

NOT_SHOWN = {
    "ROLE-PRIMARY": "depends on the hierarchy of sites; the scene `secondary-site` shows this",
    "CLIENT-MODE": "the client selects the network; `ibcm-bridge lab client` shows this",
    "CLIENT-CONNECTION": "applies outside the bridge; the scene `web-proxy` shows this",
    "CLIENT-RESUME": "HEADER-DP covers Range; `ibcm-bridge lab client` resumes a download",
    "CLIENT-PICK": "the client selects the site system; `ibcm-bridge lab client` shows this",
    "CLIENT-UPDATES": "SUP-WSUS covers the scan; `ibcm-bridge lab client` shows the rest",
    "NO-REMOTE-CONTROL": "uses connections to the client; the scene `site-server` shows this",
    "SITE-DOMAIN": "depends on Active Directory; the scene `one-way-trust` shows the trust",
}
"""Requirement id -> why it has no case."""
