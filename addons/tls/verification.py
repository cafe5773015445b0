"""Certification paths: built and verified by OpenSSL, then judged by `certification_path`.

In a handshake, OpenSSL verifies the path and runs `verify_callback`. This module does the same
without a connection, for resumed sessions and for the command line. OpenSSL never gets revocation
lists: `ibcm_bridge.authentication.revocation` evaluates them by the policy.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto

from ibcm_bridge.authentication.certification_path import judge_path
from ibcm_bridge.authentication.revocation import Lists, Notes, loaded_lists
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule
from ibcm_bridge.policy.trust import Trust

_lib: Any = SSL._lib  # type: ignore[attr-defined]

CertificationPath = Sequence[x509.Certificate]
"""From the end-entity certificate to the trust anchor."""

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
    """Return one of OpenSSL's verification errors as a refusal, by the trust rule of the leg."""
    return Deny(REASONS.get(number, Reason.CERTIFICATE_INVALID), rule, f"{text} (depth {depth})")


def fill_store(store: crypto.X509Store, trust: Trust) -> None:
    """Add the authorities of a trust to a store.

    X509_STRICT stays off: its checks differ between OpenSSL versions. `certification_path` makes
    the strict checks.
    """
    for certificate in (*trust.anchors, *trust.intermediates):
        store.add_cert(crypto.X509.from_cryptography(certificate))


class Authorities:
    """The configured authorities of a trust, so that each is parsed once."""

    def __init__(self, trust: Trust) -> None:
        self._by_encoding = {
            certificate.public_bytes(Encoding.DER): certificate
            for certificate in (*trust.anchors, *trust.intermediates)
        }

    def issuers_of(self, store_context: Any) -> list[x509.Certificate]:
        """Return the path that OpenSSL built, without the end-entity certificate.

        For a verify callback. ValueError if one is unreadable.
        """
        # X509_STORE_CTX_get1_chain(3) returns a copy; pyOpenSSL's objects free its certificates.
        stack = _lib.X509_STORE_CTX_get1_chain(store_context)
        try:
            _end_entity, *issuers = [
                crypto.X509._from_raw_x509_ptr(_lib.sk_X509_value(stack, index))
                for index in range(_lib.sk_X509_num(stack))
            ]
        finally:
            _lib.sk_X509_free(stack)
        return [self.read(issuer) for issuer in issuers]

    def read(self, wrapped: crypto.X509) -> x509.Certificate:
        """Return a certificate of a path. ValueError if it is unreadable."""
        encoded = crypto.dump_certificate(crypto.FILETYPE_ASN1, wrapped)
        return self._by_encoding.get(encoded) or _parsed(encoded)


class PathVerifier:
    """Verifies certificates without a connection. It fills its store once."""

    def __init__(self, trust: Trust, purpose: int | None = None) -> None:
        self.trust = trust
        self._authorities = Authorities(trust)
        self._store = crypto.X509Store()
        fill_store(self._store, trust)
        if purpose is not None:
            _lib.X509_STORE_set_purpose(self._store._store, purpose)

    def verify(
        self, certificates: CertificationPath, lists: Lists, now: datetime.datetime
    ) -> Notes | Deny:
        """Verify certificates in handshake order: the end-entity certificate first."""
        path = self.path(certificates, now)
        return path if isinstance(path, Deny) else judge_path(self.trust, lists, path, now)

    def path(
        self, certificates: CertificationPath, now: datetime.datetime
    ) -> CertificationPath | Deny:
        """Build the path to a trust anchor, and verify it as OpenSSL does in a handshake."""
        self._store.set_time(now)
        end_entity, *others = [crypto.X509.from_cryptography(found) for found in certificates]
        try:
            path = crypto.X509StoreContext(self._store, end_entity, others).get_verified_chain()
        except crypto.X509StoreContextError as error:
            number, depth, text = error.errors
            return refused_by_openssl(self.trust.rule, number, depth, text)
        return [certificates[0], *(self._authorities.read(issuer) for issuer in path[1:])]


def client_verifier(trust: Trust) -> PathVerifier:
    """Return a verifier that verifies as the client leg does."""
    return PathVerifier(trust, _lib.X509_PURPOSE_SSL_CLIENT)


def verify_client_path(
    trust: Trust,
    certificates: CertificationPath,
    lists: Lists | None = None,
    now: datetime.datetime | None = None,
) -> Notes | Deny:
    """Verify a client's certificates without a connection, as the client leg would.

    `certificates` are in handshake order: the end-entity certificate first. `lists` and `now`
    default to the lists of the trust and the system clock.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    lists = loaded_lists(trust, now) if lists is None else lists
    return client_verifier(trust).verify(certificates, lists, now)


def verify_authority(trust: Trust, certificate: x509.Certificate) -> Notes | Deny:
    """Verify that an issuing authority chains to a trust anchor and is not revoked."""
    now = datetime.datetime.now(datetime.UTC)
    return PathVerifier(trust).verify([certificate], loaded_lists(trust, now), now)


def end_entity_of(store_context: Any) -> x509.Certificate:
    """Return the end-entity certificate, in a verify callback. ValueError if it is unreadable."""
    return certificate_at(_lib.X509_STORE_CTX_get0_cert(store_context))


def certificate_at(pointer: Any) -> x509.Certificate:
    """Return the certificate at a pointer that OpenSSL also owns. ValueError if unreadable."""
    _lib.X509_up_ref(pointer)
    wrapped = crypto.X509._from_raw_x509_ptr(pointer)
    return _parsed(crypto.dump_certificate(crypto.FILETYPE_ASN1, wrapped))


def _parsed(encoded: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(encoded)
    except x509.InvalidVersion as error:
        # InvalidVersion is not a ValueError, but the peer causes it: it is not a bridge defect.
        raise ValueError(str(error)) from error
