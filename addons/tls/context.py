"""The settings common to the OpenSSL contexts of both legs."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

from ibcm_bridge.addons.tls.verification import fill_store
from ibcm_bridge.policy.tls_settings import SUITES, TLS_1_3_SUITES, TlsSettings, TlsVersion
from ibcm_bridge.policy.trust import Credential, Trust

lib: Any = SSL._lib  # type: ignore[attr-defined]

ffi: Any = SSL._ffi  # type: ignore[attr-defined]

VERSIONS = {TlsVersion.TLS_1_2: SSL.TLS1_2_VERSION, TlsVersion.TLS_1_3: SSL.TLS1_3_VERSION}
"""OpenSSL's numbers of the TLS versions."""


def leg_context(
    method: int, credential: Credential, trust: Trust | None, settings: TlsSettings
) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_max_proto_version(VERSIONS[settings.highest])
    suites = ":".join(suite.openssl for suite in SUITES[settings.suites])
    context.set_cipher_list(suites.encode("ascii"))
    context.set_tls13_ciphersuites(":".join(TLS_1_3_SUITES.values()).encode("ascii"))
    # An idle leg holds no buffers: saves 48 of the 187 KB that a client and its leg use together.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    # pyOpenSSL sets this mode: each call would write only one record.
    context.clear_mode(lib.SSL_MODE_ENABLE_PARTIAL_WRITE)
    chain = credential.chain
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
