"""All cases of the demonstration, by family; and the requirements that it cannot show, and why."""

from __future__ import annotations

from ibcm_bridge.lab import case_requests as send
from ibcm_bridge.lab.cases import DP_TUNNEL, Case, Client, Expected, Far, Way
from ibcm_bridge.lab.demo_policy import (
    CATALOG,
    CATALOG_TUNNEL,
    FORGED,
    FORGED_TUNNEL,
    UPDATE_TUNNEL,
    USERS,
    WRONG_NAME,
    WRONG_NAME_TUNNEL,
)
from ibcm_bridge.lab.running import BRIDGED, PLAINTEXT_PORT, UPDATE_PORT

_UPDATES = Way(BRIDGED, UPDATE_PORT)
_FALLBACK = Way("fsp.internet.example", PLAINTEXT_PORT)
_ENROLLMENT = Way("enroll.internet.example")
_NDES = Way("ndes.internet.example")
_UNKNOWN = Way("mail.internet.example")

_OK = Expected(Far.ANSWERED, 200)


def _refused(status: int) -> Expected:
    return Expected(Far.REFUSED_BY_PROXY, status)


def _alert(name: str) -> Expected:
    return Expected(Far.REFUSED_BY_PROXY, alert=name)


_TWO_LEGS = (
    Case(
        "inventory-report",
        "inventory report",
        "BRIDGE-IDENTITY",
        "Read by the bridge, and forwarded byte for byte: its signatures still hold. The site "
        "system sees the bridge's certificate, and the client's GUID in the message.",
        send.inventory,
        _OK,
        also=("BRIDGE-TERMINATE", "TUNNEL-BLIND"),
    ),
    Case(
        "wrong-site-system",
        "site system with another name",
        "BRIDGE-TERMINATE",
        "A certificate of the right authority, for another name. Nothing is sent to it; in the "
        "tunnel, all depends on the client's noticing.",
        send.inventory,
        _refused(502),
        Far.REFUSED_BY_CLIENT,
        to=WRONG_NAME,
        tunnel_to=WRONG_NAME_TUNNEL,
    ),
    Case(
        "forged-site-system",
        "site system of another authority",
        "BRIDGE-TERMINATE",
        "The right name, in a certificate of an authority that nobody here trusts.",
        send.inventory,
        _refused(502),
        Far.REFUSED_BY_CLIENT,
        to=FORGED,
        tunnel_to=FORGED_TUNNEL,
    ),
    Case(
        "plaintext",
        "plaintext HTTP on the TLS port",
        "BRIDGE-HTTPS-ONLY",
        "No server name, so no publication: both columns are the same listener's answer.",
        send.plaintext,
        _refused(403),
        Far.REFUSED_BY_PROXY,
    ),
)

_CERTIFICATES = (
    Case(
        "no-certificate",
        "no certificate",
        "BRIDGE-AUTH-COMPUTER",
        "The bridge ends the handshake. Through the tunnel, the site system has to say no.",
        send.inventory,
        _alert("certificate required"),
        Far.REFUSED_THERE,
        client=Client.NOBODY,
    ),
    Case(
        "revoked-certificate",
        "revoked certificate",
        "BRIDGE-AUTH-COMPUTER",
        "Refused in both: at the perimeter by the bridge, on the internal network otherwise.",
        send.inventory,
        _alert("certificate revoked"),
        Far.REFUSED_THERE,
        client=Client.REVOKED,
    ),
    Case(
        "foreign-certificate",
        "another organization's certificate",
        "BRIDGE-AUTH-COMPUTER",
        "Good in every respect, but of an authority that is not trusted here.",
        send.inventory,
        _alert("unknown ca"),
        Far.REFUSED_THERE,
        client=Client.FOREIGN,
    ),
    Case(
        "no-purpose",
        "certificate for no stated purpose",
        "PKI-BOTH-ENDS",
        "Without extKeyUsage, which OpenSSL by itself takes for any purpose.",
        send.inventory,
        _alert("unsupported certificate"),
        Far.REFUSED_THERE,
        client=Client.NO_PURPOSE,
    ),
    Case(
        "user-for-computers",
        "user certificate, for computers",
        "BRIDGE-AUTH-COMPUTER",
        "Valid, but it names a person; this publication takes computers. A site system asks for "
        "any client certificate of its authority.",
        send.inventory,
        _alert("bad certificate"),
        client=Client.USER,
    ),
    Case(
        "user-for-users",
        "user certificate, for users",
        "BRIDGE-AUTH-USER",
        "The same certificate where the policy says `certificate: user`, as for legacy devices.",
        send.policy_download,
        _OK,
        client=Client.USER,
        to=USERS,
    ),
    Case(
        "alternate-directory",
        "AltAuth directory",
        "BRIDGE-AUTH-COMPUTER",
        "A sibling directory that would answer without any certificate, HTTPS or not.",
        send.inventory_to("/ccm_system_altauth/request"),
        _refused(404),
    ),
    Case(
        "encoded-directory",
        "AltAuth directory behind ..%5c",
        "BRIDGE-INSPECT",
        "For IIS, %5c is a backslash and so a slash. The bridge reads no target in two ways.",
        send.inventory_to("/SMS_MP/..%5cccm_system_altauth/request"),
        _refused(400),
    ),
)

_CONTENT = (
    Case(
        "malware-in-zlib",
        "malware (EICAR) in the zlib part",
        "BRIDGE-INSPECT",
        "Compressed and UTF-16: it is only there for whoever inflates and decodes.",
        send.malware,
        _refused(403),
        also=("TUNNEL-BLIND",),
    ),
    Case(
        "external-entity",
        "external entity in the XML",
        "BRIDGE-INSPECT",
        "A document type has no place in a ConfigMgr message.",
        send.external_entity,
        _refused(403),
    ),
    Case(
        "zip-bomb",
        "200 MB packed into 200 KB",
        "BRIDGE-INSPECT",
        "Inflated only up to a limit; whoever is behind a tunnel inflates all of it.",
        send.bomb,
        _refused(403),
    ),
    Case(
        "unclosed-multipart",
        "multipart that is never closed",
        "HTTP-MULTIPART",
        "What two readers could split in two ways is refused.",
        send.unclosed,
        _refused(403),
    ),
    Case(
        "wrong-part",
        "part of type text/html",
        "HTTP-MULTIPART",
        "A message has two parts, a text and application/octet-stream, and no others.",
        send.wrong_part,
        _refused(403),
    ),
    Case(
        "two-lengths",
        "request smuggled behind two lengths",
        "HTTP-1.1",
        "Content-Length beside Transfer-Encoding. This stand-in happens to refuse it; behind a "
        "tunnel that is each site system's own matter.",
        send.smuggled,
        _refused(400),
        Far.REFUSED_THERE,
    ),
    Case(
        "http-1.0",
        "HTTP/1.0",
        "HTTP-1.1",
        "Another version is another set of rules for where a request ends.",
        send.plain("GET", "/SMS_MP/.sms_aut?MPLIST", version="HTTP/1.0"),
        _refused(505),
    ),
)

_MANAGEMENT_AND_DISTRIBUTION = (
    Case(
        "forbidden-verb",
        "forbidden verb (DELETE)",
        "VERB-MP",
        "Only the role's verbs pass the bridge. Through the tunnel every verb arrives.",
        send.plain("DELETE", "/SMS_MP/.sms_pol"),
        _refused(405),
    ),
    Case(
        "policy-download",
        "policy download with signed headers",
        "HEADER-MP",
        "Microsoft's four CCMClient fields, as clients spell them.",
        send.policy_download,
        _OK,
    ),
    Case(
        "forbidden-header",
        "forbidden header (X-Original-URL)",
        "HEADER-MP",
        "A field some servers obey. The bridge takes it out; the tunnel cannot.",
        send.inventory_with_header,
        _OK,
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
        _refused(405),
        tunnel_to=DP_TUNNEL,
    ),
    Case(
        "content-library",
        "listing of the content library",
        "BRIDGE-INSPECT",
        "Datalib names every package there is. Clients never ask for it.",
        send.plain("GET", "/SMS_DP_SMSPKG$/Datalib"),
        _refused(404),
        tunnel_to=DP_TUNNEL,
    ),
)

_OTHER_ROLES = (
    Case(
        "update-scan",
        "scan for updates",
        "SUP-WSUS",
        "Windows Update shows no certificate, so this port asks for none; what passes is a page of "
        "web services.",
        send.update_scan,
        _OK,
        client=Client.NOBODY,
        to=_UPDATES,
        tunnel_to=UPDATE_TUNNEL,
    ),
    Case(
        "update-administration",
        "administration of WSUS (ApiRemoting30)",
        "SUP-WSUS",
        "Beside the services of clients, and just as ready to answer.",
        send.update_administration,
        _refused(404),
        client=Client.NOBODY,
        to=_UPDATES,
        tunnel_to=UPDATE_TUNNEL,
    ),
    Case(
        "state-message",
        "fallback status report",
        "VERB-FSP",
        "Plain HTTP on both legs, read like any other content.",
        send.state_message,
        _OK,
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
        _refused(405),
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
        _OK,
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
        _refused(405),
        client=Client.NOBODY,
        to=CATALOG,
        tunnel_to=CATALOG_TUNNEL,
    ),
)

_NOT_SUPPORTED = (
    Case(
        "boot-media",
        "question of boot media",
        "NO-OSD",
        "Operating systems are not deployed over the Internet.",
        send.plain("GET", "/SMS_MP/.sms_aut?MPKEYINFORMATIONMEDIA"),
        _refused(404),
    ),
    Case(
        "client-setup",
        "client setup files",
        "NO-CLIENT-DEPLOYMENT",
        "Nor are clients: and that directory asks for no certificate.",
        send.plain("GET", "/CCM_Client/ccmsetup.exe"),
        _refused(404),
    ),
    Case(
        "site-assignment",
        "question for the site to belong to",
        "NO-SITE-ASSIGNMENT",
        "The message has the right form; what it asks is not answered over the Internet.",
        send.site_assignment,
        _refused(403),
    ),
    Case(
        "out-of-band",
        "message of out-of-band management",
        "NO-WAKE-ON-LAN",
        "As above: only whoever reads the message knows.",
        send.out_of_band,
        _refused(403),
    ),
    Case(
        "user-policy",
        "user policy by Windows authentication",
        "NO-USER-DEPLOYMENT",
        "Refused here because this publication has not opted into Windows authentication.",
        send.plain("GET", f"/SMS_MP_WindowsAuth/.sms_pol{send.POLICY}", send.TICKET),
        _refused(404),
        also=("USER-WINDOWS-AUTH",),
    ),
)

_NAMES = (
    Case(
        "unknown-name",
        "name that is not published",
        "DNS-INTERNET-FQDN",
        "No publication, bridged or tunneled: both columns are the same listener's answer.",
        send.inventory,
        _alert("unrecognized name"),
        Far.REFUSED_BY_PROXY,
        to=_UNKNOWN,
        tunnel_to=_UNKNOWN,
    ),
    Case(
        "other-host",
        "Host other than the server name",
        "DNS-INTERNET-FQDN",
        "One name for the certificate and for the request.",
        send.plain("GET", "/SMS_MP/.sms_aut?MPLIST", ("Host", "mp01.corp.example")),
        _refused(421),
    ),
)

_ONLY_TUNNELED = (
    Case(
        "enrolled-device",
        "enrolled mobile device",
        "BRIDGE-NOT-ENROLLED",
        "Enrolled devices do not support bridging. The tunnel is their way, blind as it is; the "
        "enrollment proxy point itself demands the certificate.",
        send.enrollment,
        _refused(404),
        tunnel_to=_ENROLLMENT,
        also=("TUNNEL-ENROLLED", "TUNNEL-NO-CERT"),
        meant_for_tunnel=True,
    ),
    Case(
        "first-certificate",
        "device that comes for a certificate",
        "TUNNEL-PASS",
        "By SCEP, to the policy module: it has no certificate to show a bridge.",
        send.scep,
        _alert("certificate required"),
        client=Client.NOBODY,
        tunnel_to=_NDES,
        also=("BRIDGE-AUTH-COMPUTER", "TUNNEL-NO-CERT"),
        meant_for_tunnel=True,
    ),
)

FAMILIES: dict[str, tuple[Case, ...]] = {
    "Two TLS legs": _TWO_LEGS,
    "Who the client is": _CERTIFICATES,
    "What it sends": _CONTENT,
    "Management point and distribution point": _MANAGEMENT_AND_DISTRIBUTION,
    "Other site system roles": _OTHER_ROLES,
    "Not supported over the Internet": _NOT_SUPPORTED,
    "Names": _NAMES,
    "What only a tunnel carries": _ONLY_TUNNELED,
}

CASES = tuple(case for family in FAMILIES.values() for case in family)

NOT_SHOWN = {
    "ROLE-PRIMARY": "a matter of the site's hierarchy",
    "CLIENT-MODE": "the client's own choice of network",
    "CLIENT-CONNECTION": "lies between the client and the Internet",
    "CLIENT-RESUME": "Range passes (HEADER-DP); to resume takes two networks",
    "CLIENT-PICK": "the client's own choice of site system",
    "CLIENT-UPDATES": "the scan passes (SUP-WSUS); where content comes from is the client's choice",
    "NO-REMOTE-CONTROL": "connections to the client, not from it",
    "SITE-DOMAIN": "a matter of Active Directory",
}
"""Requirements without a case."""
