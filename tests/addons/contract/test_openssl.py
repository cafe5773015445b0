"""The undocumented behavior of pyOpenSSL that the addons rely on."""

from __future__ import annotations

import inspect
import re

import pytest
from OpenSSL import SSL, crypto

from ibcm_bridge.addons.tls import (
    alert_callback,
    client_leg,
    context,
    site_system_leg,
    verification,
    verify_callback,
)
from ibcm_bridge.addons.tls.connection import LegConnection
from ibcm_bridge.decisions.denial import Reason
from tests.addons.stand_ins.lab import Lab, bridged_publication


@pytest.mark.parametrize(
    "name",
    [
        "SSL_CTX_set_alpn_select_cb",
        "SSL_CTX_set_info_callback",
        "SSL_CTX_set_post_handshake_auth",
        "SSL_CTX_set_verify",
        "SSL_get0_param",
        "SSL_get_ex_data_X509_STORE_CTX_idx",
        "SSL_get_verify_result",
        "SSL_session_reused",
        "SSL_set_session",
        "X509_STORE_CTX_get0_cert",
        "X509_STORE_CTX_get1_chain",
        "X509_STORE_CTX_get_error",
        "X509_STORE_CTX_get_error_depth",
        "X509_STORE_CTX_get_ex_data",
        "X509_STORE_CTX_set_error",
        "X509_STORE_set_purpose",
        "X509_VERIFY_PARAM_set1_host",
        "X509_VERIFY_PARAM_set_hostflags",
        "X509_up_ref",
        "X509_verify_cert_error_string",
        "sk_X509_free",
        "sk_X509_num",
        "sk_X509_value",
    ],
)
def test_openssl_has_the_function(name: str) -> None:
    assert callable(getattr(SSL._lib, name))  # type: ignore[attr-defined]


def test_the_tested_openssl_functions_are_those_that_are_used() -> None:
    room = (alert_callback, client_leg, context, site_system_leg, verification, verify_callback)
    used = set(re.findall(r"\b_?lib\.(\w+)\(", "".join(map(inspect.getsource, room))))
    (mark,) = (
        mark
        for mark in test_openssl_has_the_function.pytestmark  # type: ignore[attr-defined]
        if mark.name == "parametrize"
    )
    assert {name.strip() for name in used} == set(mark.args[1])


def test_error_numbers_have_the_meaning_in_the_table() -> None:
    def text(number: int) -> str:
        words = SSL._lib.X509_verify_cert_error_string(number)  # type: ignore[attr-defined]
        return SSL._ffi.string(words).decode()  # type: ignore[attr-defined, no-any-return]

    for number, reason in verification.REASONS.items():
        if reason is Reason.CERTIFICATE_WEAK:
            assert text(number).endswith(("key too weak", "digest algorithm too weak")), number
    assert text(10) == "certificate has expired"
    assert text(9).startswith("certificate is not yet valid")
    assert text(verify_callback.REVOKED) == "certificate revoked"
    assert "purpose" in text(verify_callback.WRONG_PURPOSE)
    assert "rejected" in text(verify_callback.REJECTED)
    assert "unspecified" in text(verify_callback.UNSPECIFIED)
    assert "CRL scope" in text(verify_callback.UNMAPPED)


def test_a_connection_is_found_by_its_ssl_object_and_keeps_its_context() -> None:
    context = SSL.Context(SSL.TLS_METHOD)
    connection = SSL.Connection(context, None)
    assert SSL.Connection._reverse_mapping[connection._ssl] is connection
    assert connection._context is context
    assert context._context is not None


def test_a_connection_has_the_parts_that_a_leg_reads_with() -> None:
    connection = LegConnection(SSL.Context(SSL.TLS_METHOD), None)
    assert list(inspect.signature(connection._raise_ssl_error).parameters) == ["ssl", "result"]
    assert connection._ssl is not None
    assert connection._from_ssl is not None
    assert connection._into_ssl is not None
    for name in (
        *("SSL_read", "SSL_write", "SSL_get_error", "BIO_read", "BIO_write"),
        *("BIO_new", "BIO_s_mem", "SSL_set_bio"),
        *("SSL_ERROR_WANT_READ", "SSL_MODE_ENABLE_PARTIAL_WRITE"),
    ):
        assert hasattr(SSL._lib, name)  # type: ignore[attr-defined]


def test_a_callback_lives_as_long_as_its_context(lab: Lab) -> None:
    publication = bridged_publication(lab.policy)
    context = client_leg.client_leg_context(
        publication, client_leg.Callbacks(*[lambda *_: None] * 3)
    )
    assert context._ibcm_bridge_verify is not None  # type: ignore[attr-defined]
    assert context._verify_helper is None, "pyOpenSSL's own would replace ours"
    assert SSL.Connection(context, None)._verify_helper is None


def test_a_certificate_can_be_read_at_a_raw_pointer(lab: Lab) -> None:
    original = crypto.X509.from_cryptography(lab.computer.certificate)
    taken = verification.certificate_at(original._x509)
    assert taken == lab.computer.certificate
    del taken
    assert original.to_cryptography() == lab.computer.certificate, "and is not freed with it"


def test_app_data_stays_with_its_connection() -> None:
    connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
    connection.set_app_data(self := object())
    assert connection.get_app_data() is self
