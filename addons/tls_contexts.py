"""OpenSSL contexts for both legs, and the verify callback that refuses with the right alert.

How a client certificate is verified:

1. OpenSSL builds the path to a trust anchor and calls `_verify` once per problem, or once per
   certificate of a good path, the end-entity certificate last (depth 0).
2. `_verify` notes what it sees, so that a refused handshake can be audited with its certificate.
3. At a problem it sets the error that OpenSSL turns into the alert we mean, and refuses.
4. At depth 0 of a good path it asks `identity.authenticate`.

pyOpenSSL's own wrapper cannot do this: whatever the reason, its refusal becomes `internal_error`
(measured), so the callback is given to OpenSSL directly. It never raises; an exception on our side
is a refusal too. This leans on private parts of pyOpenSSL, each named in
tests/addons/test_contract.py.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto

from ibcm_bridge.decisions import Deny, Reason
from ibcm_bridge.identity import CertificateFacts, certificate_facts
from ibcm_bridge.policy import Credential, TlsVersion, Trust

_lib: Any = SSL._lib  # type: ignore[attr-defined]
_ffi: Any = SSL._ffi  # type: ignore[attr-defined]

# Error numbers of X509_verify_cert (openssl/x509_vfy.h); stable since OpenSSL 1.0.
UNSPECIFIED = 1
REFUSED_NAME = 28  # X509_V_ERR_CERT_REJECTED -> bad_certificate
WRONG_PURPOSE = 26  # X509_V_ERR_INVALID_PURPOSE -> unsupported_certificate
NO_SUCH_ALERT = 44  # X509_V_ERR_DIFFERENT_CRL_SCOPE: in no row of OpenSSL's alert table, and so
# certificate_unknown, which is what RFC 8446 has for "some other (unspecified) issue".

_REASONS: dict[int, Reason] = {
    2: Reason.CERTIFICATE_UNTRUSTED,  # unable to get issuer certificate
    3: Reason.REVOCATION_UNKNOWN,  # unable to get CRL
    9: Reason.CERTIFICATE_NOT_YET_VALID,
    10: Reason.CERTIFICATE_EXPIRED,
    11: Reason.REVOCATION_UNKNOWN,  # CRL not yet valid
    12: Reason.REVOCATION_UNKNOWN,  # CRL has expired
    18: Reason.CERTIFICATE_UNTRUSTED,  # self-signed
    19: Reason.CERTIFICATE_UNTRUSTED,  # self-signed in the path
    20: Reason.CERTIFICATE_UNTRUSTED,  # unable to get local issuer certificate
    21: Reason.CERTIFICATE_UNTRUSTED,  # unable to verify the first certificate
    23: Reason.CERTIFICATE_REVOKED,
    24: Reason.CERTIFICATE_UNTRUSTED,  # invalid CA certificate
    26: Reason.CERTIFICATE_PURPOSE,
    8: Reason.REVOCATION_UNKNOWN,  # CRL signature failure
    15: Reason.REVOCATION_UNKNOWN,  # CRL lastUpdate cannot be read
    16: Reason.REVOCATION_UNKNOWN,  # CRL nextUpdate cannot be read
    33: Reason.REVOCATION_UNKNOWN,  # unable to get CRL issuer
    35: Reason.REVOCATION_UNKNOWN,  # the issuer may not sign CRLs
    36: Reason.REVOCATION_UNKNOWN,  # unhandled critical CRL extension
    44: Reason.REVOCATION_UNKNOWN,  # different CRL scope
    54: Reason.REVOCATION_UNKNOWN,  # CRL path validation
}

_ALERT_ERRORS: dict[Reason, int] = {
    # Where OpenSSL's own choice would mislead: a CRL past its date would be announced as
    # certificate_expired and a missing one as unknown_ca.
    Reason.REVOCATION_UNKNOWN: NO_SUCH_ALERT,
    Reason.CERTIFICATE_PURPOSE: WRONG_PURPOSE,
    Reason.CERTIFICATE_NAME: REFUSED_NAME,
    Reason.CERTIFICATE_INVALID: REFUSED_NAME,
    Reason.BRIDGE_DEFECT: UNSPECIFIED,
}

Judge = Callable[[SSL.Connection, CertificateFacts], Deny | None]
"""Called with the end-entity certificate of a good path; a Deny refuses the handshake."""

Note = Callable[[SSL.Connection, CertificateFacts | None, Deny | None], None]
"""Called with the end-entity certificate seen, and the refusal if there is one."""


Alerted = Callable[[SSL.Connection, str], None]
"""Called with the name of an alert that was sent (RFC 8446 §6, as in `responses`)."""


def client_leg_context(
    credential: Credential,
    asked: Trust | None,
    judge: Judge,
    note: Note,
    alerted: Alerted,
    *,
    required: bool = True,
) -> SSL.Context:
    """A server-side context that demands and verifies a client certificate (BRIDGE-TERMINATE).

    `asked` None: no CertificateRequest is sent. Not `required`: a client may answer it with none.
    TLS 1.2 and 1.3, HTTP/1.1 only (HTTP-1.1). Sessions are not resumed: a resumed session would
    skip the verification, revocation included.
    """
    context = _context(SSL.TLS_SERVER_METHOD, credential, asked)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
    _select_http_1_1(context)
    if asked is not None:
        _ask_for_certificate(context, judge, note, required=required)
    _report_alerts(context, alerted)
    return context


def verify_client_path(trust: Trust, certificates: Sequence[x509.Certificate]) -> Deny | None:
    """Verify what a client presents, without a connection, as the client leg would.

    `certificates` are in the order of the handshake, the end-entity certificate first.
    """
    store = _store(trust)
    _lib.X509_STORE_set_purpose(store._store, _lib.X509_PURPOSE_SSL_CLIENT)
    return _verify_path(store, certificates)


def verify_authority(trust: Trust, certificate: x509.Certificate) -> Deny | None:
    """Verify that an issuing authority leads to an anchor, its revocation list included."""
    return _verify_path(_store(trust), [certificate])


def _verify_path(store: crypto.X509Store, certificates: Sequence[x509.Certificate]) -> Deny | None:
    chain = [crypto.X509.from_cryptography(one) for one in certificates]
    try:
        crypto.X509StoreContext(store, chain[0], chain[1:]).verify_certificate()
    except crypto.X509StoreContextError as error:
        number, depth, text = error.errors
        reason = _REASONS.get(number, Reason.CERTIFICATE_INVALID)
        return Deny(reason, "clients.trust", f"{text} (depth {depth})")
    return None


def site_system_leg_context(
    credential: Credential, trust: Trust, highest: TlsVersion = TlsVersion.TLS_1_3
) -> SSL.Context:
    """A client-side context that presents the bridge's certificate and verifies the peer's.

    IIS may ask for the certificate only after it has read the request head: by renegotiation in
    TLS 1.2, which OpenSSL's clients do unless told otherwise, and in 1.3 by a CertificateRequest
    (RFC 8446 §4.6.2), which must be announced. Either way the peer is the one that was verified:
    a renegotiation verifies it again, name included.
    """
    context = _context(SSL.TLS_CLIENT_METHOD, credential, trust)
    context.set_max_proto_version(_VERSIONS[highest])
    context.set_verify(SSL.VERIFY_PEER, None)
    _lib.SSL_CTX_set_post_handshake_auth(context._context, 1)
    context.set_info_callback(note_alert_received)
    return context


_VERSIONS = {TlsVersion.TLS_1_2: SSL.TLS1_2_VERSION, TlsVersion.TLS_1_3: SSL.TLS1_3_VERSION}


def alert_received(connection: SSL.Connection) -> str | None:
    """The fatal alert that ended a connection of a site-system leg, if one did."""
    alert: str | None = connection.get_app_data()
    return alert


def note_alert_received(connection: SSL.Connection, where: int, value: int) -> None:
    """The info callback of site-system legs."""
    # As in _report_alerts; 1 is a warning, such as close_notify.
    if where & _ALERT_READ == _ALERT_READ and value >> 8 != 1:
        connection.set_app_data(_ALERTS.get(value & 0xFF, f"alert {value & 0xFF}"))


def verification_failure(connection: SSL.Connection) -> str | None:
    """Why the peer's certificate was not accepted, in OpenSSL's words; None where it was."""
    number: int = _lib.SSL_get_verify_result(connection._ssl)
    if number == 0:  # X509_V_OK
        return None
    text: str = _ffi.string(_lib.X509_verify_cert_error_string(number)).decode("ascii", "replace")
    return text


_ALERT_READ = SSL.SSL_CB_ALERT | SSL.SSL_CB_READ


def expect_name(connection: SSL.Connection, server_name: str, verify_name: str) -> None:
    """Send `server_name` as SNI; have OpenSSL demand `verify_name` in the certificate (RFC 9525
    §6.3)."""
    connection.set_tlsext_host_name(server_name.encode("ascii"))
    encoded = verify_name.encode("ascii")
    parameters = _lib.SSL_get0_param(connection._ssl)
    # X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS: "*.corp" yes, "mp*.corp" no.
    _lib.X509_VERIFY_PARAM_set_hostflags(parameters, 0x4)
    if _lib.X509_VERIFY_PARAM_set1_host(parameters, encoded, len(encoded)) != 1:
        raise ValueError(f"{verify_name!r} cannot be verified as a name")


def _context(method: int, credential: Credential, trust: Trust | None) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
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
        _fill(store, trust)
    return context


def _store(trust: Trust) -> crypto.X509Store:
    store = crypto.X509Store()
    _fill(store, trust)
    return store


def _fill(store: crypto.X509Store, trust: Trust) -> None:
    for certificate in (*trust.anchors, *trust.intermediates):
        store.add_cert(crypto.X509.from_cryptography(certificate))
    for crl in trust.crls:
        store.add_crl(crl)
    # protocol.md §9.2: unreachable CRL = revoked; so every certificate of the path must have one.
    store.set_flags(
        crypto.X509StoreFlags.CRL_CHECK
        | crypto.X509StoreFlags.CRL_CHECK_ALL
        | crypto.X509StoreFlags.X509_STRICT
    )


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


def _ask_for_certificate(context: SSL.Context, judge: Judge, note: Note, *, required: bool) -> None:
    def _verify(preverified: int, store_context: Any) -> int:
        try:
            return _judge_certificate(preverified, store_context, judge, note)
        except BaseException as error:  # an exception must not reach OpenSSL
            _lib.X509_STORE_CTX_set_error(store_context, UNSPECIFIED)
            with contextlib.suppress(BaseException):
                defect = Deny(Reason.BRIDGE_DEFECT, "tls.verify", type(error).__name__)
                note(_connection(store_context), None, defect)
            return 0

    callback = _ffi.callback("int(int, X509_STORE_CTX *)", _verify, error=0)
    # VERIFY_FAIL_IF_NO_PEER_CERT: without a certificate the handshake ends too.
    mode = SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if required else 0)
    raw = context._context
    _lib.SSL_CTX_set_verify(raw, mode, callback)
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


def _judge_certificate(preverified: int, store_context: Any, judge: Judge, note: Note) -> int:
    connection = _connection(store_context)
    error: int = _lib.X509_STORE_CTX_get_error(store_context)
    depth: int = _lib.X509_STORE_CTX_get_error_depth(store_context)
    if preverified and depth > 0:
        return 1
    facts = _facts(store_context)
    if facts is None:
        # OpenSSL reads what the stricter parser does not; nothing more can be said of it.
        denial = Deny(Reason.CERTIFICATE_INVALID, "clients", "the certificate cannot be read")
    elif not preverified:
        text = _ffi.string(_lib.X509_verify_cert_error_string(error)).decode("ascii", "replace")
        reason = _REASONS.get(error, Reason.CERTIFICATE_INVALID)
        denial = Deny(reason, "clients.trust", f"{text} (depth {depth})")
    else:
        judged = judge(connection, facts)
        if judged is None:
            note(connection, facts, None)
            return 1
        denial = judged
    note(connection, facts, denial)
    alert_error = _ALERT_ERRORS.get(denial.reason, REFUSED_NAME if preverified else error)
    _lib.X509_STORE_CTX_set_error(store_context, alert_error)
    return 0


def _connection(store_context: Any) -> SSL.Connection:
    index = _lib.SSL_get_ex_data_X509_STORE_CTX_idx()
    ssl = _lib.X509_STORE_CTX_get_ex_data(store_context, index)
    return SSL.Connection._reverse_mapping[ssl]


def _facts(store_context: Any) -> CertificateFacts | None:
    """What the end-entity certificate says; None when it cannot be read."""
    try:
        return certificate_facts(_certificate(_lib.X509_STORE_CTX_get0_cert(store_context)))
    except ValueError:
        return None


def _certificate(pointer: Any) -> x509.Certificate:
    _lib.X509_up_ref(pointer)
    wrapped = crypto.X509._from_raw_x509_ptr(pointer)
    certificate: x509.Certificate = wrapped.to_cryptography()
    return certificate
