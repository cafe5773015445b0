"""Cases about the content of requests, and about the requests that each role accepts."""

from __future__ import annotations

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.cases import messages, requests
from ibcm_bridge.lab.cases.case import (
    DP_TUNNEL,
    Case,
    ClientCertificate,
    Destination,
    Disposition,
    Expected,
    accepted,
    identified,
    refused,
    response_refused,
)
from ibcm_bridge.lab.cases.identity import REGISTERED
from ibcm_bridge.lab.cases.policy import CATALOG, CATALOG_TUNNEL, SCEP, SCEP_TUNNEL
from ibcm_bridge.lab.site_systems.published import PLAINTEXT_PORT

_FALLBACK = Destination("fsp.internet.example", PLAINTEXT_PORT)

CONTENT = (
    Case(
        "malware-in-zlib",
        "malware (EICAR) in the zlib part",
        "BRIDGE-INSPECT",
        "The content is compressed and in UTF-16. It is visible only after inflating and decoding.",
        requests.malware,
        refused(403, Reason.MALICIOUS_CONTENT, "engines.yara-x"),
        other_requirements=("TUNNEL-BLIND",),
    ),
    Case(
        "clamav-find",
        "malware that only ClamAV detects",
        "BRIDGE-INSPECT",
        "Each view is scanned by each engine: YARA-X in the bridge, and clamd, which the lab "
        "simulates.",
        requests.known_to_clamav,
        refused(403, Reason.MALICIOUS_CONTENT, "engines.clamav"),
        other_requirements=("TUNNEL-BLIND",),
    ),
    Case(
        "engine-gone",
        "message that crashes the malware engine",
        "BRIDGE-INSPECT",
        "Without a scan result the bridge forwards nothing. The client gets a 503 and tries again "
        "later. A policy can exempt a role, with a reason.",
        requests.deadly_to_clamav,
        refused(503, Reason.ENGINE_UNAVAILABLE, "engines.clamav"),
    ),
    Case(
        "external-entity",
        "XML external entity (XXE)",
        "BRIDGE-INSPECT",
        "ConfigMgr messages contain no document type declaration.",
        requests.external_entity,
        refused(403, Reason.XML_DTD, "ccm.payload.dtd"),
    ),
    Case(
        "zip-bomb",
        "zip bomb: 200 MB in 200 KB",
        "BRIDGE-INSPECT",
        "The bridge inflates up to a limit. A site system behind a tunnel inflates all of it.",
        requests.bomb,
        refused(403, Reason.INFLATED_TOO_LARGE, "ccm.inflated_limit"),
    ),
    Case(
        "unclosed-multipart",
        "multipart without closing boundary",
        "HTTP-MULTIPART",
        "Two parsers could split the body differently, so the bridge refuses it.",
        requests.unclosed,
        refused(403, Reason.MULTIPART, "multipart.close"),
        Disposition.REFUSED_BY_SITE_SYSTEM,
    ),
    Case(
        "wrong-part",
        "multipart part of type text/html",
        "HTTP-MULTIPART",
        "A message has exactly two parts: text/plain and application/octet-stream.",
        requests.wrong_part,
        refused(403, Reason.INNER_MEDIA_TYPE, "ccm.payload"),
    ),
    Case(
        "two-lengths",
        "request smuggling (two lengths)",
        "HTTP-1.1",
        "The request has Content-Length and Transfer-Encoding. This simulated site system refuses "
        "it; behind a tunnel, that depends on each site system.",
        requests.smuggled,
        refused(400, Reason.FRAMING, "head.transfer-encoding"),
        Disposition.REFUSED_BY_SITE_SYSTEM,
    ),
    Case(
        "http-1.0",
        "HTTP/1.0 request",
        "HTTP-1.1",
        "HTTP/1.0 has different rules for the end of a message.",
        requests.plain("GET", "/SMS_MP/.sms_aut?MPLIST", version="HTTP/1.0"),
        refused(505, Reason.HTTP_VERSION, "head.version"),
    ),
    Case(
        "forbidden-endpoint",
        "message to an unpublished endpoint",
        "BRIDGE-INSPECT",
        "A management point has internal endpoints. The bridge publishes only the endpoints for "
        "clients.",
        messages.forbidden_endpoint,
        refused(403, Reason.ENDPOINT, "endpoints.endpoints"),
        Disposition.REFUSED_BY_SITE_SYSTEM,
    ),
    Case(
        "forbidden-root",
        "document sent to the wrong endpoint",
        "BRIDGE-INSPECT",
        "A policy request sent to the inventory endpoint. Each endpoint has a list of documents.",
        messages.forbidden_root,
        refused(403, Reason.MESSAGE, "endpoints.MP_HinvEndpoint.roots"),
    ),
    Case(
        "server-update",
        "UpdateSFRequest (CVE-2024-43468)",
        "BRIDGE-INSPECT",
        "The vulnerable request of this CVE (SQL injection). The bridge refuses it unless a policy "
        "opts in.",
        messages.update_of_the_server,
        refused(403, Reason.MESSAGE, "endpoints.refused"),
    ),
    Case(
        "encrypted-inventory",
        "encrypted inventory report",
        "BRIDGE-INSPECT",
        "A site can require encryption. The bridge cannot inspect an encrypted report, and "
        "forwards it only if the policy states a reason.",
        messages.encrypted_inventory,
        refused(403, Reason.BODY_NOT_INSPECTABLE, "messages.encrypted"),
    ),
    Case(
        "leaked-host-name",
        "reply leaks an intranet host name",
        "BRIDGE-INSPECT",
        "A valid location request; the reply of the site contains an intranet name. The bridge "
        "refuses the response.",
        messages.leaky_site,
        response_refused(Reason.REPLY_HOST_NAMES, "messages.host_names"),
    ),
    Case(
        "leaked-policy",
        "reply leaks an intranet-only policy",
        "BRIDGE-INSPECT",
        "The site flags this policy as intranet-only, but assigns it to a client on the Internet.",
        messages.intranet_policy,
        response_refused(Reason.REPLY_INTRANET_ONLY, "messages.intranet_only"),
    ),
)

MANAGEMENT_AND_DISTRIBUTION = (
    Case(
        "forbidden-verb",
        "forbidden verb (DELETE)",
        "VERB-MP",
        "The bridge allows only the verbs of the role. The tunnel forwards every verb.",
        requests.plain("DELETE", "/SMS_MP/.sms_pol"),
        refused(405, Reason.VERB, "management-point.verbs"),
    ),
    Case(
        "policy-download",
        "policy download with signed headers",
        "HEADER-MP",
        "The request has Microsoft's four CCMClient header fields. The bridge verifies both "
        "signatures.",
        requests.policy_download,
        identified("management-point.verbs.GET"),
        before=REGISTERED,
    ),
    Case(
        "forbidden-header",
        "forbidden header (X-Original-URL)",
        "HEADER-MP",
        "Some servers obey this field. The bridge removes it; a tunnel cannot.",
        requests.inventory_with_header,
        identified("management-point.verbs.CCM_POST"),
        before=REGISTERED,
        dropped=("X-Original-URL",),
    ),
    Case(
        "package-download",
        "package download with Range",
        "HEADER-DP",
        "The bridge streams the range and records the file name. The tunnel records a byte count.",
        requests.download(),
        accepted("distribution-point.verbs.GET", 206),
        tunnel_to=DP_TUNNEL,
    ),
    Case(
        "method-override",
        "download with X-HTTP-Method-Override",
        "HEADER-DP",
        "Some servers obey this field and treat the GET as a DELETE. The bridge removes it.",
        requests.download(("X-HTTP-Method-Override", "DELETE")),
        accepted("distribution-point.verbs.GET", 206),
        tunnel_to=DP_TUNNEL,
        dropped=("X-HTTP-Method-Override",),
    ),
    Case(
        "upload-to-distribution-point",
        "forbidden verb (PUT)",
        "VERB-DP",
        "A distribution point serves downloads only.",
        requests.plain("PUT", requests.PACKAGE),
        refused(405, Reason.VERB, "distribution-point.verbs"),
        tunnel_to=DP_TUNNEL,
    ),
    Case(
        "content-library",
        "content library listing (DataLib)",
        "BRIDGE-INSPECT",
        "DataLib lists every package. Clients never request it.",
        requests.plain("GET", "/SMS_DP_SMSPKG$/Datalib"),
        refused(404, Reason.RESOURCE, "roles.never_below"),
        tunnel_to=DP_TUNNEL,
    ),
    Case(
        "leaked-listing",
        "PROPFIND reply leaks a host name",
        "BRIDGE-INSPECT",
        "Each entry of this PROPFIND response contains the internal name of the distribution "
        "point. The bridge refuses the response.",
        requests.leaky_listing,
        response_refused(Reason.REPLY_HOST_NAMES, "messages.host_names"),
        tunnel_to=DP_TUNNEL,
    ),
)

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
