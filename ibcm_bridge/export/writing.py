"""Shared by the exports: comments, the header of a configuration, and the files that it names."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PureWindowsPath

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.export.exported import ExportError, Limitation
from ibcm_bridge.export.model import ExportedTunnel
from ibcm_bridge.export.rules import Extent, Statements
from ibcm_bridge.policy.trust import CredentialFiles, Trust

WIDTH = 100
_PATH = re.compile(r"[A-Za-z0-9_./@+:,=~-]+")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an export is made."""

    policy: str
    """The name of the policy file, for the header."""
    digest: str
    folder: Path
    """For the files that the configuration names, besides those of the policy."""


@dataclass(slots=True)
class Files:
    """The files that an export adds. Equal contents share a file."""

    folder: Path
    contents: dict[Path, bytes] = field(default_factory=dict)

    def authorities(self, trust: Trust) -> str:
        """Return the file with all authorities: many proxies read them from one file."""
        certificates = (*trust.anchors, *trust.intermediates)
        return self._add("authorities", _pem(certificates))

    def anchors(self, trust: Trust) -> str:
        """Return the file with the trust anchors."""
        return self._add("anchors", _pem(trust.anchors))

    def crls(self, trust: Trust) -> str | None:
        """Return the file with all revocation lists; None if the policy has none."""
        return self._add("crls", _pem(trust.crls)) if trust.crls else None

    def pair(self, files: CredentialFiles, pem: bytes) -> str:
        """Return the file with a certificate, its chain and its key."""
        return self._add(f"{files.chain.stem}-with-key", pem)

    def chain(self, files: CredentialFiles, pem: bytes) -> str:
        """Return the file with the issuers of a certificate."""
        return self._add(f"{files.chain.stem}-issuers", pem)

    def named(self, name: str, content: bytes) -> str:
        """Return the file with this name."""
        path = self.folder / name
        assert self.contents.get(path, content) == content
        self.contents[path] = content
        return safe_path(path)

    def _add(self, name: str, content: bytes) -> str:
        number = 1
        while self.contents.get(self._path(name, number), content) != content:
            number += 1
        path = self._path(name, number)
        self.contents[path] = content
        return safe_path(path)

    def _path(self, name: str, number: int) -> Path:
        return self.folder / f"{name}-{number}.pem"


def _pem(items: Iterable[x509.Certificate | x509.CertificateRevocationList]) -> bytes:
    return b"".join(item.public_bytes(Encoding.PEM) for item in items)


def safe_path(path: PurePath) -> str:
    """Return a path as text for a configuration. ExportError if it needs quoting."""
    text = str(path)
    if isinstance(path, PureWindowsPath):
        raise ExportError(
            f"the exported configurations are for proxies on Linux, which have no {text}; run "
            "export on the machine of the proxy, with the policy and its files there"
        )
    if not _PATH.fullmatch(text):
        raise ExportError(
            f"the path {text!r} cannot be written to a configuration; use only letters, digits and "
            "_ . / @ + : , = ~ - in paths"
        )
    return text


def comment(text: str, indent: str = "") -> str:
    """Return a text as comment lines."""
    prefix = f"{indent}# "
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=prefix,
        subsequent_indent=prefix,
        break_long_words=False,
        break_on_hyphens=False,
    )


def tunnel_comment(tunnel: ExportedTunnel) -> str:
    """Return the comment at a tunnel."""
    return comment(tunnel_text(tunnel))


def tunnel_text(tunnel: ExportedTunnel) -> str:
    """Return the text of the comment at a tunnel."""
    text = "[TUNNEL-PASS] [TUNNEL-NO-CERT] [TUNNEL-BLIND]"
    if tunnel.is_for_enrolled:
        text += " [TUNNEL-ENROLLED] [BRIDGE-NOT-ENROLLED]"
    return f"{text} {tunnel.name}: TLS passes, and its content is not inspected."


SITE_SYSTEM_FIELDS = (
    *("X-Powered-By", "X-AspNet-Version", "X-AspNetMvc-Version", "Alt-Svc", "Via", "Refresh"),
    *("Link", "Clear-Site-Data", "Strict-Transport-Security", "BITS-Host-ID"),
    *("BITS-Host-ID-Fallback-Timeout", "BITS-Reply-URL", "Content-Location"),
)
"""Response fields about a site system, besides Server (`site_system_leg.response_head`)."""


def limitations(statements: Statements) -> tuple[Limitation, ...]:
    """Return what the statements do not enforce, or only in part."""
    return tuple(
        Limitation(rule, statement.extent, statement.sentence)
        for rule, statement in statements.items()
        if statement.extent is not Extent.YES
    )


def header(
    product: str,
    place: Place,
    *,
    notes: Iterable[str],
    not_enforced: Iterable[Limitation],
    left_out: Iterable[str],
    tunnels: Iterable[str] = (),
) -> str:
    """Return the header of a configuration, as comments."""
    paragraphs = [
        f"{product}, from {place.policy} (sha256 {place.digest}). Made by ibcm-bridge export: to "
        "change it, change the policy and export it again.",
        f"The other files are in {place.folder}; `--files` of the export writes them.",
        *notes,
    ]
    lines = []
    for paragraph in paragraphs:
        lines += [comment(paragraph), "#"]
    lines.append("# What ibcm-bridge enforces, and this configuration does not, or only in part:")
    for each in not_enforced:
        extent = "Not enforced" if each.extent is Extent.NO else "In part"
        lines.append(_item(f"[{each.requirement}] {each.rule.text} {extent}: {each.sentence}."))
    if listed := list(left_out):
        text = (
            "Left out, so that no client uses the Windows sign-in of another one "
            f"(USER-WINDOWS-AUTH): {', '.join(listed)}."
        )
        lines += ["#", comment(text)]
    if listed := list(tunnels):
        lines += ["#", comment(f"Left out (TUNNEL-PASS): {', '.join(listed)}.")]
    return "\n".join(lines)


def _item(text: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent="#   - ",
        subsequent_indent="#     ",
        break_long_words=False,
        break_on_hyphens=False,
    )
