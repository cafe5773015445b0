"""Parts of nginx's syntax."""

from __future__ import annotations

from collections.abc import Iterable

from ibcm_bridge.policy.tls_settings import SUITES, TlsSettings


def block(name: str, lines: Iterable[str]) -> str:
    """Return a block of directives."""
    inner = "\n".join(f"    {line}" if line else "" for text in lines for line in text.split("\n"))
    return f"{name} {{\n{inner}\n}}"


def quoted(text: str) -> str:
    """Return a text as a parameter."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def versions(settings: TlsSettings) -> str:
    """Return the versions of TLS."""
    return " ".join(f"TLSv{version}" for version in settings.versions)


def ciphers(settings: TlsSettings) -> str:
    """Return the cipher suites of TLS 1.2."""
    return ":".join(suite.openssl for suite in SUITES[settings.suites])
