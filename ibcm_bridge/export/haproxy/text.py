"""Parts of HAProxy's syntax."""

from __future__ import annotations

from collections.abc import Iterable

from ibcm_bridge.policy.tls_settings import SUITES, TlsSettings


def section(name: str, lines: Iterable[str]) -> str:
    """Return a section."""
    inner = "\n".join(f"    {line}" for text in lines for line in text.split("\n"))
    return f"{name}\n{inner}"


def milliseconds(seconds: float) -> str:
    """Return a time."""
    return f"{round(seconds * 1000)}ms"


def versions(settings: TlsSettings) -> list[str]:
    """Return the options for the versions of TLS."""
    lowest, highest = settings.versions[0], settings.versions[-1]
    return ["ssl-min-ver", f"TLSv{lowest}", "ssl-max-ver", f"TLSv{highest}"]


def ciphers(settings: TlsSettings) -> str:
    """Return the cipher suites of TLS 1.2."""
    return ":".join(suite.openssl for suite in SUITES[settings.suites])
