"""The OpenSSL context of the client leg: it demands and verifies a client certificate."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, NamedTuple

from OpenSSL import SSL

from ibcm_bridge.addons.tls.alerts import ALERTS
from ibcm_bridge.addons.tls.context import ffi, leg_context, lib
from ibcm_bridge.addons.tls.site_system_leg import VERSIONS
from ibcm_bridge.addons.tls.verify_callback import ALERT_ERRORS, Judge, Note, Terms, verify_with
from ibcm_bridge.authentication.client import may_be_anonymous
from ibcm_bridge.decisions import rules
from ibcm_bridge.policy.publications import BridgePublication

Alerted = Callable[[SSL.Connection, str], None]
"""Called with the name of an alert that was sent (RFC 8446 §6, as in `refusals`)."""

SESSION_SECONDS = 3_600
"""How long a session can be resumed; RFC 8446 §4.6.1 allows a week. The client is verified again
each time, so this bounds only how long OpenSSL keeps it."""

_TERMS = Terms(rules.CLIENTS_TRUST, rules.CLIENTS, ALERT_ERRORS)


class Callbacks(NamedTuple):
    """What a context of a client leg calls, each with the connection that it is about."""

    judge: Judge
    note: Note
    alerted: Alerted


def client_leg_context(publication: BridgePublication, callbacks: Callbacks) -> SSL.Context:
    """A server-side context that demands and verifies a client certificate (BRIDGE-TERMINATE).

    Where the publication has no trust for clients, no CertificateRequest is sent; where clients
    may be anonymous, they may answer it with none. TLS 1.2 and higher, HTTP/1.1 only (HTTP-1.1).

    Sessions are resumed from OpenSSL's own cache, which lives in this context and holds at most
    20,480: another publication has another context, and another process another cache. Tickets
    would hold the client's certificate outside the process, and could not be taken back.
    """
    asked = publication.client_trust
    context = leg_context(SSL.TLS_SERVER_METHOD, publication.credential, asked)
    context.set_max_proto_version(VERSIONS[publication.highest_client_tls])
    context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
    context.set_timeout(SESSION_SECONDS)
    # Needed where certificates are asked for (SSL_CTX_set_session_id_context(3)); random, so that
    # it differs even where a session should ever reach another context.
    context.set_session_id(secrets.token_bytes(32))
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
    _select_http_1_1(context)
    if asked is not None:
        if publication.send_ca_names:
            for authority in (*asked.intermediates, *asked.anchors):
                context.add_client_ca(authority)
        required = 0 if may_be_anonymous(publication) else SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        mode = SSL.VERIFY_PEER | required
        verify_with(context, mode, callbacks.judge, callbacks.note, _TERMS)
    _report_alerts(context, callbacks.alerted)
    return context


def is_resumed(connection: SSL.Connection) -> bool:
    """Whether a handshake resumed a session, and so verified nobody."""
    return bool(lib.SSL_session_reused(connection._ssl))


def forget_session(connection: SSL.Connection) -> None:
    """Have OpenSSL drop the session of a connection that has not been closed properly.

    SSL_set_session(3) does so. What a TLS 1.3 client resumed from stays until its time is up; it
    is verified again each time it is used.
    """
    lib.SSL_set_session(connection._ssl, ffi.NULL)


_HTTP_1_1 = ffi.new("unsigned char[]", b"http/1.1")


def _select_http_1_1(context: SSL.Context) -> None:
    """HTTP/1.1 or nothing (HTTP-1.1); a client that offers only others is refused.

    pyOpenSSL's own wrapper can only say "go on without" (SSL_TLSEXT_ERR_NOACK), where RFC 7301
    §3.2 wants the alert no_application_protocol.
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


def _report_alerts(context: SSL.Context, alerted: Alerted) -> None:
    sent = SSL.SSL_CB_ALERT | SSL.SSL_CB_WRITE

    def _info(connection: SSL.Connection, where: int, value: int) -> None:
        # SSL_CTX_set_info_callback(3): the level is in the high byte, the description in the low.
        if where & sent == sent and value & 0xFF:
            alerted(connection, ALERTS.get(value & 0xFF, f"alert {value & 0xFF}"))

    context.set_info_callback(_info)
