"""The OpenSSL context of the site-system leg: it presents the bridge's certificate."""

from __future__ import annotations

from dataclasses import dataclass

from OpenSSL import SSL

from ibcm_bridge.addons.tls.alerts import ALERTS
from ibcm_bridge.addons.tls.context import leg_context, lib
from ibcm_bridge.addons.tls.current_trust import CurrentTrust
from ibcm_bridge.addons.tls.verification import Path
from ibcm_bridge.addons.tls.verify_callback import REVOKED, Terms, openssl_words, verify_with
from ibcm_bridge.authentication.certificate import CertificateFacts
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.publications import TlsVersion
from ibcm_bridge.policy.trust import Credential

_TERMS = Terms(
    rules.SITE_SYSTEM_TRUST,
    rules.SITE_SYSTEM,
    {
        # On the site-system leg they are for our own operator, where mitmproxy tells them.
        Reason.CERTIFICATE_REVOKED: REVOKED,
        Reason.REVOCATION_UNKNOWN: 3,  # X509_V_ERR_UNABLE_TO_GET_CRL
        Reason.CERTIFICATE_WEAK: 66,  # X509_V_ERR_EE_KEY_TOO_SMALL
    },
)


def site_system_leg_context(
    credential: Credential, held: CurrentTrust, highest: TlsVersion = TlsVersion.TLS_1_3
) -> SSL.Context:
    """A client-side context that presents the bridge's certificate and verifies the peer's.

    IIS may ask for the certificate only after it has read the request head: by renegotiation in
    TLS 1.2, which OpenSSL's clients do unless told otherwise, and in 1.3 by a CertificateRequest
    (RFC 8446 §4.6.2), which must be announced. Either way the peer is the one that was verified:
    a renegotiation verifies it again, name included.
    """

    def _judge(_connection: SSL.Connection, path: Path, _facts: CertificateFacts) -> Deny | None:
        judged = held.judge(path)
        return judged if isinstance(judged, Deny) else None

    context = leg_context(SSL.TLS_CLIENT_METHOD, credential, held.trust)
    context.set_max_proto_version(VERSIONS[highest])
    verify_with(context, SSL.VERIFY_PEER, _judge, _note_refusal, _TERMS)
    lib.SSL_CTX_set_post_handshake_auth(context._context, 1)
    context.set_info_callback(note_alert_received)
    return context


VERSIONS = {TlsVersion.TLS_1_2: SSL.TLS1_2_VERSION, TlsVersion.TLS_1_3: SSL.TLS1_3_VERSION}


@dataclass(slots=True)
class _Heard:
    """Why a site-system leg failed, as far as it is known; the app data of its connection."""

    alert: str | None = None
    refusal: Deny | None = None


def _heard(connection: SSL.Connection) -> _Heard:
    heard = connection.get_app_data()
    if not isinstance(heard, _Heard):
        connection.set_app_data(heard := _Heard())
    return heard


def alert_received(connection: SSL.Connection) -> str | None:
    """The fatal alert that ended a connection of a site-system leg, if one did."""
    return _heard(connection).alert


def note_alert_received(connection: SSL.Connection, where: int, value: int) -> None:
    """The info callback of site-system legs."""
    # As in _report_alerts; 1 is a warning, such as close_notify.
    if where & _ALERT_READ == _ALERT_READ and value >> 8 != 1:
        _heard(connection).alert = ALERTS.get(value & 0xFF, f"alert {value & 0xFF}")


def _note_refusal(
    connection: SSL.Connection, _certificate: CertificateFacts | None, refusal: Deny | None
) -> None:
    heard = _heard(connection)
    heard.refusal = heard.refusal or refusal


def verification_failure(connection: SSL.Connection) -> str | None:
    """Why the peer's certificate of a site-system leg was not accepted; None where it was."""
    number: int = lib.SSL_get_verify_result(connection._ssl)
    if number == 0:  # X509_V_OK
        return None
    words, refusal = openssl_words(number), _heard(connection).refusal
    if refusal is None or refusal.reason is Reason.BRIDGE_DEFECT:
        return words
    # OpenSSL's own words can be looked up as they are; a judge's name the certificate by its depth.
    return words if refusal.detail.startswith(words) else refusal.detail.removesuffix(" (depth 0)")


_ALERT_READ = SSL.SSL_CB_ALERT | SSL.SSL_CB_READ


def expect_name(connection: SSL.Connection, server_name: str, verify_name: str) -> None:
    """Send `server_name` as SNI; have OpenSSL demand `verify_name` in the certificate (RFC 9525
    §6.3)."""
    connection.set_tlsext_host_name(server_name.encode("ascii"))
    encoded = verify_name.encode("ascii")
    parameters = lib.SSL_get0_param(connection._ssl)
    # X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS: "*.corp" yes, "mp*.corp" no.
    # X509_CHECK_FLAG_NEVER_CHECK_SUBJECT: only a subjectAltName names a server (RFC 9525 §2).
    lib.X509_VERIFY_PARAM_set_hostflags(parameters, 0x4 | 0x20)
    if lib.X509_VERIFY_PARAM_set1_host(parameters, encoded, len(encoded)) != 1:
        raise ValueError(f"{verify_name!r} cannot be verified as a name")
