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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from OpenSSL import SSL

from ibcm_bridge.addons.tls.context import ffi, lib
from ibcm_bridge.addons.tls.verification import (
    Path,
    end_entity_of,
    path_of,
    refused_by_openssl,
)
from ibcm_bridge.authentication.certificate import CertificateFacts, certificate_facts
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule

# Error numbers of X509_verify_cert, see `verification.REASONS`.
UNSPECIFIED = 1
REVOKED = 23  # X509_V_ERR_CERT_REVOKED -> certificate_revoked
REFUSED_NAME = 28  # X509_V_ERR_CERT_REJECTED -> bad_certificate
WRONG_PURPOSE = 26  # X509_V_ERR_INVALID_PURPOSE -> unsupported_certificate
NO_SUCH_ALERT = 44  # X509_V_ERR_DIFFERENT_CRL_SCOPE: in no row of OpenSSL's alert table, and so
# certificate_unknown, which is what RFC 8446 has for "some other (unspecified) issue".

ALERT_ERRORS: dict[Reason, int] = {
    # What a judge refuses, and where OpenSSL's own choice would mislead.
    Reason.CERTIFICATE_REVOKED: REVOKED,
    Reason.REVOCATION_UNKNOWN: NO_SUCH_ALERT,
    Reason.CERTIFICATE_WEAK: REFUSED_NAME,
    Reason.CERTIFICATE_PURPOSE: WRONG_PURPOSE,
    Reason.CERTIFICATE_NAME: REFUSED_NAME,
    Reason.CERTIFICATE_INVALID: REFUSED_NAME,
    Reason.BRIDGE_DEFECT: UNSPECIFIED,
}


@dataclass(frozen=True, slots=True)
class Terms:
    """How one leg refuses a certificate."""

    trust: Rule
    """Refuses a path."""
    certificate: Rule
    """Refuses a certificate that cannot be read."""
    errors: Mapping[Reason, int]
    """OpenSSL's error for each reason of a judge."""


Judge = Callable[[SSL.Connection, Path, CertificateFacts], Deny | None]
"""Called with a good path and what its end-entity certificate says; a Deny refuses it."""

Note = Callable[[SSL.Connection, CertificateFacts | None, Deny | None], None]
"""Called with the end-entity certificate seen, and the refusal if there is one."""


def openssl_words(number: int) -> str:
    """OpenSSL's own, for one of its verification errors."""
    text: str = ffi.string(lib.X509_verify_cert_error_string(number)).decode("ascii", "replace")
    return text


_HOSTNAME_MISMATCH = 62  # X509_V_ERR_HOSTNAME_MISMATCH


def _explained(number: int, facts: CertificateFacts) -> str:
    """Why OpenSSL refuses a certificate: its own words, or better ones."""
    if number == _HOSTNAME_MISMATCH and not facts.dns_names:
        text = "it has no DNS name in a subjectAltName, and a common name does not count "
        return text + "(RFC 9525 section 2)"
    return openssl_words(number)


def verify_with(context: SSL.Context, mode: int, judge: Judge, note: Note, terms: Terms) -> None:
    def _verify(preverified: int, store_context: Any) -> int:
        try:
            return _judge_certificate(preverified, store_context, judge, note, terms)
        except BaseException as error:  # an exception must not reach OpenSSL
            lib.X509_STORE_CTX_set_error(store_context, UNSPECIFIED)
            with contextlib.suppress(BaseException):
                defect = Deny(Reason.BRIDGE_DEFECT, rules.TLS_VERIFY, type(error).__name__)
                note(_connection(store_context), None, defect)
            return 0

    callback = ffi.callback("int(int, X509_STORE_CTX *)", _verify, error=0)
    lib.SSL_CTX_set_verify(context._context, mode, callback)
    # OpenSSL keeps a bare pointer: the callback must live as long as the context does.
    context._ibcm_bridge_verify = callback  # type: ignore[attr-defined]


def _judge_certificate(
    preverified: int, store_context: Any, judge: Judge, note: Note, terms: Terms
) -> int:
    connection = _connection(store_context)
    error: int = lib.X509_STORE_CTX_get_error(store_context)
    depth: int = lib.X509_STORE_CTX_get_error_depth(store_context)
    if preverified and depth > 0:
        return 1
    try:
        facts: CertificateFacts | None = certificate_facts(end_entity_of(store_context))
        path = path_of(store_context) if preverified else []
    except ValueError:
        facts, path = None, []
    if facts is None:
        # OpenSSL reads what the stricter parser does not; nothing more can be said of it.
        denial = Deny(
            Reason.CERTIFICATE_INVALID, terms.certificate, "the certificate cannot be read"
        )
    elif not preverified:
        denial = refused_by_openssl(terms.trust, error, depth, _explained(error, facts))
    else:
        judged = judge(connection, path, facts)
        if judged is None:
            note(connection, facts, None)
            return 1
        denial = judged
    note(connection, facts, denial)
    alert_error = terms.errors.get(denial.reason, REFUSED_NAME if preverified else error)
    lib.X509_STORE_CTX_set_error(store_context, alert_error)
    return 0


def _connection(store_context: Any) -> SSL.Connection:
    index = lib.SSL_get_ex_data_X509_STORE_CTX_idx()
    ssl = lib.X509_STORE_CTX_get_ex_data(store_context, index)
    return SSL.Connection._reverse_mapping[ssl]
