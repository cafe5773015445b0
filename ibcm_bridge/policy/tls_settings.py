"""The TLS versions and cipher suites of a leg."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class TlsVersion(StrEnum):
    """The highest version that a leg offers or accepts."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


class CipherSuites(StrEnum):
    """The cipher suites of TLS 1.2 that a leg offers or accepts. Those of TLS 1.3 are all AEAD."""

    MODERN = "modern"
    """ECDHE and AEAD (RFC 9325 §4.2)."""
    STANDARD = "standard"
    """Also ECDHE and CBC with SHA-2. Windows Server 2012 R2 has no other suite with ECDHE for an
    RSA certificate."""
    COMPATIBLE = "compatible"
    """Also the exchange of keys by RSA, without forward secrecy."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """The settings of one leg. The lowest version is always TLS 1.2 (RFC 8996)."""

    highest: TlsVersion = TlsVersion.TLS_1_3
    suites: CipherSuites = CipherSuites.STANDARD

    @property
    def versions(self) -> tuple[TlsVersion, ...]:
        """The versions of the leg, the lowest first."""
        return tuple(version for version in TlsVersion if version <= self.highest)


DEFAULT_TLS = TlsSettings()
"""The settings of a leg for which the policy has none."""


@dataclass(frozen=True, slots=True)
class CipherSuite:
    """A cipher suite by its IANA number, its IANA name, and OpenSSL's name."""

    number: int
    name: str
    openssl: str


_AEAD = (
    CipherSuite(0xC02C, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    CipherSuite(0xC030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
    CipherSuite(
        0xCCA9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"
    ),
    CipherSuite(
        0xCCA8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"
    ),
    CipherSuite(0xC02B, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    CipherSuite(0xC02F, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
)
_CBC = (
    CipherSuite(0xC024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384", "ECDHE-ECDSA-AES256-SHA384"),
    CipherSuite(0xC028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384", "ECDHE-RSA-AES256-SHA384"),
    CipherSuite(0xC023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", "ECDHE-ECDSA-AES128-SHA256"),
    CipherSuite(0xC027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "ECDHE-RSA-AES128-SHA256"),
)
_STATIC_RSA = (
    CipherSuite(0x009D, "TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
    CipherSuite(0x009C, "TLS_RSA_WITH_AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
    CipherSuite(0x003D, "TLS_RSA_WITH_AES_256_CBC_SHA256", "AES256-SHA256"),
    CipherSuite(0x003C, "TLS_RSA_WITH_AES_128_CBC_SHA256", "AES128-SHA256"),
)

SUITES: Mapping[CipherSuites, tuple[CipherSuite, ...]] = {
    CipherSuites.MODERN: _AEAD,
    CipherSuites.STANDARD: (*_AEAD, *_CBC),
    CipherSuites.COMPATIBLE: (*_AEAD, *_CBC, *_STATIC_RSA),
}
"""The cipher suites of TLS 1.2, in order of preference."""

TLS_1_3_SUITES: Mapping[int, str] = {
    0x1301: "TLS_AES_128_GCM_SHA256",
    0x1302: "TLS_AES_256_GCM_SHA384",
    0x1303: "TLS_CHACHA20_POLY1305_SHA256",
}
"""The cipher suites of TLS 1.3, in all settings, in order of preference.

AES-128 is strong enough, and SHA-256 makes the keys of a handshake in less time than SHA-384.
"""
