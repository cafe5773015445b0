"""Publications of a policy file: rows and role tables -> publications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ibcm_bridge.decisions import rules
from ibcm_bridge.policy.publications import (
    BridgePublication,
    PlaintextPublication,
    PublishedRole,
    TunnelPublication,
    UnlistedHeaders,
    UploadHosts,
)
from ibcm_bridge.policy.roles import CertificatePolicy, RoleTable
from ibcm_bridge.policy_file import yaml_tree
from ibcm_bridge.policy_file.certificates import read_credential
from ibcm_bridge.policy_file.reading import Reading
from ibcm_bridge.policy_file.role_additions import read_additions, read_profile
from ibcm_bridge.policy_file.rows.publications import BridgeRow, PlaintextRow, TunnelRow
from ibcm_bridge.policy_file.rows.roles import PlaintextRoleRow, RoleRow
from ibcm_bridge.policy_file.rows.settings import LimitsRow
from ibcm_bridge.policy_file.site_systems import (
    read_site_systems,
    read_tls,
    read_tunnel_addresses,
)
from ibcm_bridge.policy_file.trust import read_trust

Row = BridgeRow | TunnelRow | PlaintextRow


def read_tunnel(reading: Reading, where: yaml_tree.Place, row: TunnelRow) -> TunnelPublication:
    return TunnelPublication(
        name=row.name.lower(),
        public_port=_public_port(row),
        site_systems=read_tunnel_addresses(reading, (*where, "site_system"), row.site_system),
        roles=tuple(row.roles),
    )


def read_plaintext(
    reading: Reading,
    where: yaml_tree.Place,
    row: PlaintextRow,
    limits: LimitsRow,
    table: RoleTable,
) -> PlaintextPublication:
    roles = _roles(reading, where, row.roles, table)
    directories = _directories(reading, roles)
    return PlaintextPublication(
        name=row.name.lower(),
        public_port=_public_port(row),
        directories=directories,
        unlisted_headers=UnlistedHeaders(row.unlisted_headers),
        request_head=_request_head(roles, limits),
        because=row.because,
    )


def read_bridge(
    reading: Reading, where: yaml_tree.Place, row: BridgeRow, limits: LimitsRow, table: RoleTable
) -> BridgePublication | None:
    credential = read_credential(reading, (*where, "certificate"), row.certificate)
    legs = (*where, "site_systems")
    leg_credential = read_credential(reading, (*legs, "certificate"), row.site_systems.certificate)
    leg_trust = read_trust(
        reading, (*legs, "trust"), row.site_systems.trust, rules.SITE_SYSTEM_TRUST
    )
    clients = (*where, "clients")
    trust = (
        read_trust(reading, (*clients, "trust"), row.clients.trust, rules.CLIENTS_TRUST)
        if row.clients.trust
        else None
    )
    roles = _roles(reading, where, row.roles, table)
    directories = _directories(reading, roles)
    requested = _certificate_policy(reading, where, row, roles)
    if requested is CertificatePolicy.NONE and row.clients.trust:
        text = "no client certificates are requested (certificate: none); remove this key"
        reading.report((*clients, "trust"), text)
    if requested not in (None, CertificatePolicy.NONE) and not row.clients.trust:
        text = "this key is missing; write the CAs that issue client certificates"
        reading.report((*clients, "trust"), text)
    if not (credential and leg_credential and leg_trust and requested):
        return None
    return BridgePublication(
        name=row.name.lower(),
        public_port=_public_port(row),
        credential=credential,
        client_trust=trust,
        certificate_policy=requested,
        directories=directories,
        site_system_credential=leg_credential,
        site_system_trust=leg_trust,
        unlisted_headers=UnlistedHeaders(row.unlisted_headers),
        request_head=_request_head(roles, limits),
        upload_hosts=UploadHosts(row.upload_hosts),
        send_ca_names=row.clients.ca_names == "send",
        client_tls=read_tls(row.clients),
        clients_resume=row.clients.resumption == "allow",
        legs_resume=row.site_systems.resumption == "allow",
        observe_because=row.observe.because if row.observe is not None else None,
    )


_Roles = Sequence[tuple[yaml_tree.Place, PublishedRole]]


def _roles(
    reading: Reading,
    where: yaml_tree.Place,
    rows: Mapping[str, RoleRow] | Mapping[str, PlaintextRoleRow],
    table: RoleTable,
) -> _Roles:
    """Return the roles, each with its place."""
    found = []
    for name, row in rows.items():
        role_at = (*where, "roles", name)
        profile = read_profile(reading, role_at, row, table.roles[name], table)
        site_systems = read_site_systems(reading, role_at, row)
        found.append((role_at, PublishedRole(profile, site_systems, read_additions(row))))
    return found


def _directories(reading: Reading, roles: _Roles) -> Mapping[str, PublishedRole]:
    directories: dict[str, PublishedRole] = {}
    for role_at, role in roles:
        for directory in role.profile.directories:
            if directory in directories:
                other = directories[directory].profile.name
                reading.report(role_at, f"/{directory} is already a directory of {other}")
            directories[directory] = role
    return directories


def _certificate_policy(
    reading: Reading, where: yaml_tree.Place, row: BridgeRow, roles: _Roles
) -> CertificatePolicy | None:
    """Return the kind of client certificates, which all roles of a publication share."""
    if row.clients.certificate is None:
        defaults = {role.profile.name: role.profile.certificates[0] for _, role in roles}
        if len(set(defaults.values())) < 2:
            return next(iter(defaults.values()))
        named = ", ".join(f"{name} {policy.value}" for name, policy in defaults.items())
        others = [name for name, kind in defaults.items() if kind is not CertificatePolicy.COMPUTER]
        text = f"these roles require different client certificates: {named}"
        advice = f"publish {' and '.join(others)} under another name or port"
        reading.report((*where, "roles"), f"{text}; {advice}")
        return None
    requested = CertificatePolicy(row.clients.certificate)
    for role_at, role in roles:
        if requested not in role.profile.certificates:
            allowed = " or ".join(policy.value for policy in role.profile.certificates)
            text = f"this role does not support clients.certificate: {requested.value}; write "
            text += f"{allowed} there, or publish the role under another name or port"
            reading.report(role_at, text)
    return requested


def _request_head(roles: _Roles, limits: LimitsRow) -> int:
    return max(limits.request_head, *(role.profile.request_head for _, role in roles))


def _public_port(row: Row) -> int:
    return row.public_port or int(row.listen.rpartition(":")[2])
