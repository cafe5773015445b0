"""The verify callback of both legs, which refuses with the right TLS alert.

How a certificate is verified, on either leg:

1. OpenSSL builds the path to a trust anchor. It calls `_verify` once per problem, or once per
   certificate of a valid path, the end-entity certificate (depth 0) last.
2. `_verify` notes the certificate, so that the audit shows it if the handshake is refused.
3. At a problem, `_verify` sets the error that OpenSSL maps to the intended alert, and refuses.
4. At depth 0 of a valid path, it calls a `Judge`, which checks key strength, revocation and, on the
   client leg, the client's name.

A resumed session runs no callback: `client_authentication` repeats these checks.

pyOpenSSL's wrapper sends the alert `internal_error` for every refusal (measured), so this module
passes the callback to OpenSSL directly. The callback never raises: an exception becomes a refusal.
It uses private parts of pyOpenSSL, which tests/addons/contract/test_openssl.py lists.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from OpenSSL import SSL

from ibcm_bridge.addons.tls.context import ffi, lib
from ibcm_bridge.addons.tls.verification import (
    Authorities,
    CertificationPath,
    end_entity_of,
    refused_by_openssl,
)
from ibcm_bridge.authentication.certificate import CertificateFacts, certificate_facts
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule

# Error numbers of X509_verify_cert, see `verification.REASONS`.
UNSPECIFIED = 1
REVOKED = 23  # X509_V_ERR_CERT_REVOKED -> certificate_revoked
REJECTED = 28  # X509_V_ERR_CERT_REJECTED -> bad_certificate
WRONG_PURPOSE = 26  # X509_V_ERR_INVALID_PURPOSE -> unsupported_certificate
UNMAPPED = 44  # X509_V_ERR_DIFFERENT_CRL_SCOPE -> certificate_unknown: OpenSSL's alert table lacks
# it, and RFC 8446 defines this alert for "some other (unspecified) issue".

ALERT_ERRORS: dict[Reason, int] = {
    # The reasons of a judge, and those for which OpenSSL's own alert would mislead.
    Reason.CERTIFICATE_REVOKED: REVOKED,
    Reason.REVOCATION_UNKNOWN: UNMAPPED,
    Reason.CERTIFICATE_WEAK: REJECTED,
    Reason.CERTIFICATE_PURPOSE: WRONG_PURPOSE,
    Reason.CERTIFICATE_NAME: REJECTED,
    Reason.CERTIFICATE_INVALID: REJECTED,
    Reason.BRIDGE_DEFECT: UNSPECIFIED,
}


@dataclass(frozen=True, slots=True)
class Terms:
    """How one leg refuses a certificate."""

    trust: Rule
    """The rule that refuses a path."""
    certificate: Rule
    """The rule that refuses an unreadable certificate."""
    errors: Mapping[Reason, int]
    """The OpenSSL error to set for each reason."""


Judge = Callable[[SSL.Connection, CertificationPath, CertificateFacts], Deny | None]
"""Called with a valid path and the facts of its end-entity certificate; a Deny refuses it."""

Note = Callable[[SSL.Connection, CertificateFacts | None, Deny | None], None]
"""Called with the end-entity certificate, if readable, and the refusal, if any."""


def openssl_text(number: int) -> str:
    """Return OpenSSL's text for one of its verification errors."""
    text: str = ffi.string(lib.X509_verify_cert_error_string(number)).decode("ascii", "replace")
    return text


_HOSTNAME_MISMATCH = 62  # X509_V_ERR_HOSTNAME_MISMATCH


def _explained(number: int, facts: CertificateFacts) -> str:
    """Return why OpenSSL refuses a certificate: its own text, or a more precise one."""
    if number == _HOSTNAME_MISMATCH and not facts.dns_names:
        text = "the certificate has no DNS name in its subjectAltName; its common name is not used "
        return text + "(RFC 9525 section 2)"
    return openssl_text(number)


class Verification(NamedTuple):
    """How the certificates of a context's connections are verified."""

    authorities: Authorities
    judge: Judge
    note: Note
    terms: Terms


def verify_with(context: SSL.Context, mode: int, verification: Verification) -> None:
    note = verification.note

    def _verify(preverified: int, store_context: Any) -> int:
        try:
            return _judge_certificate(preverified, store_context, verification)
        except BaseException as error:  # an exception must not reach OpenSSL
            lib.X509_STORE_CTX_set_error(store_context, UNSPECIFIED)
            with contextlib.suppress(BaseException):
                defect = Deny(Reason.BRIDGE_DEFECT, rules.TLS_VERIFY, type(error).__name__)
                note(_connection(store_context), None, defect)
            return 0

    callback = ffi.callback("int(int, X509_STORE_CTX *)", _verify, error=0)
    lib.SSL_CTX_set_verify(context._context, mode, callback)
    # OpenSSL stores a bare pointer: the callback must live as long as the context.
    context._ibcm_bridge_verify = callback  # type: ignore[attr-defined]


def _judge_certificate(preverified: int, store_context: Any, verification: Verification) -> int:
    authorities, judge, note, terms = verification
    depth: int = lib.X509_STORE_CTX_get_error_depth(store_context)
    if preverified and depth > 0:
        return 1
    error: int = lib.X509_STORE_CTX_get_error(store_context)
    connection = _connection(store_context)
    try:
        end_entity = end_entity_of(store_context)
        facts: CertificateFacts | None = certificate_facts(end_entity)
        path = [end_entity, *authorities.issuers_of(store_context)] if preverified else []
    except ValueError:
        facts, path = None, []
    if facts is None:
        # OpenSSL reads certificates that the stricter parser does not; no facts are available.
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
    alert_error = terms.errors.get(denial.reason, REJECTED if preverified else error)
    lib.X509_STORE_CTX_set_error(store_context, alert_error)
    return 0


def _connection(store_context: Any) -> SSL.Connection:
    index = lib.SSL_get_ex_data_X509_STORE_CTX_idx()
    ssl = lib.X509_STORE_CTX_get_ex_data(store_context, index)
    return SSL.Connection._reverse_mapping[ssl]
