"""Why a handshake with a client failed: the missing version, cipher suite or signature algorithm.

OpenSSL reports the kind only. It also reports a missing signature algorithm or group as "no shared
cipher", because a cipher suite of TLS 1.2 is usable only with all three.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ibcm_bridge.addons.tls.client_offer import (
    SIGNATURE_NAMES,
    SUITE_NAMES,
    VERSION_NAMES,
    ClientOffer,
    client_offer,
    names_of,
)
from ibcm_bridge.policy.tls_settings import (
    SUITES,
    TLS_1_3_SUITES,
    CipherSuites,
    TlsSettings,
    TlsVersion,
)

_TLS_1_3 = 0x0304
_LONGEST = 200


def why_no_handshake(error: str, client_hello: bytes, settings: TlsSettings) -> str:
    """Return OpenSSL's error with what the client offered. `client_hello`: its records."""
    reason = next((reason for reason in _EXPLAINED if reason in error), None)
    offer = client_offer(client_hello) if reason is not None else None
    if reason is None or offer is None:
        return error[:_LONGEST]
    return f"{reason}: {_EXPLAINED[reason](offer, settings)}"


def _suites(offer: ClientOffer, settings: TlsSettings) -> str:
    usable = {suite.number for suite in SUITES[settings.suites]}
    if settings.highest is TlsVersion.TLS_1_3 and _TLS_1_3 in offer.versions:
        usable |= TLS_1_3_SUITES.keys()
    common = [number for number in offer.suites if number in usable]
    if common:
        text = f"the client offers {names_of(common, SUITE_NAMES)}, but no signature algorithm or "
        text += "group for the bridge's certificate; its signature algorithms: "
        return text + names_of(offer.signatures, SIGNATURE_NAMES)
    text = f"the client offers only {names_of(offer.suites, SUITE_NAMES)}"
    for wider in (CipherSuites.STANDARD, CipherSuites.COMPATIBLE):
        added = [suite.name for suite in SUITES[wider] if suite.number in offer.suites]
        if added:
            return f"{text}; clients.tls: {wider} adds {added[0]}"
    return text


def _signatures(offer: ClientOffer, _settings: TlsSettings) -> str:
    text = f"the client offers {names_of(offer.signatures, SIGNATURE_NAMES)}"
    pss = any(SIGNATURE_NAMES.get(number, "").startswith("rsa_pss") for number in offer.signatures)
    if _TLS_1_3 in offer.versions and not pss:
        text += "; TLS 1.3 requires rsa_pss of RSA keys (clients.highest_tls)"
    return text


def _versions(offer: ClientOffer, settings: TlsSettings) -> str:
    text = f"the client offers only {names_of(offer.versions, VERSION_NAMES)}; the bridge accepts "
    return text + " and ".join(f"TLS {version}" for version in settings.versions)


_EXPLAINED: Mapping[str, Callable[[ClientOffer, TlsSettings], str]] = {
    "no shared cipher": _suites,
    "no suitable signature algorithm": _signatures,
    "no shared signature algorithms": _signatures,
    "unsupported protocol": _versions,
}
"""OpenSSL's reasons (ssl/ssl_err.c)."""
