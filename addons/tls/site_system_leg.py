"""The OpenSSL context of the site-system leg, which presents the bridge's certificate."""

from __future__ import annotations

import time
from dataclasses import dataclass

from OpenSSL import SSL

from ibcm_bridge.addons.tls.alert_callback import RECEIVED, report_alerts
from ibcm_bridge.addons.tls.alerts import ALERTS
from ibcm_bridge.addons.tls.context import leg_context, lib
from ibcm_bridge.addons.tls.current_trust import CurrentTrust, JudgedPath
from ibcm_bridge.addons.tls.kept_session import KeptSession, Proof
from ibcm_bridge.addons.tls.verification import Authorities, CertificationPath
from ibcm_bridge.addons.tls.verify_callback import (
    REVOKED,
    Terms,
    Verification,
    openssl_text,
    verify_with,
)
from ibcm_bridge.authentication.certificate import CertificateFacts
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.tls_settings import TlsSettings
from ibcm_bridge.policy.trust import Credential

_TERMS = Terms(
    rules.SITE_SYSTEM_TRUST,
    rules.SITE_SYSTEM,
    {
        # On this leg the error is for the bridge's operator: mitmproxy reports its text.
        Reason.CERTIFICATE_REVOKED: REVOKED,
        Reason.REVOCATION_UNKNOWN: 3,  # X509_V_ERR_UNABLE_TO_GET_CRL
        Reason.CERTIFICATE_WEAK: 66,  # X509_V_ERR_EE_KEY_TOO_SMALL
    },
)


def site_system_leg_context(
    credential: Credential, trust: CurrentTrust, settings: TlsSettings
) -> SSL.Context:
    """Return a client-side context that presents `credential` and verifies the site system.

    IIS may request the certificate only after it has read the request head. In TLS 1.2 it uses
    renegotiation, which OpenSSL clients accept by default. In TLS 1.3 it sends a
    CertificateRequest, which the client must announce (RFC 8446 §4.6.2). The peer cannot change: a
    renegotiation verifies it again, including its name.
    """

    def _judge(
        connection: SSL.Connection, path: CertificationPath, _facts: CertificateFacts
    ) -> Deny | None:
        judged = trust.judge(path)
        if isinstance(judged, Deny):
            return judged
        proof = Proof(JudgedPath(trust, path, judged.until), time.monotonic())
        _state_of(connection).proof = proof
        return None

    context = leg_context(SSL.TLS_CLIENT_METHOD, credential, trust.trust, settings)
    authorities = Authorities(trust.trust)
    verification = Verification(authorities, _judge, _note_refusal, _TERMS)
    verify_with(context, SSL.VERIFY_PEER, verification)
    lib.SSL_CTX_set_post_handshake_auth(context._context, 1)
    report_alerts(context, RECEIVED, _alert_received)
    return context


@dataclass(slots=True)
class _LegState:
    """The state of a site-system leg; the app data of its connection."""

    alert: str | None = None
    """The fatal alert that ended it."""
    refusal: Deny | None = None
    """Why the site system's certificate was refused."""
    proof: Proof | None = None
    """How the site system was verified, for this leg or for the session that it resumes."""
    kept: KeptSession | None = None


def _state_of(connection: SSL.Connection) -> _LegState:
    state = connection.get_app_data()
    if not isinstance(state, _LegState):
        connection.set_app_data(state := _LegState())
    return state


def resume_session(connection: SSL.Connection, kept: KeptSession) -> None:
    """Offer a kept session to the site system, and take the place of the next one."""
    state = _state_of(connection)
    state.kept, state.proof = kept, kept.offer(connection)


def keep_session(connection: SSL.Connection) -> None:
    """Keep the session for later legs. In TLS 1.3 it comes after the handshake."""
    state = _state_of(connection)
    if state.kept is not None and state.proof is not None:
        state.kept.keep(connection, state.proof)


def forget_session(connection: SSL.Connection) -> None:
    """Make a full handshake on the next leg, because this one failed."""
    if (kept := _state_of(connection).kept) is not None:
        kept.forget()


def is_accepted(connection: SSL.Connection) -> bool:
    """Return whether the certificate of a kept leg's site system would be accepted now."""
    proof = _state_of(connection).proof
    return proof is not None and proof.path.is_accepted()


def close_session(connection: SSL.Connection) -> None:
    """Let other legs resume the session of a leg that is being closed.

    OpenSSL would end the session: it takes a connection without close_notify as failed
    (SSL_shutdown(3)). A fatal alert ends it in any case.
    """
    connection.set_shutdown(SSL.SENT_SHUTDOWN)


def alert_received(connection: SSL.Connection) -> str | None:
    """Return the fatal alert that ended a site-system connection, or None."""
    return _state_of(connection).alert


def record_alert_received(connection: SSL.Connection, where: int, value: int) -> None:
    """Record a fatal alert; for an info callback of pyOpenSSL."""
    if where & RECEIVED == RECEIVED:
        _alert_received(connection, value)


def _alert_received(connection: SSL.Connection, value: int) -> None:
    # Level 1 is a warning, such as close_notify.
    if value >> 8 != 1:
        _state_of(connection).alert = ALERTS.get(value & 0xFF, f"alert {value & 0xFF}")


def _note_refusal(
    connection: SSL.Connection, _certificate: CertificateFacts | None, refusal: Deny | None
) -> None:
    state = _state_of(connection)
    state.refusal = state.refusal or refusal


def verification_failure(connection: SSL.Connection) -> str | None:
    """Return why the site system's certificate was refused, or None if it was accepted."""
    number: int = lib.SSL_get_verify_result(connection._ssl)
    if number == 0:  # X509_V_OK
        return None
    text, refusal = openssl_text(number), _state_of(connection).refusal
    if refusal is None or refusal.reason is Reason.BRIDGE_DEFECT:
        return text
    # OpenSSL's text stays unchanged, so that it can be searched for. Other texts lose the depth of
    # the end-entity certificate.
    return text if refusal.detail.startswith(text) else refusal.detail.removesuffix(" (depth 0)")


def expect_name(connection: SSL.Connection, server_name: str, verify_name: str) -> None:
    """Send `server_name` as SNI; require `verify_name` in the certificate (RFC 9525 §6.3)."""
    connection.set_tlsext_host_name(server_name.encode("ascii"))
    encoded = verify_name.encode("ascii")
    parameters = lib.SSL_get0_param(connection._ssl)
    # X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS: "*.corp" is allowed, "mp*.corp" is not.
    # X509_CHECK_FLAG_NEVER_CHECK_SUBJECT: only the subjectAltName is used (RFC 9525 §2).
    lib.X509_VERIFY_PARAM_set_hostflags(parameters, 0x4 | 0x20)
    if lib.X509_VERIFY_PARAM_set1_host(parameters, encoded, len(encoded)) != 1:
        raise ValueError(f"{verify_name!r} cannot be verified as a name")
