"""The policy file: YAML text -> `Policy`. The only room besides the command line that reads files.

Strict, and all problems at once, each with file, line and path: unknown and duplicate keys, values
of the wrong kind, files that cannot be read, keys that do not fit their certificates. Nothing is
listened on until a whole policy stands. Paths in the file are relative to the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ibcm_bridge import yaml_tree
from ibcm_bridge.policy import (
    Address,
    BridgePublication,
    Credential,
    Limits,
    Listener,
    Policy,
    Publication,
    PublishedRole,
    SiteSystem,
    Trust,
    TunnelPublication,
    UnlistedHeaders,
)
from ibcm_bridge.roles import RoleTable, read_role_table


class PolicyError(Exception):
    """A policy that cannot be used. `problems` are lines for people, in the order of the file."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


# The file's shape. Names are what an administrator of ConfigMgr would look for.

_HOST = r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
HostName = Annotated[str, StringConstraints(pattern=f"^{_HOST}$", max_length=253)]
HostPort = Annotated[
    str, StringConstraints(pattern=rf"^({_HOST}|\[[0-9A-Fa-f:.]+\]):[0-9]{{1,5}}$")
]
HttpsUrl = Annotated[str, StringConstraints(pattern=rf"^https://{_HOST}(:[0-9]{{1,5}})?/?$")]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class CertificateRow(_Row):
    """PEM files: the certificate followed by its intermediates, and its key without passphrase."""

    chain: str
    key: str


class TrustRow(_Row):
    """Files, PEM or DER: trust anchors, issuing authorities, and the revocation lists of all."""

    anchors: list[str] = Field(min_length=1)
    issuing: list[str] = []
    crls: list[str] = Field(min_length=1)


class ClientsRow(_Row):
    trust: TrustRow


class RoleRow(_Row):
    """Where a role's site system is. `connect` where it is not reached under its own name."""

    site_system: HttpsUrl
    connect: HostPort | None = None


class SiteSystemsRow(_Row):
    """What the bridge presents to its site systems, and how it knows them."""

    certificate: CertificateRow
    trust: TrustRow


class BridgeRow(_Row):
    name: HostName
    mode: Literal["bridge"]
    listen: HostPort
    certificate: CertificateRow
    clients: ClientsRow
    site_systems: SiteSystemsRow
    roles: dict[str, RoleRow] = Field(min_length=1)
    unlisted_headers: Literal["drop", "refuse"] = "drop"


class TunnelRow(_Row):
    name: HostName
    mode: Literal["tunnel"]
    listen: HostPort
    site_system: HostPort


class AuditRow(_Row):
    file: str


class LimitsRow(_Row):
    """Bytes and seconds. Precedents: nginx's defaults (client_header_timeout and
    client_body_timeout 60 s, keepalive_timeout 75 s), HTTP.sys's 120 s for idle connections;
    64 KB of head leave room for a Kerberos ticket (protocol.md §10), and a ClientHello with
    post-quantum key shares stays under 4 KB."""

    client_hello: int = Field(default=16_384, ge=1_024, le=65_536)
    request_head: int = Field(default=65_536, ge=4_096, le=1_048_576)
    handshake_seconds: float = Field(default=30.0, gt=0, le=600)
    head_seconds: float = Field(default=60.0, gt=0, le=600)
    body_seconds: float = Field(default=300.0, gt=0, le=3_600)
    idle_seconds: float = Field(default=120.0, gt=0, le=3_600)
    tunnel_idle_seconds: float = Field(default=600.0, gt=0, le=86_400)


class PolicyRow(_Row):
    version: Literal[1]
    audit: AuditRow | None = None
    rules: list[str] = []
    limits: LimitsRow = LimitsRow()
    publications: list[Annotated[BridgeRow | TunnelRow, Field(discriminator="mode")]] = Field(
        min_length=1
    )


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
        raise PolicyError([f"{path}: cannot be read: {_why(error)}"]) from error
    tree = yaml_tree.read_yaml(text)
    reading = _Reading(path, tree)
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


@dataclass(slots=True)
class _Reading:
    """One file being read: turns rows into values and collects what is wrong."""

    path: Path
    tree: yaml_tree.Tree

    def report(self, where: yaml_tree.Path, message: str) -> None:
        self.tree.problems.append(yaml_tree.Problem(self.tree.line(where), where, message))

    def sorted_problems(self) -> list[str]:
        ordered = sorted(dict.fromkeys(self.tree.problems), key=lambda problem: problem.line)
        return [
            f"{self.path}:{problem.line}: "
            + (f"{'.'.join(map(str, problem.path))}: " if problem.path else "")
            + problem.message
            for problem in ordered
        ]

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
        credential = self._credential((*where, "certificate"), row.certificate)
        clients = self._trust((*where, "clients", "trust"), row.clients.trust)
        legs = (*where, "site_systems")
        leg_credential = self._credential((*legs, "certificate"), row.site_systems.certificate)
        leg_trust = self._trust((*legs, "trust"), row.site_systems.trust)
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

    def _relative(self, name: str) -> Path:
        return self.path.parent / name

    def _audit_file(self, row: AuditRow | None) -> Path | None:
        if row is None:
            return None
        path = self._relative(row.file)
        if not path.parent.is_dir():
            self.report(("audit", "file"), f"there is no folder {path.parent}")
        return path

    def _read(self, where: yaml_tree.Path, name: str) -> bytes | None:
        try:
            return self._relative(name).read_bytes()
        except OSError as error:
            self.report(where, f"{self._relative(name)} cannot be read: {_why(error)}")
            return None

    def _rule_files(self, names: list[str]) -> list[Path]:
        for index, name in enumerate(names):
            data = self._read(("rules", index), name)
            try:
                (data or b"").decode("utf-8")
            except UnicodeDecodeError as error:
                self.report(("rules", index), f"{self._relative(name)}: {_why(error)}")
        return [self._relative(name) for name in names]

    def _credential(self, where: yaml_tree.Path, row: CertificateRow) -> Credential | None:
        chain, key = self._read((*where, "chain"), row.chain), self._read((*where, "key"), row.key)
        if chain is None or key is None:
            return None
        try:
            certificates = x509.load_pem_x509_certificates(chain)
            certified = certificates[0].public_key()
        except (ValueError, UnsupportedAlgorithm):
            self.report((*where, "chain"), f"{row.chain} has no PEM certificate that can be used")
            return None
        try:
            public = serialization.load_pem_private_key(key, None).public_key()
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # The library's message can quote the file; ours must not.
            self.report((*where, "key"), f"{row.key} is not a PEM private key without passphrase")
            return None
        if public != certified:
            self.report((*where, "key"), f"{row.key} is not the key of {row.chain}")
            return None
        return Credential(chain, key)

    def _trust(self, where: yaml_tree.Path, row: TrustRow) -> Trust | None:
        anchors = self._certificates((*where, "anchors"), row.anchors)
        issuing = self._certificates((*where, "issuing"), row.issuing)
        crls: list[x509.CertificateRevocationList] = []
        unread = False
        for index, name in enumerate(row.crls):
            data = self._read((*where, "crls", index), name)
            if data is None:
                unread = True
                continue
            try:
                crls += _revocation_lists(data)
            except ValueError:
                self.report((*where, "crls", index), f"{name} is not a revocation list")
                unread = True
        issuers = {crl.issuer for crl in crls}
        for certificate in () if unread else (*anchors, *issuing):
            # protocol.md §9.2: a list that cannot be had counts as revoked; better said now.
            if certificate.subject not in issuers:
                subject = certificate.subject.rfc4514_string()
                self.report((*where, "crls"), f"no revocation list of {subject}")
        return Trust(tuple(anchors), tuple(issuing), tuple(crls))

    def _certificates(self, where: yaml_tree.Path, names: list[str]) -> list[x509.Certificate]:
        found: list[x509.Certificate] = []
        for index, name in enumerate(names):
            data = self._read((*where, index), name)
            if data is None:
                continue
            try:
                found += _certificates(data)
            except ValueError:
                self.report((*where, index), f"{name} has no certificate")
        return found


_PEM_CRL = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)


def _revocation_lists(data: bytes) -> list[x509.CertificateRevocationList]:
    """All lists of a file: PEM, one or several, or DER, as Windows authorities publish them."""
    blocks = _PEM_CRL.findall(data)
    if not blocks:
        return [x509.load_der_x509_crl(data)]
    return [x509.load_pem_x509_crl(block) for block in blocks]


def _certificates(data: bytes) -> list[x509.Certificate]:
    if b"-----BEGIN" in data:
        return x509.load_pem_x509_certificates(data)
    return [x509.load_der_x509_certificate(data)]


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


def _why(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or "unknown" if isinstance(error, OSError) else "not UTF-8 text"
