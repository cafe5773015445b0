"""A DNS resolver for the clients of one network, over UDP (RFC 1035).

Each network of split DNS has its own: it resolves the names of that network only. A host can have
an IPv4 or an IPv6 address. All other names get NXDOMAIN.
"""

from __future__ import annotations

import socketserver
import struct
from collections.abc import Mapping
from ipaddress import IPv4Address, ip_address

from mitmproxy.dns import DNSMessage, Question, ResourceRecord
from mitmproxy.net.dns import classes, op_codes, response_codes, types

from ibcm_bridge.lab.namespaces import HERE, Namespace
from ibcm_bridge.lab.site_systems.server_thread import ServerThread
from ibcm_bridge.os_errors import listening_at


class Resolver(ServerThread):
    """A context manager. `address` is its listen address; `records` maps names to addresses."""

    def __init__(self, records: Mapping[str, str], namespace: Namespace = HERE) -> None:
        with namespace.inside(), listening_at((namespace.address, 0)):
            self._server = _Server((namespace.address, 0), _Query)
        self._server.records = {name.lower(): to for name, to in records.items()}
        self.address: tuple[str, int] = (namespace.address, self._server.server_address[1])
        super().__init__(self._server)

    @property
    def queried(self) -> tuple[str, ...]:
        """The names in the received queries."""
        return tuple(self._server.queried)


class _Server(socketserver.ThreadingUDPServer):
    daemon_threads = True

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.records: Mapping[str, str] = {}
        self.queried: list[str] = []


class _Query(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        data, socket = self.request
        try:
            query = DNSMessage.unpack(data)
        except (struct.error, ValueError):
            return  # without an id there is nothing to respond to
        if query.query:
            socket.sendto(self._response(query).packed, self.client_address)

    def _response(self, query: DNSMessage) -> DNSMessage:
        if query.op_code != op_codes.QUERY:
            return query.fail(response_codes.NOTIMP)
        question = query.question
        if question is None:
            return query.fail(response_codes.FORMERR)
        if question.class_ != classes.IN:
            return query.fail(response_codes.REFUSED)
        self.server.queried.append(question.name.lower())
        address = self.server.records.get(question.name.lower())
        if address is None:
            return query.fail(response_codes.NXDOMAIN)
        return query.succeed(_records(question, address))


def _records(question: Question, address: str) -> list[ResourceRecord]:
    """Return the record of the requested type, if the host has one (RFC 2308 section 2.2)."""
    ip = ip_address(address)
    if isinstance(ip, IPv4Address):
        return [ResourceRecord.A(question.name, ip)] if question.type == types.A else []
    return [ResourceRecord.AAAA(question.name, ip)] if question.type == types.AAAA else []
