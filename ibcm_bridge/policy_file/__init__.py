"""The policy file: YAML text -> `Policy`. The only room besides the command line that reads files.

Strict, and all problems at once, each with file, line and path: unknown and duplicate keys, values
of the wrong kind, files that cannot be read, keys that do not fit their certificates. Nothing is
listened on until a whole policy stands. Paths in the file are relative to the file.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from ibcm_bridge import yaml_tree
from ibcm_bridge.policy import (
    Address,
    BridgePublication,
    Limits,
    Listener,
    Policy,
    Publication,
    PublishedRole,
    SiteSystem,
    TunnelPublication,
    UnlistedHeaders,
)
from ibcm_bridge.policy_file.certificates import read_credential, read_trust
from ibcm_bridge.policy_file.reading import PolicyError, Reading, why
from ibcm_bridge.policy_file.rows import AuditRow, BridgeRow, LimitsRow, PolicyRow, RoleRow
from ibcm_bridge.roles import RoleTable, read_role_table

__all__ = ["LimitsRow", "PolicyError", "load_policy", "shipped_roles"]


def shipped_roles() -> RoleTable:
    """The role tables of `config/roles.yaml`."""
    text = files("ibcm_bridge.config").joinpath("roles.yaml").read_text("utf-8")
    tree = yaml_tree.read_yaml(text)
    if tree.problems or not isinstance(tree.value, dict):
        raise ValueError(f"config/roles.yaml: {tree.problems}")
    return read_role_table(tree.value)


def load_policy(path: Path) -> Policy:
    """Read and check a policy file. Raises PolicyError with every problem found."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError([f"{path}: cannot be read: {why(error)}"]) from error
    tree = yaml_tree.read_yaml(text)
    reading = _Assembly(path, tree)
    if tree.value is None and tree.problems:
        raise PolicyError(reading.sorted_problems())
    try:
        row = PolicyRow.model_validate(tree.value)
    except ValidationError as error:
        known = {problem.path for problem in tree.problems}
        for item in error.errors(include_url=False):
            if (where := _without_tags(item["loc"])) not in known:
                reading.report(where, _plain(item["type"], item["msg"], where))
        raise PolicyError(reading.sorted_problems()) from error
    policy = reading.policy(row, shipped_roles())
    if tree.problems:
        raise PolicyError(reading.sorted_problems())
    return policy


class _Assembly(Reading):
    """Turns the rows of one file into values."""

    def policy(self, row: PolicyRow, table: RoleTable) -> Policy:
        by_address: dict[Address, dict[str, Publication]] = {}
        for index, publication in enumerate(row.publications):
            where = ("publications", index)
            name = publication.name.lower()
            published = by_address.setdefault(
                self._address((*where, "listen"), publication.listen), {}
            )
            if name in published:
                self.report((*where, "name"), f"{name} is published twice on {publication.listen}")
            value = (
                self._bridge(where, publication, table)
                if isinstance(publication, BridgeRow)
                else TunnelPublication(
                    name, self._address((*where, "site_system"), publication.site_system)
                )
            )
            if value is not None:
                published[name] = value
        return Policy(
            listeners=tuple(Listener(address, names) for address, names in by_address.items()),
            bypass_directories=table.bypass_directories,
            audit_file=self._audit_file(row.audit),
            rule_files=tuple(self._rule_files(row.rules)),
            limits=Limits(**row.limits.model_dump()),
        )

    def _bridge(
        self, where: yaml_tree.Path, row: BridgeRow, table: RoleTable
    ) -> BridgePublication | None:
        credential = read_credential(self, (*where, "certificate"), row.certificate)
        clients = read_trust(self, (*where, "clients", "trust"), row.clients.trust)
        legs = (*where, "site_systems")
        leg_credential = read_credential(self, (*legs, "certificate"), row.site_systems.certificate)
        leg_trust = read_trust(self, (*legs, "trust"), row.site_systems.trust)
        directories: dict[str, PublishedRole] = {}
        policies = set()
        for role_name, role in row.roles.items():
            role_at = (*where, "roles", role_name)
            profile = table.roles.get(role_name)
            if profile is None:
                known = ", ".join(table.roles)
                self.report(role_at, f"not a role that can be bridged; those are: {known}")
                continue
            site_system = self._site_system(role_at, role)
            policies.add(profile.certificate)
            for directory in profile.directories:
                if directory in directories:
                    other = directories[directory].profile.name
                    self.report(role_at, f"/{directory} is already a directory of {other}")
                directories[directory] = PublishedRole(profile, site_system)
        if len(policies) > 1:
            self.report((*where, "roles"), "these roles need different client certificates")
        if not (credential and clients and leg_credential and leg_trust) or len(policies) != 1:
            return None
        return BridgePublication(
            name=row.name.lower(),
            credential=credential,
            client_trust=clients,
            certificate_policy=policies.pop(),
            directories=directories,
            site_system_credential=leg_credential,
            site_system_trust=leg_trust,
            unlisted_headers=UnlistedHeaders(row.unlisted_headers),
        )

    def _site_system(self, where: yaml_tree.Path, row: RoleRow) -> SiteSystem:
        name, _, port = row.site_system.removeprefix("https://").rstrip("/").partition(":")
        address = row.connect or f"{name}:{port or 443}"
        return SiteSystem(self._address((*where, "connect"), address), name.lower())

    def _address(self, where: yaml_tree.Path, text: str) -> Address:
        host, _, port = text.rpartition(":")
        if int(port) > 65_535:
            self.report(where, f"{port} is not a port")
        return host.strip("[]"), int(port)

    def _audit_file(self, row: AuditRow | None) -> Path | None:
        if row is None:
            return None
        path = self.relative(row.file)
        if not path.parent.is_dir():
            self.report(("audit", "file"), f"there is no folder {path.parent}")
        return path

    def _rule_files(self, names: list[str]) -> list[Path]:
        for index, name in enumerate(names):
            data = self.read(("rules", index), name)
            try:
                (data or b"").decode("utf-8")
            except UnicodeDecodeError as error:
                self.report(("rules", index), f"{self.relative(name)}: {why(error)}")
        return [self.relative(name) for name in names]


def _without_tags(location: tuple[str | int, ...]) -> yaml_tree.Path:
    # pydantic puts the discriminator's value into the path of a union; the file has no such key.
    if len(location) > 2 and location[0] == "publications":
        return (*location[:2], *location[3:])
    return location


_SHAPES = {
    "name": "a host name, such as bridge.internet.example",
    "roles.site_system": "https://name or https://name:port and no path; "
    "bridging HTTPS to HTTP is not supported (BRIDGE-HTTPS-ONLY)",
}
_PLAIN = {
    "extra_forbidden": "no such key here",
    "missing": "this key is missing",
    "union_tag_not_found": "mode is missing: bridge or tunnel",
    "union_tag_invalid": "mode is bridge or tunnel",
    "model_type": "keys and values are wanted here; is it empty?",
    "model_attributes_type": "keys and values are wanted here; is it empty?",
    "dict_type": "keys and values are wanted here; is it empty?",
    "list_type": "a list is wanted here: [one, two]",
    "too_short": "this must not be empty",
}


def _plain(kind: str, message: str, where: yaml_tree.Path) -> str:
    if kind == "string_pattern_mismatch":
        # "roles" stands in the path of a bridged role's site system only.
        key = f"{'roles.' if 'roles' in where else ''}{where[-1]}"
        return _SHAPES.get(key, "an address and a port number, such as 0.0.0.0:443, and no more")
    if where == ("version",) and kind == "literal_error":
        return "this is version 1: write version: 1, without quotes"
    return _PLAIN.get(kind, message[:1].lower() + message[1:])
