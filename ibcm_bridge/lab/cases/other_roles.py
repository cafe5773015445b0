"""Cases about the fallback status point, the application catalog, and NDES."""

from __future__ import annotations

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.cases import requests
from ibcm_bridge.lab.cases.case import (
    Case,
    ClientCertificate,
    Destination,
    Disposition,
    Expected,
    accepted,
    refused,
)
from ibcm_bridge.lab.cases.policy import CATALOG, CATALOG_TUNNEL, SCEP, SCEP_TUNNEL
from ibcm_bridge.lab.site_systems.published import PLAINTEXT_PORT

_FALLBACK = Destination("fsp.internet.example", PLAINTEXT_PORT)

OTHER_ROLES = (
    Case(
        "state-message",
        "state message to the FSP",
        "VERB-FSP",
        "Plain HTTP on both legs. The bridge inspects the report like other content.",
        requests.state_message,
        accepted("fallback-status-point.verbs.POST"),
        None,
        client=ClientCertificate.NONE,
        to=_FALLBACK,
    ),
    Case(
        "state-malware",
        "malware (EICAR) in a fallback status report",
        "BRIDGE-INSPECT",
        "In UTF-16, so that it is visible only in the decoded text.",
        requests.state_malware,
        refused(403, Reason.MALICIOUS_CONTENT, "engines.yara-x"),
        None,
        client=ClientCertificate.NONE,
        to=_FALLBACK,
    ),
    Case(
        "state-question",
        "GET to the FSP",
        "VERB-FSP",
        "A fallback status point accepts only POST.",
        requests.state_question,
        refused(405, Reason.VERB, "fallback-status-point.verbs"),
        None,
        client=ClientCertificate.NONE,
        to=_FALLBACK,
    ),
    Case(
        "catalog-challenge",
        "application catalog, anonymous",
        "VERB-APPCATALOG",
        "This publication requires no client certificate. The site system authenticates the user "
        "by Windows authentication.",
        requests.plain("GET", "/CMApplicationCatalog/"),
        Expected(
            Disposition.REFUSED_BY_SITE_SYSTEM,
            401,
            rule="application-catalog-website-point.verbs.GET",
            note="the site system's error page was replaced",
        ),
        Disposition.REFUSED_BY_SITE_SYSTEM,
        client=ClientCertificate.NONE,
        to=CATALOG,
        tunnel_to=CATALOG_TUNNEL,
    ),
    Case(
        "catalog-signed-in",
        "application catalog, Windows authentication",
        "USER-WINDOWS-AUTH",
        "The bridge forwards Authorization because this policy opts in, with a reason.",
        requests.plain("GET", "/CMApplicationCatalog/", requests.TICKET),
        accepted("application-catalog-website-point.verbs.GET"),
        client=ClientCertificate.NONE,
        to=CATALOG,
        tunnel_to=CATALOG_TUNNEL,
    ),
    Case(
        "catalog-password",
        "application catalog, password (Basic)",
        "USER-WINDOWS-AUTH",
        "The opt-in is for Negotiate and NTLM. A password is valid on every connection, and no "
        "client sends one.",
        requests.plain("GET", "/CMApplicationCatalog/", ("Authorization", "Basic bGFiOmxhYg==")),
        refused(403, Reason.HEADER, "head.authorization"),
        client=ClientCertificate.NONE,
        to=CATALOG,
        tunnel_to=CATALOG_TUNNEL,
    ),
    Case(
        "catalog-verb",
        "forbidden verb (PUT), application catalog",
        "VERB-APPCATALOG",
        "The application catalog allows POST and GET, also for an authenticated user.",
        requests.plain("PUT", "/CMApplicationCatalog/", requests.TICKET),
        refused(405, Reason.VERB, "application-catalog-website-point.verbs"),
        client=ClientCertificate.NONE,
        to=CATALOG,
        tunnel_to=CATALOG_TUNNEL,
    ),
    Case(
        "enrollment",
        "SCEP enrollment through a bridged name",
        "BRIDGE-INSPECT",
        "NDES can also be bridged, under a separate name that requires no client certificate. A "
        "device first requests the CA certificates. docs/lab.md shows the rest with strongSwan and "
        "certmonger.",
        requests.scep,
        accepted("policy-module.verbs.GET"),
        client=ClientCertificate.NONE,
        to=SCEP,
        tunnel_to=SCEP_TUNNEL,
    ),
    Case(
        "enrollment-administration",
        "NDES administration page",
        "BRIDGE-INSPECT",
        "This page, next to the SCEP path, shows enrollment passwords.",
        requests.plain("GET", "/certsrv/mscep_admin/"),
        refused(404, Reason.RESOURCE, "policy-module.directories.certsrv"),
        client=ClientCertificate.NONE,
        to=SCEP,
        tunnel_to=SCEP_TUNNEL,
    ),
)
