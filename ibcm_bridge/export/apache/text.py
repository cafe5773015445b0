"""Parts of Apache's syntax."""

from __future__ import annotations

from collections.abc import Iterable

from ibcm_bridge.policy.tls_settings import SUITES, TlsSettings


def block(name: str, argument: str, lines: Iterable[str]) -> str:
    """Return a section."""
    inner = "\n".join(f"    {line}" if line else "" for text in lines for line in text.split("\n"))
    return f"<{name} {argument}>\n{inner}\n</{name}>"


def quoted(text: str) -> str:
    """Return a text as an argument."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def whole_seconds(seconds: float) -> int:
    """Return a time: at least one second."""
    return max(1, round(seconds))


def versions(settings: TlsSettings) -> str:
    """Return the versions of TLS."""
    return " ".join(f"+TLSv{version}" for version in settings.versions)


def ciphers(settings: TlsSettings) -> str:
    """Return the cipher suites of TLS 1.2."""
    return ":".join(suite.openssl for suite in SUITES[settings.suites])
