"""OpenSSL contexts for both legs, and the verify callback that refuses with the right alert.

How a certificate is verified, on either leg:

1. OpenSSL builds the path to a trust anchor and calls `_verify` once per problem, or once per
   certificate of a good path, the end-entity certificate last (depth 0).
2. `_verify` notes what it sees, so that a refused handshake can be audited with its certificate.
3. At a problem it sets the error that OpenSSL turns into the alert we mean, and refuses.
4. At depth 0 of a good path it asks a `Judge`: strength, revocation, and on the client leg who it
   is.

A resumed session runs no callback: `client_authentication` asks the same questions again.

pyOpenSSL's own wrapper cannot do this: whatever the reason, its refusal becomes `internal_error`
(measured), so the callback is given to OpenSSL directly. It never raises; an exception on our side
is a refusal too. This leans on private parts of pyOpenSSL, each named in
tests/addons/test_contract.py.
"""

from __future__ import annotations

import contextlib
import secrets
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

from ibcm_bridge.addons.held_trust import HeldTrust
from ibcm_bridge.addons.verification import (
    Path,
    end_entity_of,
    fill_store,
    path_of,
    refused_by_openssl,
)
from ibcm_bridge.authentication.certificate import CertificateFacts, certificate_facts
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.publications import TlsVersion
from ibcm_bridge.policy.trust import Credential, Trust

_lib: Any = SSL._lib  # type: ignore[attr-defined]
_ffi: Any = SSL._ffi  # type: ignore[attr-defined]

# Error numbers of X509_verify_cert, see `verification.REASONS`.
UNSPECIFIED = 1
REVOKED = 23  # X509_V_ERR_CERT_REVOKED -> certificate_revoked
REFUSED_NAME = 28  # X509_V_ERR_CERT_REJECTED -> bad_certificate
WRONG_PURPOSE = 26  # X509_V_ERR_INVALID_PURPOSE -> unsupported_certificate
NO_SUCH_ALERT = 44  # X509_V_ERR_DIFFERENT_CRL_SCOPE: in no row of OpenSSL's alert table, and so
# certificate_unknown, which is what RFC 8446 has for "some other (unspecified) issue".

_ALERT_ERRORS: dict[Reason, int] = {
    # What a judge refuses, and where OpenSSL's own choice would mislead.
    Reason.CERTIFICATE_REVOKED: REVOKED,
    Reason.REVOCATION_UNKNOWN: NO_SUCH_ALERT,
    Reason.CERTIFICATE_WEAK: REFUSED_NAME,
    Reason.CERTIFICATE_PURPOSE: WRONG_PURPOSE,
    Reason.CERTIFICATE_NAME: REFUSED_NAME,
    Reason.CERTIFICATE_INVALID: REFUSED_NAME,
    Reason.BRIDGE_DEFECT: UNSPECIFIED,
}

_SAID_ERRORS: dict[Reason, int] = {
    # On the site-system leg they are for our own operator, where mitmproxy tells them.
    Reason.CERTIFICATE_REVOKED: REVOKED,
    Reason.REVOCATION_UNKNOWN: 3,  # X509_V_ERR_UNABLE_TO_GET_CRL
    Reason.CERTIFICATE_WEAK: 66,  # X509_V_ERR_EE_KEY_TOO_SMALL
}

Judge = Callable[[SSL.Connection, Path, CertificateFacts], Deny | None]
"""Called with a good path and what its end-entity certificate says; a Deny refuses it."""

Note = Callable[[SSL.Connection, CertificateFacts | None, Deny | None], None]
"""Called with the end-entity certificate seen, and the refusal if there is one."""


Alerted = Callable[[SSL.Connection, str], None]
"""Called with the name of an alert that was sent (RFC 8446 §6, as in `responses`)."""


SESSION_SECONDS = 3_600
"""How long a session can be resumed; RFC 8446 §4.6.1 allows a week. The client is verified again
each time, so this bounds only how long OpenSSL keeps it."""


def client_leg_context(
    credential: Credential,
    asked: Trust | None,
    judge: Judge,
    note: Note,
    alerted: Alerted,
    *,
    required: bool = True,
    send_ca_names: bool = False,
    highest: TlsVersion = TlsVersion.TLS_1_3,
) -> SSL.Context:
    """A server-side context that demands and verifies a client certificate (BRIDGE-TERMINATE).

    `asked` None: no CertificateRequest is sent. Not `required`: a client may answer it with none.
    TLS 1.2 and up to `highest`, HTTP/1.1 only (HTTP-1.1).

    Sessions are resumed from OpenSSL's own cache, which lives in this context and holds at most
    20,480: another publication has another context, and another process another cache. Tickets
    would hold the client's certificate outside the process, and could not be taken back.
    """
    context = _context(SSL.TLS_SERVER_METHOD, credential, asked)
    context.set_max_proto_version(_VERSIONS[highest])
    context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
    context.set_timeout(SESSION_SECONDS)
    # Needed where certificates are asked for (SSL_CTX_set_session_id_context(3)); random, so that
    # it differs even where a session should ever reach another context.
    context.set_session_id(secrets.token_bytes(32))
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
    _select_http_1_1(context)
    if asked is not None:
        if send_ca_names:
            for authority in (*asked.intermediates, *asked.anchors):
                context.add_client_ca(authority)
        mode = SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if required else 0)
        _verify_with(context, mode, judge, note, _ALERT_ERRORS)
    _report_alerts(context, alerted)
    return context


def is_resumed(connection: SSL.Connection) -> bool:
    """Whether a handshake resumed a session, and so verified nobody."""
    return bool(_lib.SSL_session_reused(connection._ssl))


def forget_session(connection: SSL.Connection) -> None:
    """Have OpenSSL drop the session of a connection that has not been closed properly.

    SSL_set_session(3) does so. What a TLS 1.3 client resumed from stays until its time is up; it
    is verified again each time it is used.
    """
    _lib.SSL_set_session(connection._ssl, _ffi.NULL)


def site_system_leg_context(
    credential: Credential, held: HeldTrust, highest: TlsVersion = TlsVersion.TLS_1_3
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

    context = _context(SSL.TLS_CLIENT_METHOD, credential, held.trust)
    context.set_max_proto_version(_VERSIONS[highest])
    _verify_with(context, SSL.VERIFY_PEER, _judge, _note_refusal, _SAID_ERRORS)
    _lib.SSL_CTX_set_post_handshake_auth(context._context, 1)
    context.set_info_callback(note_alert_received)
    return context


_VERSIONS = {TlsVersion.TLS_1_2: SSL.TLS1_2_VERSION, TlsVersion.TLS_1_3: SSL.TLS1_3_VERSION}


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
        _heard(connection).alert = _ALERTS.get(value & 0xFF, f"alert {value & 0xFF}")


def _note_refusal(
    connection: SSL.Connection, _certificate: CertificateFacts | None, refusal: Deny | None
) -> None:
    heard = _heard(connection)
    heard.refusal = heard.refusal or refusal


def verification_failure(connection: SSL.Connection) -> str | None:
    """Why the peer's certificate of a site-system leg was not accepted; None where it was."""
    number: int = _lib.SSL_get_verify_result(connection._ssl)
    if number == 0:  # X509_V_OK
        return None
    words, refusal = _words(number), _heard(connection).refusal
    if refusal is None or refusal.reason is Reason.BRIDGE_DEFECT:
        return words
    # OpenSSL's own words can be looked up as they are; a judge's name the certificate by its depth.
    return words if refusal.detail.startswith(words) else refusal.detail.removesuffix(" (depth 0)")


def _words(number: int) -> str:
    """OpenSSL's own, for one of its verification errors."""
    text: str = _ffi.string(_lib.X509_verify_cert_error_string(number)).decode("ascii", "replace")
    return text


_HOSTNAME_MISMATCH = 62  # X509_V_ERR_HOSTNAME_MISMATCH


def _explained(number: int, facts: CertificateFacts) -> str:
    """Why OpenSSL refuses a certificate: its own words, or better ones."""
    if number == _HOSTNAME_MISMATCH and not facts.dns_names:
        text = "it has no DNS name in a subjectAltName, and a common name does not count "
        return text + "(RFC 9525 section 2)"
    return _words(number)


_ALERT_READ = SSL.SSL_CB_ALERT | SSL.SSL_CB_READ


def expect_name(connection: SSL.Connection, server_name: str, verify_name: str) -> None:
    """Send `server_name` as SNI; have OpenSSL demand `verify_name` in the certificate (RFC 9525
    §6.3)."""
    connection.set_tlsext_host_name(server_name.encode("ascii"))
    encoded = verify_name.encode("ascii")
    parameters = _lib.SSL_get0_param(connection._ssl)
    # X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS: "*.corp" yes, "mp*.corp" no.
    # X509_CHECK_FLAG_NEVER_CHECK_SUBJECT: only a subjectAltName names a server (RFC 9525 §2).
    _lib.X509_VERIFY_PARAM_set_hostflags(parameters, 0x4 | 0x20)
    if _lib.X509_VERIFY_PARAM_set1_host(parameters, encoded, len(encoded)) != 1:
        raise ValueError(f"{verify_name!r} cannot be verified as a name")


def _context(method: int, credential: Credential, trust: Trust | None) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    # A leg that waits holds no buffers: 48 of 187 KB that a client and its leg take together.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    chain = x509.load_pem_x509_certificates(credential.chain_pem)
    context.use_certificate(chain[0])
    for issuer in chain[1:]:
        context.add_extra_chain_cert(issuer)
    key = load_pem_private_key(credential.key_pem, None)
    context.use_privatekey(key)  # type: ignore[arg-type]
    context.check_privatekey()
    if trust is not None:
        store = context.get_cert_store()
        assert store is not None
        fill_store(store, trust)
    return context


_HTTP_1_1 = _ffi.new("unsigned char[]", b"http/1.1")


def _select_http_1_1(context: SSL.Context) -> None:
    """HTTP/1.1 or nothing (HTTP-1.1); a client that offers only others is refused.

    pyOpenSSL's own wrapper can only say "go on without" (SSL_TLSEXT_ERR_NOACK), where RFC 7301
    §3.2 wants the alert no_application_protocol.
    """

    def _select(
        _ssl: Any, out: Any, out_length: Any, offered: Any, length: int, _argument: Any
    ) -> int:
        names = bytes(_ffi.buffer(offered, length))
        while names:
            name, names = names[1 : 1 + names[0]], names[1 + names[0] :]
            if name == b"http/1.1":
                out[0], out_length[0] = _HTTP_1_1, 8
                return 0  # SSL_TLSEXT_ERR_OK
        return 2  # SSL_TLSEXT_ERR_ALERT_FATAL

    callback = _ffi.callback(
        "int(SSL *, unsigned char **, unsigned char *,"
        " const unsigned char *, unsigned int, void *)",
        _select,
        error=2,
    )
    _lib.SSL_CTX_set_alpn_select_cb(context._context, callback, _ffi.NULL)
    context._ibcm_bridge_alpn = callback  # type: ignore[attr-defined]


def _verify_with(
    context: SSL.Context, mode: int, judge: Judge, note: Note, errors: Mapping[Reason, int]
) -> None:
    def _verify(preverified: int, store_context: Any) -> int:
        try:
            return _judge_certificate(preverified, store_context, judge, note, errors)
        except BaseException as error:  # an exception must not reach OpenSSL
            _lib.X509_STORE_CTX_set_error(store_context, UNSPECIFIED)
            with contextlib.suppress(BaseException):
                defect = Deny(Reason.BRIDGE_DEFECT, "tls.verify", type(error).__name__)
                note(_connection(store_context), None, defect)
            return 0

    callback = _ffi.callback("int(int, X509_STORE_CTX *)", _verify, error=0)
    _lib.SSL_CTX_set_verify(context._context, mode, callback)
    # OpenSSL keeps a bare pointer: the callback must live as long as the context does.
    context._ibcm_bridge_verify = callback  # type: ignore[attr-defined]


_ALERTS = {
    number.value: number.name.removeprefix("ALERT_DESCRIPTION_").lower()
    for number in ssl.AlertDescription
} | {116: "certificate_required", 120: "no_application_protocol"}
"""RFC 8446 §6; Python's list ends before it."""


def _report_alerts(context: SSL.Context, alerted: Alerted) -> None:
    sent = SSL.SSL_CB_ALERT | SSL.SSL_CB_WRITE

    def _info(connection: SSL.Connection, where: int, value: int) -> None:
        # SSL_CTX_set_info_callback(3): the level is in the high byte, the description in the low.
        if where & sent == sent and value & 0xFF:
            alerted(connection, _ALERTS.get(value & 0xFF, f"alert {value & 0xFF}"))

    context.set_info_callback(_info)


def _judge_certificate(
    preverified: int, store_context: Any, judge: Judge, note: Note, errors: Mapping[Reason, int]
) -> int:
    connection = _connection(store_context)
    error: int = _lib.X509_STORE_CTX_get_error(store_context)
    depth: int = _lib.X509_STORE_CTX_get_error_depth(store_context)
    if preverified and depth > 0:
        return 1
    try:
        facts: CertificateFacts | None = certificate_facts(end_entity_of(store_context))
        path = path_of(store_context) if preverified else []
    except ValueError:
        facts, path = None, []
    if facts is None:
        # OpenSSL reads what the stricter parser does not; nothing more can be said of it.
        denial = Deny(Reason.CERTIFICATE_INVALID, "clients", "the certificate cannot be read")
    elif not preverified:
        denial = refused_by_openssl(error, depth, _explained(error, facts))
    else:
        judged = judge(connection, path, facts)
        if judged is None:
            note(connection, facts, None)
            return 1
        denial = judged
    note(connection, facts, denial)
    alert_error = errors.get(denial.reason, REFUSED_NAME if preverified else error)
    _lib.X509_STORE_CTX_set_error(store_context, alert_error)
    return 0


def _connection(store_context: Any) -> SSL.Connection:
    index = _lib.SSL_get_ex_data_X509_STORE_CTX_idx()
    ssl = _lib.X509_STORE_CTX_get_ex_data(store_context, index)
    return SSL.Connection._reverse_mapping[ssl]
