"""Cases about connections: two TLS legs, certificates, names, and tunnel-only requests."""

from __future__ import annotations

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.cases import messages, requests
from ibcm_bridge.lab.cases.case import (
    Case,
    ClientCertificate,
    Destination,
    Disposition,
    alert,
    identified,
    refused,
)
from ibcm_bridge.lab.cases.identity import REGISTERED
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
        "The bridge inspects the message and forwards it byte for byte, so its signatures stay "
        "valid. The site system sees the bridge's certificate, and the client GUID in the message.",
        requests.inventory,
        identified("management-point.verbs.CCM_POST"),
        before=REGISTERED,
        other_requirements=("BRIDGE-TERMINATE", "TUNNEL-BLIND"),
    ),
    Case(
        "wrong-site-system",
        "server certificate for another host name",
        "BRIDGE-TERMINATE",
        "The issuer is trusted, but the name does not match. The bridge sends nothing. Through a "
        "tunnel, only the client can detect this.",
        requests.inventory,
        refused(502, Reason.SITE_SYSTEM_UNVERIFIED, "site_system"),
        Disposition.REFUSED_BY_CLIENT,
        to=WRONG_NAME,
        tunnel_to=WRONG_NAME_TUNNEL,
    ),
    Case(
        "forged-site-system",
        "server certificate from an untrusted CA",
        "BRIDGE-TERMINATE",
        "The name matches, but the issuer is not trusted.",
        requests.inventory,
        refused(502, Reason.SITE_SYSTEM_UNVERIFIED, "site_system"),
        Disposition.REFUSED_BY_CLIENT,
        to=FORGED,
        tunnel_to=FORGED_TUNNEL,
    ),
    Case(
        "plaintext",
        "plaintext HTTP on the TLS port",
        "BRIDGE-HTTPS-ONLY",
        "Without SNI there is no publication. Both columns show the same listener.",
        requests.plaintext,
        refused(403, Reason.PLAINTEXT, "listener.tls"),
        Disposition.REFUSED_BY_PROXY,
    ),
)

CERTIFICATES = (
    Case(
        "no-certificate",
        "no client certificate",
        "BRIDGE-AUTH-COMPUTER",
        "The bridge ends the handshake. Through the tunnel, the site system must refuse the "
        "client.",
        requests.inventory,
        alert(
            "certificate required", Reason.CERTIFICATE_MISSING, "bridge.internet.example.clients"
        ),
        Disposition.REFUSED_BY_SITE_SYSTEM,
        client=ClientCertificate.NONE,
    ),
    Case(
        "revoked-certificate",
        "revoked client certificate",
        "BRIDGE-AUTH-COMPUTER",
        "The bridge refuses it at the perimeter. Through the tunnel, the site system on the "
        "internal network refuses it.",
        requests.inventory,
        alert("certificate revoked", Reason.CERTIFICATE_REVOKED, "clients.trust"),
        Disposition.REFUSED_BY_SITE_SYSTEM,
        client=ClientCertificate.REVOKED,
    ),
    Case(
        "foreign-certificate",
        "client certificate from an untrusted CA",
        "BRIDGE-AUTH-COMPUTER",
        "The certificate is valid, but its issuer is not trusted.",
        requests.inventory,
        alert("unknown ca", Reason.CERTIFICATE_UNTRUSTED, "clients.trust"),
        Disposition.REFUSED_BY_SITE_SYSTEM,
        client=ClientCertificate.FOREIGN,
    ),
    Case(
        "no-purpose",
        "EKU clientAuth missing",
        "PKI-BOTH-ENDS",
        "OpenSSL accepts a certificate without extKeyUsage for any purpose; the bridge does not.",
        requests.inventory,
        alert(
            "unsupported certificate", Reason.CERTIFICATE_PURPOSE, "bridge.internet.example.clients"
        ),
        Disposition.REFUSED_BY_SITE_SYSTEM,
        client=ClientCertificate.NO_PURPOSE,
    ),
    Case(
        "user-for-computers",
        "user certificate on a computer publication",
        "BRIDGE-AUTH-COMPUTER",
        "The certificate is valid, but names a user. This publication requires a computer "
        "certificate. A site system accepts any client certificate of its CA.",
        requests.inventory,
        alert("bad certificate", Reason.CERTIFICATE_NAME, "bridge.internet.example.clients"),
        client=ClientCertificate.USER,
    ),
    Case(
        "user-for-users",
        "user certificate on a user publication",
        "BRIDGE-AUTH-USER",
        "The same certificate on a publication with `certificate: user`, for legacy mobile "
        "devices.",
        requests.policy_download,
        identified("management-point.verbs.GET"),
        client=ClientCertificate.USER,
        to=USERS,
        before=((ClientCertificate.USER, messages.registration),),
    ),
    Case(
        "alternate-directory",
        "AltAuth virtual directory",
        "BRIDGE-AUTH-COMPUTER",
        "A sibling directory that requires no client certificate.",
        requests.inventory_to("/ccm_system_altauth/request"),
        refused(404, Reason.BYPASS_DIRECTORY, "roles.bypass_directories"),
    ),
    Case(
        "encoded-directory",
        "path traversal to AltAuth (..%5c)",
        "BRIDGE-INSPECT",
        "IIS decodes %5c to a backslash and treats it as a slash. The bridge refuses ambiguous "
        "targets.",
        requests.inventory_to("/SMS_MP/..%5cccm_system_altauth/request"),
        refused(400, Reason.TARGET_UNSAFE, "target.separator"),
    ),
)

NAMES = (
    Case(
        "unknown-name",
        "unpublished SNI",
        "DNS-INTERNET-FQDN",
        "No publication has this name. Both columns show the same listener.",
        requests.inventory,
        alert("unrecognized name", Reason.UNKNOWN_NAME, "listener.publications"),
        Disposition.REFUSED_BY_PROXY,
        to=_UNKNOWN,
        tunnel_to=_UNKNOWN,
    ),
    Case(
        "other-host",
        "Host differs from SNI (domain fronting)",
        "DNS-INTERNET-FQDN",
        "The Host field must equal the TLS server name (SNI).",
        requests.plain("GET", "/SMS_MP/.sms_aut?MPLIST", ("Host", "mp01.corp.example")),
        refused(421, Reason.HOST_MISMATCH, "head.host"),
    ),
)

ONLY_TUNNELED = (
    Case(
        "enrolled-device",
        "enrolled mobile device",
        "BRIDGE-NOT-ENROLLED",
        "Enrolled devices do not support bridging, so they need the tunnel, which inspects "
        "nothing. The enrollment proxy point itself requires the certificate.",
        requests.enrollment,
        refused(404, Reason.DIRECTORY, "bridge.internet.example.directories"),
        tunnel_to=_ENROLLMENT,
        other_requirements=("TUNNEL-ENROLLED", "TUNNEL-NO-CERT"),
        meant_for_tunnel=True,
    ),
    Case(
        "first-certificate",
        "SCEP request for a first certificate",
        "TUNNEL-PASS",
        "A SCEP request to the policy module. The device does not have a certificate yet.",
        requests.scep,
        alert(
            "certificate required", Reason.CERTIFICATE_MISSING, "bridge.internet.example.clients"
        ),
        client=ClientCertificate.NONE,
        tunnel_to=SCEP_TUNNEL,
        other_requirements=("BRIDGE-AUTH-COMPUTER", "TUNNEL-NO-CERT"),
        meant_for_tunnel=True,
    ),
)
