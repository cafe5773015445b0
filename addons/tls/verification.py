"""Certification paths: built and verified by OpenSSL, judged by `certification_path`.

In a handshake OpenSSL does this by itself and calls `addons.tls` back; here it is done without
a connection, for a session that is resumed and for the command line. Revocation lists are never
given to OpenSSL: what they mean here has a policy (`ibcm_bridge.authentication.revocation`).
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto

from ibcm_bridge.authentication.certification_path import judge_path
from ibcm_bridge.authentication.revocation import Lists, Notes, loaded_lists
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule
from ibcm_bridge.policy.trust import Trust

_lib: Any = SSL._lib  # type: ignore[attr-defined]

Path = Sequence[x509.Certificate]
"""From the end-entity certificate to the anchor."""

REASONS: dict[int, Reason] = {
    # Error numbers of X509_verify_cert (openssl/x509_vfy.h); stable since OpenSSL 1.0.
    2: Reason.CERTIFICATE_UNTRUSTED,  # unable to get issuer certificate
    9: Reason.CERTIFICATE_NOT_YET_VALID,
    10: Reason.CERTIFICATE_EXPIRED,
    18: Reason.CERTIFICATE_UNTRUSTED,  # self-signed
    19: Reason.CERTIFICATE_UNTRUSTED,  # self-signed in the path
    20: Reason.CERTIFICATE_UNTRUSTED,  # unable to get local issuer certificate
    21: Reason.CERTIFICATE_UNTRUSTED,  # unable to verify the first certificate
    24: Reason.CERTIFICATE_UNTRUSTED,  # invalid CA certificate
    26: Reason.CERTIFICATE_PURPOSE,
    66: Reason.CERTIFICATE_WEAK,  # end-entity key too small
    67: Reason.CERTIFICATE_WEAK,  # authority's key too small
    68: Reason.CERTIFICATE_WEAK,  # signature's digest too weak
}


def refused_by_openssl(rule: Rule, number: int, depth: int, text: str) -> Deny:
    """One of OpenSSL's verification errors as a refusal, by the rule of that leg's trust."""
    return Deny(REASONS.get(number, Reason.CERTIFICATE_INVALID), rule, f"{text} (depth {depth})")


def fill_store(store: crypto.X509Store, trust: Trust) -> None:
    """Put the authorities of a trust into a store.

    Without X509_STRICT, which means another thing in each version of OpenSSL; how strict we are
    says `certification_path`.
    """
    for certificate in (*trust.anchors, *trust.intermediates):
        store.add_cert(crypto.X509.from_cryptography(certificate))


def verify_client_path(
    trust: Trust,
    certificates: Path,
    lists: Lists | None = None,
    now: datetime.datetime | None = None,
) -> Notes | Deny:
    """Verify what a client presents, without a connection, as the client leg would.

    `certificates` are in the order of the handshake, the end-entity certificate first. `lists` and
    `now` where they are not those of the trust and of the clock.
    """
    return _verify(trust, certificates, _lib.X509_PURPOSE_SSL_CLIENT, lists, now)


def verify_authority(trust: Trust, certificate: x509.Certificate) -> Notes | Deny:
    """Verify that an issuing authority leads to an anchor, its revocation list included."""
    return _verify(trust, [certificate], None, None, None)


def _verify(
    trust: Trust,
    certificates: Path,
    purpose: int | None,
    lists: Lists | None,
    now: datetime.datetime | None,
) -> Notes | Deny:
    now = now or datetime.datetime.now(datetime.UTC)
    store = crypto.X509Store()
    fill_store(store, trust)
    store.set_time(now)
    if purpose is not None:
        _lib.X509_STORE_set_purpose(store._store, purpose)
    leaf, *others = [crypto.X509.from_cryptography(one) for one in certificates]
    try:
        path = crypto.X509StoreContext(store, leaf, others).get_verified_chain()
    except crypto.X509StoreContextError as error:
        number, depth, text = error.errors
        return refused_by_openssl(trust.rule, number, depth, text)
    lists = loaded_lists(trust, now) if lists is None else lists
    return judge_path(trust, lists, [one.to_cryptography() for one in path], now)


def path_of(store_context: Any) -> list[x509.Certificate]:
    """The path OpenSSL has built, in a verify callback. ValueError where it cannot be read."""
    # X509_STORE_CTX_get1_chain(3): a copy, whose members are freed by pyOpenSSL's objects.
    stack = _lib.X509_STORE_CTX_get1_chain(store_context)
    try:
        wrapped = [
            crypto.X509._from_raw_x509_ptr(_lib.sk_X509_value(stack, index))
            for index in range(_lib.sk_X509_num(stack))
        ]
    finally:
        _lib.sk_X509_free(stack)
    return [_read(one) for one in wrapped]


def end_entity_of(store_context: Any) -> x509.Certificate:
    """The end-entity certificate, in a verify callback. ValueError where it cannot be read."""
    return taken_over(_lib.X509_STORE_CTX_get0_cert(store_context))


def taken_over(pointer: Any) -> x509.Certificate:
    """A certificate of which OpenSSL keeps its own reference. ValueError as above."""
    _lib.X509_up_ref(pointer)
    return _read(crypto.X509._from_raw_x509_ptr(pointer))


def _read(wrapped: crypto.X509) -> x509.Certificate:
    try:
        return wrapped.to_cryptography()
    except x509.InvalidVersion as error:
        # Not a ValueError, though a stranger's certificate is its cause and not a defect of ours.
        raise ValueError(str(error)) from error
