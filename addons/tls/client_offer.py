"""What a client offers in its ClientHello, with names, to explain a handshake that failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mitmproxy.proxy.layers.tls import parse_client_hello

from ibcm_bridge.policy.tls_settings import SUITES, TLS_1_3_SUITES, CipherSuites

VERSION_NAMES: Mapping[int, str] = {
    0x0300: "SSL 3.0",
    0x0301: "TLS 1.0",
    0x0302: "TLS 1.1",
    0x0303: "TLS 1.2",
    0x0304: "TLS 1.3",
}

SUITE_NAMES: Mapping[int, str] = {
    **{suite.number: suite.name for suite in SUITES[CipherSuites.COMPATIBLE]},
    **TLS_1_3_SUITES,
    0x1304: "TLS_AES_128_CCM_SHA256",
    0x1305: "TLS_AES_128_CCM_8_SHA256",
    0xC00A: "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    0xC009: "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    0xC014: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    0xC013: "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    0xC012: "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    0x009F: "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
    0x009E: "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
    0x006B: "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256",
    0x0067: "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256",
    0x0039: "TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
    0x0033: "TLS_DHE_RSA_WITH_AES_128_CBC_SHA",
    0x0035: "TLS_RSA_WITH_AES_256_CBC_SHA",
    0x002F: "TLS_RSA_WITH_AES_128_CBC_SHA",
    0x000A: "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    0x0005: "TLS_RSA_WITH_RC4_128_SHA",
}
"""The cipher suites of the bridge, and others that Windows offers (IANA, TLS Cipher Suites)."""

SIGNATURE_NAMES: Mapping[int, str] = {
    0x0201: "rsa_pkcs1_sha1",
    0x0203: "ecdsa_sha1",
    0x0401: "rsa_pkcs1_sha256",
    0x0403: "ecdsa_secp256r1_sha256",
    0x0501: "rsa_pkcs1_sha384",
    0x0503: "ecdsa_secp384r1_sha384",
    0x0601: "rsa_pkcs1_sha512",
    0x0603: "ecdsa_secp521r1_sha512",
    0x0804: "rsa_pss_rsae_sha256",
    0x0805: "rsa_pss_rsae_sha384",
    0x0806: "rsa_pss_rsae_sha512",
    0x0807: "ed25519",
    0x0808: "ed448",
    0x0809: "rsa_pss_pss_sha256",
    0x080A: "rsa_pss_pss_sha384",
    0x080B: "rsa_pss_pss_sha512",
}
"""RFC 8446 §4.2.3."""

_SIGNATURE_ALGORITHMS, _SUPPORTED_VERSIONS = 13, 43
_SIGNALS = frozenset((0x00FF, 0x5600))
"""Signals in a list of cipher suites (RFC 5746 §3.3, RFC 7507)."""


@dataclass(frozen=True, slots=True)
class ClientOffer:
    """Numbers in the order of the client, without GREASE (RFC 8701)."""

    versions: tuple[int, ...]
    suites: tuple[int, ...]
    signatures: tuple[int, ...]


def client_offer(records: bytes) -> ClientOffer | None:
    """Parse the records that contain a ClientHello. None if they cannot be parsed."""
    try:
        hello = parse_client_hello(records)
    except ValueError:
        return None
    if hello is None:
        return None
    extensions = dict(hello.extensions)
    legacy = hello.raw_bytes(wrap_in_record=False)[:2]
    versions = extensions.get(_SUPPORTED_VERSIONS, b"")[1:]
    return ClientOffer(
        versions=_numbers(versions or legacy),
        suites=tuple(number for number in hello.cipher_suites if not _is_signal(number)),
        signatures=_numbers(extensions.get(_SIGNATURE_ALGORITHMS, b"")[2:]),
    )


def _numbers(data: bytes) -> tuple[int, ...]:
    numbers = (int.from_bytes(data[at : at + 2]) for at in range(0, len(data) - 1, 2))
    return tuple(number for number in numbers if not _is_signal(number))


def _is_signal(number: int) -> bool:
    grease = number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF
    return grease or number in _SIGNALS


_MOST = 6


def names_of(numbers: Iterable[int], names: Mapping[int, str]) -> str:
    """Return the names of the first numbers, and how many follow; unknown ones as hexadecimal."""
    found = [names.get(number, f"0x{number:04X}") for number in numbers]
    more = [f"{len(found) - _MOST} more"] if len(found) > _MOST else []
    return ", ".join([*found[:_MOST], *more]) or "none"
