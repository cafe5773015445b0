"""Publications -> the text of a policy, with comments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from ibcm_bridge.commands.init.inputs import Inputs
from ibcm_bridge.commands.init.plan import (
    NOT_BRIDGED,
    Certificate,
    Clients,
    Plan,
    SiteSystem,
)
from ibcm_bridge.commands.init.questions import CATALOG, ENROLLMENT, POLICY_MODULE, UPDATE_POINT
from ibcm_bridge.commands.init.readers import is_url

LISTS_FOLDER = "crls"
"""The folder beside the policy for downloaded revocation lists."""

_WHY_PLAINTEXT = "clients report here that they cannot reach a management point over HTTPS"

_MORE_KEYS = {
    CATALOG: (
        "windows_authentication:",
        "  because: users sign in at the application catalog with their Windows account",
    )
}
"""Role -> what else it needs."""

_SERVER = "# server certificate: serverAuth, the FQDN in its SAN"

_HEAD = """\
# Written by `ibcm-bridge init`. docs/policy-file.md explains every key.
#
#   ibcm-bridge check --config {name}   checks it
#   ibcm-bridge run --config {name}     runs it
#
# Paths are relative to this file.{aliases}
version: 1

audit:
  file: audit.jsonl

publications:
"""

_ALIASES = " `&pki` names a value, and `*pki` uses it again."

_WHY_NO_CERTIFICATE = {
    UPDATE_POINT: "Windows Update Agent presents no client certificate, so none is requested.",
    CATALOG: "Users sign in with their Windows account, so no client certificate is requested.",
    POLICY_MODULE: "Devices request their first certificate here, so they have none to present.",
}

_COMMENTS = {
    Clients.COMPUTER: "SSL bridging to SSL, for clients with a computer certificate.",
    Clients.USER: "SSL bridging to SSL, for mobile devices with a user certificate.",
    Clients.EITHER: "SSL bridging to SSL, for clients with a computer or user certificate.",
    Clients.PLAINTEXT: "Clients use a fallback status point when HTTPS fails: HTTP on both legs.",
    Clients.TUNNELED: "SSL tunneling: less secure, because nothing is inspected.",
}

_MODES = {Clients.PLAINTEXT: "plaintext", Clients.TUNNELED: "tunnel"}
"""The modes of those that are not bridged."""


def policy_text(inputs: Inputs, plans: Sequence[Plan], path: Path) -> str:
    """Return the policy, for a file at `path`: its paths are relative to the folder of `path`."""
    shared = _Shared(inputs, plans, path.parent.absolute())
    lines = [line for publication in plans for line in _publication(publication, shared)]
    head = _HEAD.format(name=path.name, aliases=_ALIASES if shared.has_aliases else "")
    return head + "\n".join(lines).lstrip("\n") + "\n"


def downloads_lists(inputs: Inputs) -> bool:
    """Whether the policy needs `LISTS_FOLDER`."""
    return any(map(is_url, inputs["crl"]))


def _publication(one: Plan, shared: _Shared) -> Iterator[str]:
    yield ""
    for comment in _comments(one):
        yield f"  # {comment}"
    yield f"  - name: {_scalar(one.name)}"
    yield f"    mode: {_MODES.get(one.clients, 'bridge')}"
    yield f"    listen: {_scalar(one.listen)}"
    if one.clients is Clients.TUNNELED:
        yield from _tunnel(one)
        return
    if one.clients is Clients.PLAINTEXT:
        yield f"    because: {_WHY_PLAINTEXT}"
    else:
        yield from shared.server("    ", one)
        yield "    clients:"
        if one.clients is not Clients.COMPUTER:
            yield f"      certificate: {one.clients}"
        if one.clients is not Clients.NONE:
            yield from shared.trust("      ")
        yield from shared.site_systems("    ")
    yield "    roles:"
    for role, site_systems in one.roles.items():
        yield f"      {role}:"
        yield from _site_systems(site_systems)
        yield from (f"        {line}" for line in _MORE_KEYS.get(role, ()))


def _comments(one: Plan) -> Iterator[str]:
    if one.clients is Clients.NONE:
        yield from (_WHY_NO_CERTIFICATE[role] for role in one.roles)
    else:
        yield _COMMENTS[one.clients]
    if ENROLLMENT in one.roles:
        yield "Enrolled mobile devices support nothing else (BRIDGE-NOT-ENROLLED)."


def _tunnel(one: Plan) -> Iterator[str]:
    ((role, site_systems),) = one.roles.items()
    targets = [site_system.target for site_system in site_systems]
    yield f"    site_system: {_scalar(targets[0]) if len(targets) == 1 else _sequence(targets)}"
    if role in (ENROLLMENT, POLICY_MODULE):
        yield f"    roles: [{role}]"


def _site_systems(site_systems: Sequence[SiteSystem]) -> Iterator[str]:
    if len(site_systems) == 1:
        yield from _site_system("        ", "        ", site_systems[0])
        return
    yield "        site_system:              # in this order: the others are for its failure"
    for site_system in site_systems:
        yield from _site_system("          - ", "            ", site_system)


def _site_system(first: str, then: str, site_system: SiteSystem) -> Iterator[str]:
    yield f"{first}site_system: {_scalar(site_system.target)}"
    if site_system.connect:
        yield f"{then}connect: {_scalar(site_system.connect)}"


type _Part = Callable[[str], Iterator[str]]
"""Indentation -> the lines of a part that several publications have."""


class _Shared:
    """The parts that several publications have. Only the first has the lines, the others an alias.

    So a file is changed at one place.
    """

    def __init__(self, inputs: Inputs, plans: Sequence[Plan], folder: Path) -> None:
        self._inputs, self._folder = inputs, folder
        bridged = [publication for publication in plans if publication.clients not in NOT_BRIDGED]
        requested = [each for each in bridged if each.clients is not Clients.NONE]
        self._uses: Mapping[str, int] = {
            "server": len([each for each in bridged if each.certificate is None]),
            "site_systems": len(bridged),
            "pki": len(requested) + bool(bridged),
        }
        self._written: set[str] = set()

    @property
    def has_aliases(self) -> bool:
        return max(self._uses.values()) > 1

    def server(self, indent: str, one: Plan) -> Iterator[str]:
        if one.certificate is None:
            return self._once("server", indent, "certificate", self._server, _SERVER)
        return self._own_server(indent, one.certificate)

    def trust(self, indent: str) -> Iterator[str]:
        return self._once("pki", indent, "trust", self._trust)

    def site_systems(self, indent: str) -> Iterator[str]:
        return self._once("site_systems", indent, "site_systems", self._site_systems)

    def _once(
        self, anchor: str, indent: str, key: str, part: _Part, comment: str = ""
    ) -> Iterator[str]:
        if anchor in self._written:
            yield f"{indent}{key}: *{anchor}"
            return
        self._written.add(anchor)
        first = f"{indent}{key}:" + (f" &{anchor}" if self._uses[anchor] > 1 else "")
        yield f"{first:32}{comment}".rstrip()
        yield from part(f"{indent}  ")

    def _server(self, indent: str) -> Iterator[str]:
        return self._credential(self._certificate("certificate", "key", "passphrase-file"), indent)

    def _own_server(self, indent: str, certificate: Certificate) -> Iterator[str]:
        yield f"{indent}certificate:                {_SERVER}"
        yield from self._credential(certificate, f"{indent}  ")

    def _site_systems(self, indent: str) -> Iterator[str]:
        yield f"{indent}certificate:              # client certificate for site systems: clientAuth"
        certificate = self._certificate(
            "client-certificate", "client-key", "client-passphrase-file"
        )
        yield from self._credential(certificate, f"{indent}  ")
        yield from self.trust(indent)

    def _certificate(self, *keys: str) -> Certificate:
        """Return a certificate from its questions."""
        file, key, passphrase = (self._inputs.get(each, ("",))[0] for each in keys)
        return Certificate(file, key, passphrase)

    def _credential(self, certificate: Certificate, indent: str) -> Iterator[str]:
        if certificate.key:
            yield f"{indent}chain: {self._path(certificate.file)}"
            yield f"{indent}key: {self._path(certificate.key)}"
        else:
            yield f"{indent}pfx: {self._path(certificate.file)}"
        if certificate.passphrase:
            yield f"{indent}passphrase:"
            yield f"{indent}  file: {self._path(certificate.passphrase)}"

    def _trust(self, indent: str) -> Iterator[str]:
        yield from self._files(f"{indent}anchors", self._inputs["root"])
        yield from self._files(f"{indent}issuing", self._inputs.get("issuing", ()))
        lists = self._inputs["crl"]
        yield from self._files(f"{indent}crls", [name for name in lists if not is_url(name)])
        if urls := [name for name in lists if is_url(name)]:
            yield f"{indent}fetch:"
            yield f"{indent}  urls: {_sequence(urls)}"
            yield f"{indent}  folder: {LISTS_FOLDER}"

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


def _scalar(text: str) -> str:
    """Return a string as a YAML value, in quotes if it needs them."""
    return yaml.safe_dump(text, allow_unicode=True, width=10_000).removesuffix("...\n").strip()


def _sequence(texts: Sequence[str]) -> str:
    return yaml.safe_dump(
        [*texts], allow_unicode=True, default_flow_style=True, width=10_000
    ).strip()
