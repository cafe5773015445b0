"""Certificates that OpenSSL's X509_STRICT refuses are refused, with listed exceptions."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from OpenSSL import SSL, crypto

from tests.addons.tls.made_certificates import PKIS, Made
from tests.addons.tls.real_certificates import ACCEPTED, INVALID, REFUSED

# X509_STRICT, which the bridge no longer uses

STRICT: Mapping[int, tuple[str, str | None]] = {
    # error: its text, and the case that is refused without X509_STRICT; None: accepted
    78: ("cert info signature and signature algorithm mismatch", "algorithms-differ"),
    79: ("invalid ca certificate", "root-no-bc"),
    80: ("path length invalid for non-ca cert", "end-entity-with-pathlen"),
    # An end-entity certificate. It cannot issue certificates anyway.
    81: ("path length given without key usage keycertsign", None),
    82: ("key usage keycertsign invalid for non-ca cert", "end-entity-may-sign"),
    83: ("issuer name empty", "root-nameless"),
    84: ("subject name empty", "no-name-at-all"),
    # Key identifiers only help to find a path. The signature decides.
    85: ("missing authority key identifier", None),
    86: ("missing subject key identifier", None),
    87: ("empty subject alternative name extension", "san-empty"),
    # `critical` matters only for unknown extensions; these are always processed.
    88: ("subject empty and subject alt name extension not critical", None),
    89: ("basic constraints of ca cert not marked critical", None),
    90: ("authority key identifier marked critical", "aki-critical"),
    91: ("subject key identifier marked critical", "ski-critical"),
    # Without keyUsage, only basicConstraints apply (RFC 5280 section 6.1.4).
    92: ("ca cert does not include key usage extension", None),
    93: ("using cert extension requires at least x509v3", "extensions-in-version-1"),
}
"""The checks of X509_STRICT in any OpenSSL version, from openssl/x509_vfy.h."""


def strictly(kind: str, made: Made, *, strict: bool) -> int:
    """Return OpenSSL's own result: 0, or the number of an error."""
    store = crypto.X509Store()
    for authority in (PKIS[kind].root, PKIS[kind].issuing):
        store.add_cert(crypto.X509.from_cryptography(authority.certificate))
    if strict:
        store.set_flags(crypto.X509StoreFlags.X509_STRICT)
    lib = SSL._lib  # type: ignore[attr-defined]
    lib.X509_STORE_set_purpose(store._store, lib.X509_PURPOSE_SSL_CLIENT)
    leaf = crypto.X509.from_cryptography(made.certificate)
    try:
        crypto.X509StoreContext(store, leaf).verify_certificate()
    except crypto.X509StoreContextError as error:
        number: int = error.errors[0]
        return number
    return 0


@pytest.mark.parametrize("case", ACCEPTED)
def test_certificates_that_x509_strict_refuses_are_refused_or_listed(case: str) -> None:
    number = strictly(*ACCEPTED[case], strict=True)
    assert number == 0 or STRICT[number][1] is None, case


@pytest.mark.parametrize("number", STRICT)
def test_each_strict_check_is_in_the_table(number: int) -> None:
    words, refused = STRICT[number]
    lib, ffi = SSL._lib, SSL._ffi  # type: ignore[attr-defined]
    text = ffi.string(lib.X509_verify_cert_error_string(number)).decode().lower()
    assert text == words
    if refused is not None:
        assert strictly(*REFUSED[refused][:2], strict=True) != 0


REFUSED_BY_OUR_TABLE = [
    case
    for case, (_, _, reason, detail) in REFUSED.items()
    if reason is INVALID and "RFC 5280" in detail
]


@pytest.mark.parametrize("case", REFUSED_BY_OUR_TABLE)
def test_openssl_alone_would_accept_what_the_table_refuses(case: str) -> None:
    # Otherwise a row of the table is not needed, or its case does not test it.
    assert strictly(*REFUSED[case][:2], strict=False) == 0
