"""Site systems of a policy file: rows -> values."""

from __future__ import annotations

from collections.abc import Sequence

from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.site_systems import Order, SiteSystem, SiteSystems
from ibcm_bridge.policy.tls_settings import CipherSuites, TlsSettings, TlsVersion
from ibcm_bridge.policy_file import yaml_tree
from ibcm_bridge.policy_file.addresses import host_port, read_address
from ibcm_bridge.policy_file.reading import Reading
from ibcm_bridge.policy_file.rows.roles import (
    PlaintextRoleRow,
    PlaintextSiteSystemRow,
    RoleRow,
    SiteSystemRow,
)
from ibcm_bridge.policy_file.rows.trust import ClientsRow

_OF_ONE = ("connect", "verify_name", "highest_tls", "tls")
"""Keys of a role with one site system. In a list each item has its own."""


def read_site_systems(
    reading: Reading, where: yaml_tree.Place, row: RoleRow | PlaintextRoleRow
) -> SiteSystems:
    """Return the site systems of a role."""
    if isinstance(row.site_system, str):
        if "order" in row.model_fields_set:
            reading.report((*where, "order"), "order is for a list in site_system; remove it")
        return SiteSystems((_site_system(reading, where, row.site_system, row),))
    for key in _OF_ONE:
        if key in row.model_fields_set:
            text = "write it in each item of site_system, which is a list"
            reading.report((*where, key), text)
    found: dict[str, SiteSystem] = {}
    items: Sequence[SiteSystemRow | PlaintextSiteSystemRow] = row.site_system
    for index, item in enumerate(items):
        here = (*where, "site_system", index)
        read = _site_system(reading, here, item.site_system, item)
        if found.setdefault(read.name, read) is not read:
            text = f"{read.name} is already in the list; write each site system's own name here, "
            text += "and in verify_name the name in its certificate"
            reading.report((*here, "site_system"), text)
    order = Order(row.order) if isinstance(row, RoleRow) else Order.AS_LISTED
    return SiteSystems(tuple(found.values()), order)


def read_tunnel_addresses(
    reading: Reading, where: yaml_tree.Place, texts: str | Sequence[str]
) -> tuple[Address, ...]:
    """Return the addresses of a tunnel."""
    if isinstance(texts, str):
        return (read_address(reading, where, texts),)
    found: dict[Address, None] = {}
    for index, text in enumerate(texts):
        address = read_address(reading, (*where, index), text)
        if address in found:
            reading.report((*where, index), f"{text} is already in the list; remove it")
        found[address] = None
    return tuple(found)


def read_tls(row: ClientsRow | RoleRow | SiteSystemRow) -> TlsSettings:
    """Return the TLS settings of a leg."""
    return TlsSettings(TlsVersion(row.highest_tls), CipherSuites(row.tls))


def _site_system(
    reading: Reading,
    where: yaml_tree.Place,
    url: str,
    row: RoleRow | PlaintextRoleRow | SiteSystemRow | PlaintextSiteSystemRow,
) -> SiteSystem:
    authority = host_port(url)
    name = authority.rpartition(":")[0].strip("[]").lower()
    address = read_address(reading, (*where, "site_system"), authority)
    if row.connect:
        address = read_address(reading, (*where, "connect"), row.connect)
    if isinstance(row, PlaintextRoleRow | PlaintextSiteSystemRow):
        return SiteSystem(address, name, name)
    return SiteSystem(address, name, (row.verify_name or name).lower(), read_tls(row))
