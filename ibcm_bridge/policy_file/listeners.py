"""Listeners of a policy file: publications grouped by address."""

from __future__ import annotations

from collections.abc import Mapping

from ibcm_bridge.policy.addresses import Address, Network
from ibcm_bridge.policy.publications import (
    Listener,
    PlaintextListener,
    PlaintextPublication,
    Publication,
)
from ibcm_bridge.policy.roles import RoleTable
from ibcm_bridge.policy_file import yaml_tree
from ibcm_bridge.policy_file.addresses import read_address, read_networks
from ibcm_bridge.policy_file.publications import (
    Row,
    read_bridge,
    read_plaintext,
    read_tunnel,
)
from ibcm_bridge.policy_file.reading import Reading
from ibcm_bridge.policy_file.rows.listeners import ListenerRow
from ibcm_bridge.policy_file.rows.publications import BridgeRow, PlaintextRow, TunnelRow
from ibcm_bridge.policy_file.rows.settings import LimitsRow


def read_listeners(
    reading: Reading,
    rows: Mapping[int, Row],
    settings: Mapping[str, ListenerRow],
    limits: LimitsRow,
    table: RoleTable,
) -> tuple[Listener | PlaintextListener, ...]:
    """Return all listeners with their publications. `rows` are by index in the file, `settings` by
    address.

    Problems are reported to `reading`.
    """
    by_address: dict[Address, _UnfinishedListener] = {}
    for index, row in rows.items():
        where = ("publications", index)
        address = read_address(reading, (*where, "listen"), row.listen, listening=True)
        unfinished = by_address.setdefault(address, _UnfinishedListener(address))
        unfinished.add_name(reading, where, row)
        if isinstance(row, PlaintextRow):
            unfinished.plaintext_rows.append(where)
            unfinished.plaintext = read_plaintext(reading, where, row, limits, table)
            continue
        unfinished.tls_rows.append(where)
        unfinished.add_without_sni(reading, where, row)
        published = (
            read_bridge(reading, where, row, limits, table)
            if isinstance(row, BridgeRow)
            else read_tunnel(reading, where, row)
        )
        if published is not None:
            unfinished.publications[published.name] = published
    _read_settings(reading, settings, by_address)
    return tuple(unfinished.listener(reading) for unfinished in by_address.values())


def _read_settings(
    reading: Reading,
    settings: Mapping[str, ListenerRow],
    by_address: Mapping[Address, _UnfinishedListener],
) -> None:
    whole = not any(place[:1] == ("publications",) for place in reading.left_out)
    for text, row in settings.items():
        where = ("listeners", text)
        unfinished = by_address.get(read_address(reading, where, text, listening=True))
        if unfinished is None and whole:
            reading.report(where, f"no publication has listen: {text}; write the same address")
        if unfinished is not None and row.proxy_protocol is not None:
            place = (*where, "proxy_protocol", "from")
            unfinished.balancers = read_networks(reading, place, row.proxy_protocol.from_)


class _UnfinishedListener:
    """One address, while its publications are being read."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.names: set[str] = set()
        self.publications: dict[str, Publication] = {}
        self.without_sni: str | None = None
        self.balancers: tuple[Network, ...] = ()
        self.plaintext: PlaintextPublication | None = None
        self.plaintext_rows: list[yaml_tree.Place] = []
        self.tls_rows: list[yaml_tree.Place] = []

    def add_name(self, reading: Reading, where: yaml_tree.Place, row: Row) -> None:
        """Add the name of a publication. It must be unique, because it selects the publication."""
        name = row.name.lower()
        if name in self.names:
            reading.report(
                (*where, "name"),
                f"{name} is published twice on {row.listen}; change the name or the port",
            )
        self.names.add(name)

    def add_without_sni(
        self, reading: Reading, where: yaml_tree.Place, row: BridgeRow | TunnelRow
    ) -> None:
        """Add the publication for clients without SNI. There can be only one."""
        if not row.without_sni:
            return
        if self.without_sni is not None:
            text = f"clients without SNI already get {self.without_sni}; remove one without_sni"
            reading.report((*where, "without_sni"), text)
        self.without_sni = row.name.lower()

    def listener(self, reading: Reading) -> Listener | PlaintextListener:
        """Return the listener. Without TLS there is no SNI, so it can have one publication only."""
        for where in self.plaintext_rows:
            if self.tls_rows:
                text = "plaintext and TLS cannot share a port (BRIDGE-HTTPS-ONLY); use another port"
                reading.report((*where, "listen"), text)
        for where in self.plaintext_rows[1:]:
            text = "a port can have only one plaintext publication; use another port"
            reading.report((*where, "listen"), text)
        if self.plaintext:
            return PlaintextListener(self.address, self.plaintext, self.balancers)
        return Listener(self.address, self.publications, self.without_sni, self.balancers)
