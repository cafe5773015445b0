"""Cases about connections: two TLS legs, certificates, names, and what only a tunnel carries."""

from __future__ import annotations

from ibcm_bridge.lab.cases import messages as say
from ibcm_bridge.lab.cases import requests as send
from ibcm_bridge.lab.cases.case import (
    OK,
    Case,
    ClientCertificate,
    Destination,
    Disposition,
    alert,
    refused,
)
from ibcm_bridge.lab.cases.policy import (
    FORGED,
    FORGED_TUNNEL,
    SCEP_TUNNEL,
    USERS,
    WRONG_NAME,
    WRONG_NAME_TUNNEL,
)

_ENROLLMENT = Destination("enroll.internet.example")
_UNKNOWN = Destination("mail.internet.example")

TWO_LEGS = (
    Case(
        "inventory-report",
        "inventory report",
        "BRIDGE-IDENTITY",
        "Read by the bridge, and forwarded byte for byte: its signatures still hold. The site "
        "system sees the bridge's certificate, and the client's GUID in the message.",
        send.inventory,
        OK,
        before=((ClientCertificate.COMPUTER, say.registration),),
        also=("BRIDGE-TERMINATE", "TUNNEL-BLIND"),
    ),
    Case(
        "wrong-site-system",
        "site system with another name",
        "BRIDGE-TERMINATE",
        "A certificate of the right authority, for another name. Nothing is sent to it; in the "
        "tunnel, all depends on the client's noticing.",
        send.inventory,
        refused(502),
        Disposition.REFUSED_BY_CLIENT,
        to=WRONG_NAME,
        tunnel_to=WRONG_NAME_TUNNEL,
    ),
    Case(
        "forged-site-system",
        "site system of another authority",
        "BRIDGE-TERMINATE",
        "The right name, in a certificate of an authority that nobody here trusts.",
        send.inventory,
        refused(502),
        Disposition.REFUSED_BY_CLIENT,
        to=FORGED,
        tunnel_to=FORGED_TUNNEL,
    ),
    Case(
        "plaintext",
        "plaintext HTTP on the TLS port",
        "BRIDGE-HTTPS-ONLY",
        "No server name, so no publication: both columns are the same listener's answer.",
        send.plaintext,
        refused(403),
        Disposition.REFUSED_BY_PROXY,
    ),
)

CERTIFICATES = (
    Case(
        "no-certificate",
        "no certificate",
        "BRIDGE-AUTH-COMPUTER",
        "The bridge ends the handshake. Through the tunnel, the site system has to say no.",
        send.inventory,
        alert("certificate required"),
        Disposition.REFUSED_THERE,
        client=ClientCertificate.NOBODY,
    ),
    Case(
        "revoked-certificate",
        "revoked certificate",
        "BRIDGE-AUTH-COMPUTER",
        "Refused in both: at the perimeter by the bridge, on the internal network otherwise.",
        send.inventory,
        alert("certificate revoked"),
        Disposition.REFUSED_THERE,
        client=ClientCertificate.REVOKED,
    ),
    Case(
        "foreign-certificate",
        "another organization's certificate",
        "BRIDGE-AUTH-COMPUTER",
        "Good in every respect, but of an authority that is not trusted here.",
        send.inventory,
        alert("unknown ca"),
        Disposition.REFUSED_THERE,
        client=ClientCertificate.FOREIGN,
    ),
    Case(
        "no-purpose",
        "certificate for no stated purpose",
        "PKI-BOTH-ENDS",
        "Without extKeyUsage, which OpenSSL by itself takes for any purpose.",
        send.inventory,
        alert("unsupported certificate"),
        Disposition.REFUSED_THERE,
        client=ClientCertificate.NO_PURPOSE,
    ),
    Case(
        "user-for-computers",
        "user certificate, for computers",
        "BRIDGE-AUTH-COMPUTER",
        "Valid, but it names a person; this publication takes computers. A site system asks for "
        "any client certificate of its authority.",
        send.inventory,
        alert("bad certificate"),
        client=ClientCertificate.USER,
    ),
    Case(
        "user-for-users",
        "user certificate, for users",
        "BRIDGE-AUTH-USER",
        "The same certificate where the policy says `certificate: user`, as for legacy devices.",
        send.policy_download,
        OK,
        client=ClientCertificate.USER,
        to=USERS,
        before=((ClientCertificate.USER, say.registration),),
    ),
    Case(
        "alternate-directory",
        "AltAuth directory",
        "BRIDGE-AUTH-COMPUTER",
        "A sibling directory that would answer without any certificate, HTTPS or not.",
        send.inventory_to("/ccm_system_altauth/request"),
        refused(404),
    ),
    Case(
        "encoded-directory",
        "AltAuth directory behind ..%5c",
        "BRIDGE-INSPECT",
        "For IIS, %5c is a backslash and so a slash. The bridge reads no target in two ways.",
        send.inventory_to("/SMS_MP/..%5cccm_system_altauth/request"),
        refused(400),
    ),
)

NAMES = (
    Case(
        "unknown-name",
        "name that is not published",
        "DNS-INTERNET-FQDN",
        "No publication, bridged or tunneled: both columns are the same listener's answer.",
        send.inventory,
        alert("unrecognized name"),
        Disposition.REFUSED_BY_PROXY,
        to=_UNKNOWN,
        tunnel_to=_UNKNOWN,
    ),
    Case(
        "other-host",
        "Host other than the server name",
        "DNS-INTERNET-FQDN",
        "One name for the certificate and for the request.",
        send.plain("GET", "/SMS_MP/.sms_aut?MPLIST", ("Host", "mp01.corp.example")),
        refused(421),
    ),
)

ONLY_TUNNELED = (
    Case(
        "enrolled-device",
        "enrolled mobile device",
        "BRIDGE-NOT-ENROLLED",
        "Enrolled devices do not support bridging. The tunnel is their way, blind as it is; the "
        "enrollment proxy point itself demands the certificate.",
        send.enrollment,
        refused(404),
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
        alert("certificate required"),
        client=ClientCertificate.NOBODY,
        tunnel_to=SCEP_TUNNEL,
        also=("BRIDGE-AUTH-COMPUTER", "TUNNEL-NO-CERT"),
        meant_for_tunnel=True,
    ),
)
