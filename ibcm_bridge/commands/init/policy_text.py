"""Inputs -> the text of a policy, with comments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from ibcm_bridge.commands.init.inputs import Inputs, is_pfx
from ibcm_bridge.commands.init.questions import (
    DISTRIBUTION_POINT,
    MANAGEMENT_POINT,
    STATUS_POINT,
    UPDATE_POINT,
    is_url,
)

LISTS_FOLDER = "crls"
"""The folder beside the policy for downloaded revocation lists."""

_WHY_PLAINTEXT = "clients report here that they cannot reach a management point over HTTPS"

_HEAD = """\
# Written by `ibcm-bridge init`. docs/policy-file.md explains every key.
#
#   ibcm-bridge check --config {name}   checks it
#   ibcm-bridge run --config {name}     runs it
#
# Paths are relative to this file.
version: 1

audit:
  file: audit.jsonl

publications:
"""


def policy_text(inputs: Inputs, path: Path) -> str:
    """Return the policy, for a file at `path`: its paths are relative to the folder of `path`."""
    lines = [*_publications(inputs, path.parent.absolute())]
    return _HEAD.format(name=path.name) + "\n".join(lines).lstrip("\n") + "\n"


def downloads_lists(inputs: Inputs) -> bool:
    """Whether the policy needs `LISTS_FOLDER`."""
    return any(map(is_url, inputs["crl"]))


def _publications(inputs: Inputs, folder: Path) -> Iterator[str]:
    shared = _Shared(inputs, folder)
    points = [role for role in (MANAGEMENT_POINT, DISTRIBUTION_POINT) if role in inputs]
    if points:
        yield from _head(
            "SSL bridging to SSL, for clients with a computer certificate.",
            inputs["name"][0],
            "bridge",
            inputs["listen"][0],
        )
        yield from shared.server
        yield "    clients:"
        yield from shared.trust
        yield from shared.site_systems
        yield from _roles(inputs, points)
    if UPDATE_POINT in inputs:
        yield from _head(
            "Windows Update Agent presents no client certificate, so none is requested.",
            inputs["name"][0],
            "bridge",
            inputs["update-listen"][0],
        )
        yield from shared.server
        yield "    clients:"
        yield "      certificate: none"
        yield from shared.site_systems
        yield from _roles(inputs, [UPDATE_POINT])
    if STATUS_POINT in inputs:
        yield from _head(
            "Clients use a fallback status point when HTTPS fails: HTTP on both legs.",
            inputs["name"][0],
            "plaintext",
            inputs["status-listen"][0],
        )
        yield f"    because: {_WHY_PLAINTEXT}"
        yield from _roles(inputs, [STATUS_POINT])
    for tunnel in inputs.get("tunnel", ()):
        name, _, address = tunnel.partition("=")
        yield from _head(
            "SSL tunneling: less secure, because nothing is inspected.",
            name,
            "tunnel",
            inputs["listen"][0],
        )
        yield f"    site_system: {_scalar(address)}"


def _head(comment: str, name: str, mode: str, listen: str) -> Iterator[str]:
    yield ""
    yield f"  # {comment}"
    yield f"  - name: {_scalar(name)}"
    yield f"    mode: {mode}"
    yield f"    listen: {_scalar(listen)}"


class _Shared:
    """The parts that several publications have."""

    def __init__(self, inputs: Inputs, folder: Path) -> None:
        self._answers, self._folder = inputs, folder
        self.server = [
            "    certificate:                # server certificate: serverAuth, the FQDN in its SAN",
            *self._credential("      ", "certificate", "key", "passphrase-file"),
        ]
        self.trust = [*self._trust("      ")]
        self.site_systems = [
            "    site_systems:",
            "      certificate:              # client certificate for site systems: clientAuth",
            *self._credential(
                "        ", "client-certificate", "client-key", "client-passphrase-file"
            ),
            *self._trust("      "),
        ]

    def _credential(self, indent: str, file: str, key: str, passphrase: str) -> Iterator[str]:
        name = self._answers[file][0]
        if is_pfx(name):
            yield f"{indent}pfx: {self._path(name)}"
        else:
            yield f"{indent}chain: {self._path(name)}"
            yield f"{indent}key: {self._path(self._answers[key][0])}"
        if passphrase in self._answers:
            yield f"{indent}passphrase:"
            yield f"{indent}  file: {self._path(self._answers[passphrase][0])}"

    def _trust(self, indent: str) -> Iterator[str]:
        yield f"{indent}trust:"
        yield from self._files(f"{indent}  anchors", self._answers["root"])
        yield from self._files(f"{indent}  issuing", self._answers.get("issuing", ()))
        lists = self._answers["crl"]
        yield from self._files(f"{indent}  crls", [name for name in lists if not is_url(name)])
        if urls := [name for name in lists if is_url(name)]:
            yield f"{indent}  fetch:"
            yield f"{indent}    urls: {_sequence(urls)}"
            yield f"{indent}    folder: {LISTS_FOLDER}"

    def _files(self, key: str, files: Sequence[str]) -> Iterator[str]:
        if files:
            yield f"{key}: [{', '.join(self._path(file, flow=True) for file in files)}]"

    def _path(self, file: str, *, flow: bool = False) -> str:
        """A path relative to the policy, if it is in its folder or below; `/` on every system."""
        # Not resolved: a link to the current certificate stays a link.
        path = Path(file).absolute()
        if path.is_relative_to(self._folder):
            path = path.relative_to(self._folder)
        text = path.as_posix()
        return _sequence([text])[1:-1] if flow else _scalar(text)


def _roles(inputs: Inputs, roles: Sequence[str]) -> Iterator[str]:
    yield "    roles:"
    for role in roles:
        url, comma, address = inputs[role][0].partition(",")
        yield f"      {role}:"
        yield f"        site_system: {_scalar(url)}"
        if comma:
            yield f"        connect: {_scalar(address)}"


def _scalar(text: str) -> str:
    """Return a string as a YAML value, in quotes if it needs them."""
    return yaml.safe_dump(text, allow_unicode=True, width=10_000).removesuffix("...\n").strip()


def _sequence(texts: Sequence[str]) -> str:
    return yaml.safe_dump(
        [*texts], allow_unicode=True, default_flow_style=True, width=10_000
    ).strip()
