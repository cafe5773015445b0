"""Cases about what is sent, and what each site system role takes."""

from __future__ import annotations

from ibcm_bridge.lab import case_messages as say
from ibcm_bridge.lab import case_requests as send
from ibcm_bridge.lab.cases import DP_TUNNEL, OK, Case, Client, Expected, Far, Way, refused
from ibcm_bridge.lab.demo_policy import CATALOG, CATALOG_TUNNEL
from ibcm_bridge.lab.running import PLAINTEXT_PORT

_FALLBACK = Way("fsp.internet.example", PLAINTEXT_PORT)
_KEPT_BACK = Expected(Far.ANSWER_REFUSED, 502)

CONTENT = (
    Case(
        "malware-in-zlib",
        "malware (EICAR) in the zlib part",
        "BRIDGE-INSPECT",
        "Compressed and UTF-16: it is only there for whoever inflates and decodes.",
        send.malware,
        refused(403),
        also=("TUNNEL-BLIND",),
    ),
    Case(
        "clamav-find",
        "malware that ClamAV alone knows",
        "BRIDGE-INSPECT",
        "Each view goes to each engine: to YARA-X in the bridge, and to ClamAV's daemon, for which "
        "a stand-in speaks here.",
        send.known_to_clamav,
        refused(403),
        also=("TUNNEL-BLIND",),
    ),
    Case(
        "engine-gone",
        "message over which the malware engine dies",
        "BRIDGE-INSPECT",
        "No answer is not a good answer. The client is told to come again, unless the policy says, "
        "with a reason, that its role goes on without.",
        send.deadly_to_clamav,
        refused(503),
    ),
    Case(
        "external-entity",
        "external entity in the XML",
        "BRIDGE-INSPECT",
        "A document type has no place in a ConfigMgr message.",
        send.external_entity,
        refused(403),
    ),
    Case(
        "zip-bomb",
        "200 MB packed into 200 KB",
        "BRIDGE-INSPECT",
        "Inflated only up to a limit; whoever is behind a tunnel inflates all of it.",
        send.bomb,
        refused(403),
    ),
    Case(
        "unclosed-multipart",
        "multipart that is never closed",
        "HTTP-MULTIPART",
        "What two readers could split in two ways is refused.",
        send.unclosed,
        refused(403),
        Far.REFUSED_THERE,
    ),
    Case(
        "wrong-part",
        "part of type text/html",
        "HTTP-MULTIPART",
        "A message has two parts, a text and application/octet-stream, and no others.",
        send.wrong_part,
        refused(403),
    ),
    Case(
        "two-lengths",
        "request smuggled behind two lengths",
        "HTTP-1.1",
        "Content-Length beside Transfer-Encoding. This stand-in happens to refuse it; behind a "
        "tunnel that is each site system's own matter.",
        send.smuggled,
        refused(400),
        Far.REFUSED_THERE,
    ),
    Case(
        "http-1.0",
        "HTTP/1.0",
        "HTTP-1.1",
        "Another version is another set of rules for where a request ends.",
        send.plain("GET", "/SMS_MP/.sms_aut?MPLIST", version="HTTP/1.0"),
        refused(505),
    ),
    Case(
        "forbidden-endpoint",
        "message to an endpoint that is not listed",
        "BRIDGE-INSPECT",
        "A management point has endpoints for its own use, which this one keeps to itself. Only "
        "those of clients are published.",
        say.forbidden_endpoint,
        refused(403),
        Far.REFUSED_THERE,
    ),
    Case(
        "forbidden-root",
        "document that its endpoint does not take",
        "BRIDGE-INSPECT",
        "A request for policy where inventory belongs: what is not listed together is refused.",
        say.forbidden_root,
        refused(403),
    ),
    Case(
        "server-update",
        "UpdateSFRequest (CVE-2024-43468)",
        "BRIDGE-INSPECT",
        "The request through which SQL was injected. Refused by name until a policy opts in.",
        say.update_of_the_server,
        refused(403),
    ),
    Case(
        "encrypted-inventory",
        "encrypted inventory report",
        "BRIDGE-INSPECT",
        "A site may want that. What cannot be read cannot be inspected, and passes only where the "
        "policy says why.",
        say.encrypted_inventory,
        refused(403),
    ),
    Case(
        "leaked-host-name",
        "answer that names a host of the intranet",
        "BRIDGE-INSPECT",
        "A question like any other; this site answers it with a name of the inside. The answer is "
        "kept back.",
        say.leaky_site,
        _KEPT_BACK,
    ),
    Case(
        "leaked-policy",
        "answer with policy for the intranet",
        "BRIDGE-INSPECT",
        "The site has flagged it as for the intranet only, and assigned it all the same.",
        say.intranet_policy,
        _KEPT_BACK,
    ),
)

MANAGEMENT_AND_DISTRIBUTION = (
    Case(
        "forbidden-verb",
        "forbidden verb (DELETE)",
        "VERB-MP",
        "Only the role's verbs pass the bridge. Through the tunnel every verb arrives.",
        send.plain("DELETE", "/SMS_MP/.sms_pol"),
        refused(405),
    ),
    Case(
        "policy-download",
        "policy download with signed headers",
        "HEADER-MP",
        "Microsoft's four CCMClient fields, as clients spell them. Both signatures are checked.",
        send.policy_download,
        OK,
        before=((Client.COMPUTER, say.registration),),
    ),
    Case(
        "forbidden-header",
        "forbidden header (X-Original-URL)",
        "HEADER-MP",
        "A field some servers obey. The bridge takes it out; the tunnel cannot.",
        send.inventory_with_header,
        OK,
        dropped=("X-Original-URL",),
    ),
    Case(
        "package-download",
        "package download with Range",
        "HEADER-DP",
        "Streamed as asked for; the bridge knows what was fetched, the tunnel how much.",
        send.download(),
        Expected(Far.ANSWERED, 206),
        tunnel_to=DP_TUNNEL,
    ),
    Case(
        "method-override",
        "download that asks for another verb",
        "HEADER-DP",
        "X-HTTP-Method-Override, by which some servers take GET for DELETE.",
        send.download(("X-HTTP-Method-Override", "DELETE")),
        Expected(Far.ANSWERED, 206),
        tunnel_to=DP_TUNNEL,
        dropped=("X-HTTP-Method-Override",),
    ),
    Case(
        "upload-to-distribution-point",
        "forbidden verb (PUT)",
        "VERB-DP",
        "A distribution point hands out and takes nothing in.",
        send.plain("PUT", send.PACKAGE),
        refused(405),
        tunnel_to=DP_TUNNEL,
    ),
    Case(
        "content-library",
        "listing of the content library",
        "BRIDGE-INSPECT",
        "Datalib names every package there is. Clients never ask for it.",
        send.plain("GET", "/SMS_DP_SMSPKG$/Datalib"),
        refused(404),
        tunnel_to=DP_TUNNEL,
    ),
)

OTHER_ROLES = (
    Case(
        "state-message",
        "fallback status report",
        "VERB-FSP",
        "Plain HTTP on both legs, read like any other content.",
        send.state_message,
        OK,
        None,
        client=Client.NOBODY,
        to=_FALLBACK,
    ),
    Case(
        "state-question",
        "question to a fallback status point (GET)",
        "VERB-FSP",
        "It only takes reports.",
        send.state_question,
        refused(405),
        None,
        client=Client.NOBODY,
        to=_FALLBACK,
    ),
    Case(
        "catalog-challenge",
        "application catalog, not signed in",
        "VERB-APPCATALOG",
        "No certificate is asked for: the site system asks the user, by Windows authentication.",
        send.plain("GET", "/CMApplicationCatalog/"),
        Expected(Far.REFUSED_THERE, 401),
        Far.REFUSED_THERE,
        client=Client.NOBODY,
        to=CATALOG,
        tunnel_to=CATALOG_TUNNEL,
    ),
    Case(
        "catalog-signed-in",
        "application catalog, signed in",
        "USER-WINDOWS-AUTH",
        "Authorization passes here because the policy opts in, with a reason.",
        send.plain("GET", "/CMApplicationCatalog/", send.TICKET),
        OK,
        client=Client.NOBODY,
        to=CATALOG,
        tunnel_to=CATALOG_TUNNEL,
    ),
    Case(
        "catalog-verb",
        "application catalog, PUT",
        "VERB-APPCATALOG",
        "POST and GET, also for a user who is signed in.",
        send.plain("PUT", "/CMApplicationCatalog/", send.TICKET),
        refused(405),
        client=Client.NOBODY,
        to=CATALOG,
        tunnel_to=CATALOG_TUNNEL,
    ),
)
