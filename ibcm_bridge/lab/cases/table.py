"""All cases of the demonstration, by family; and the requirements that it cannot show, and why."""

from __future__ import annotations

from ibcm_bridge.lab.cases.case import Case
from ibcm_bridge.lab.cases.connections import CERTIFICATES, NAMES, ONLY_TUNNELED, TWO_LEGS
from ibcm_bridge.lab.cases.content import CONTENT, MANAGEMENT_AND_DISTRIBUTION, OTHER_ROLES
from ibcm_bridge.lab.cases.identity import IDENTITY
from ibcm_bridge.lab.cases.unsupported import NOT_SUPPORTED
from ibcm_bridge.lab.cases.updates import UPDATES
from ibcm_bridge.lab.cases.uploads import UPLOADS

FAMILIES: dict[str, tuple[Case, ...]] = {
    "Two TLS legs": TWO_LEGS,
    "Who the client is": CERTIFICATES,
    "Whose message it is": IDENTITY,
    "What it sends": CONTENT,
    "What it uploads": UPLOADS,
    "Management point and distribution point": MANAGEMENT_AND_DISTRIBUTION,
    "Software update point": UPDATES,
    "Other site system roles": OTHER_ROLES,
    "Not supported over the Internet": NOT_SUPPORTED,
    "Names": NAMES,
    "What only a tunnel carries": ONLY_TUNNELED,
}

CASES = tuple(case for family in FAMILIES.values() for case in family)

NOT_SHOWN = {
    "ROLE-PRIMARY": "a matter of the site's hierarchy",
    "CLIENT-MODE": "the client's own choice of network; ibcm-bridge lab client shows it",
    "CLIENT-CONNECTION": "lies between the client and the Internet",
    "CLIENT-RESUME": "Range passes (HEADER-DP); ibcm-bridge lab client goes on in another network",
    "CLIENT-PICK": "the client's own choice of site system; ibcm-bridge lab client shows it",
    "CLIENT-UPDATES": "the scan passes (SUP-WSUS); ibcm-bridge lab client shows the rest",
    "NO-REMOTE-CONTROL": "connections to the client, not from it",
    "SITE-DOMAIN": "a matter of Active Directory",
}
"""Requirements without a case."""
