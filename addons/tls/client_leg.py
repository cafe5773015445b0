"""The OpenSSL context of the client leg, which requests and verifies a client certificate."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, NamedTuple

from OpenSSL import SSL

from ibcm_bridge.addons.tls.alert_callback import SENT, report_alerts
from ibcm_bridge.addons.tls.alerts import ALERTS
from ibcm_bridge.addons.tls.context import ffi, leg_context, lib
from ibcm_bridge.addons.tls.verification import Authorities
from ibcm_bridge.addons.tls.verify_callback import (
    ALERT_ERRORS,
    Judge,
    Note,
    Terms,
    Verification,
    verify_with,
)
from ibcm_bridge.authentication.client import may_be_anonymous
from ibcm_bridge.decisions import rules
from ibcm_bridge.policy.publications import BridgePublication

AlertSent = Callable[[SSL.Connection, str], None]
"""Called with the name of an alert that was sent to the client (RFC 8446 §6)."""

SESSION_SECONDS = 3_600
"""Lifetime of a session; RFC 8446 §4.6.1 allows a week. Each resumption verifies the client again,
so this only limits how long OpenSSL stores the session."""

_TERMS = Terms(rules.CLIENTS_TRUST, rules.CLIENTS, ALERT_ERRORS)


class Callbacks(NamedTuple):
    """The callbacks of a client-leg context. Each takes the connection as its first argument."""

    judge: Judge
    note: Note
    alert_sent: AlertSent


def client_leg_context(publication: BridgePublication, callbacks: Callbacks) -> SSL.Context:
    """Return a server-side context that verifies client certificates (BRIDGE-TERMINATE).

    Without `client_trust`, no CertificateRequest is sent. If clients may be anonymous, they may
    present no certificate. TLS 1.2 and higher, HTTP/1.1 only (HTTP-1.1).

    Where the policy allows it, sessions are resumed from OpenSSL's cache. It belongs to this
    context and holds at most 20,480 sessions, so neither publications nor processes share sessions.
    Tickets are disabled: they would store the client's certificate outside the process and could
    not be revoked. In TLS 1.3 OpenSSL sends two ids of sessions in any case: the bindings lack
    SSL_CTX_set_num_tickets(3).
    """
    trust = publication.client_trust
    context = leg_context(
        SSL.TLS_SERVER_METHOD, publication.credential, trust, publication.client_tls
    )
    resumable = publication.clients_resume
    context.set_session_cache_mode(SSL.SESS_CACHE_SERVER if resumable else SSL.SESS_CACHE_OFF)
    context.set_timeout(SESSION_SECONDS)
    # Required when client certificates are requested (SSL_CTX_set_session_id_context(3)). It is
    # random, so that no other context accepts a session of this one.
    context.set_session_id(secrets.token_bytes(32))
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
    _select_http_1_1(context)
    if trust is not None:
        if publication.send_ca_names:
            for authority in (*trust.intermediates, *trust.anchors):
                context.add_client_ca(authority)
        required = 0 if may_be_anonymous(publication) else SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        mode = SSL.VERIFY_PEER | required
        authorities = Authorities(trust)
        verification = Verification(authorities, callbacks.judge, callbacks.note, _TERMS)
        verify_with(context, mode, verification)

    def _alert_sent(connection: SSL.Connection, value: int) -> None:
        if value & 0xFF:
            name = ALERTS.get(value & 0xFF, f"alert {value & 0xFF}")
            callbacks.alert_sent(connection, name)

    report_alerts(context, SENT, _alert_sent)
    return context


def is_resumed(connection: SSL.Connection) -> bool:
    """Return whether the handshake resumed a session, and so ran no verify callback."""
    return bool(lib.SSL_session_reused(connection._ssl))


def remove_session(connection: SSL.Connection) -> None:
    """Remove the session of a connection that was not closed properly from OpenSSL's cache.

    See SSL_set_session(3). The session that a TLS 1.3 client resumed from stays until it expires;
    each use of it verifies the client again.
    """
    lib.SSL_set_session(connection._ssl, ffi.NULL)


_HTTP_1_1 = ffi.new("unsigned char[]", b"http/1.1")


def _select_http_1_1(context: SSL.Context) -> None:
    """Select HTTP/1.1 by ALPN, and refuse a client that offers only other protocols (HTTP-1.1).

    RFC 7301 §3.2 requires the alert no_application_protocol. pyOpenSSL's wrapper can only continue
    without ALPN (SSL_TLSEXT_ERR_NOACK).
    """

    def _select(
        _ssl: Any, out: Any, out_length: Any, offered: Any, length: int, _argument: Any
    ) -> int:
        names = bytes(ffi.buffer(offered, length))
        while names:
            name, names = names[1 : 1 + names[0]], names[1 + names[0] :]
            if name == b"http/1.1":
                out[0], out_length[0] = _HTTP_1_1, 8
                return 0  # SSL_TLSEXT_ERR_OK
        return 2  # SSL_TLSEXT_ERR_ALERT_FATAL

    callback = ffi.callback(
        "int(SSL *, unsigned char **, unsigned char *,"
        " const unsigned char *, unsigned int, void *)",
        _select,
        error=2,
    )
    lib.SSL_CTX_set_alpn_select_cb(context._context, callback, ffi.NULL)
    context._ibcm_bridge_alpn = callback  # type: ignore[attr-defined]
