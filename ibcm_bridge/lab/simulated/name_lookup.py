"""Resolves a name with the DNS resolver of a network (RFC 1035, over UDP)."""

from __future__ import annotations

import secrets
import socket
import struct
from ipaddress import ip_address

from mitmproxy.dns import DNSMessage, Question
from mitmproxy.net.dns import classes, op_codes, response_codes, types

from ibcm_bridge.lab.namespaces import Namespace

SECONDS = 2.0
"""The time for a response; then the query is repeated once (RFC 1035 section 4.2.1)."""

_ATTEMPTS = 2
_MAX_MESSAGE = 512
"""Bytes of a message over UDP (RFC 1035 section 4.2.1)."""


class NoSuchName(Exception):
    """The name has no address in this network."""


def resolve(name: str, resolver: tuple[str, int], namespace: Namespace) -> str:
    """Return the IPv4 address of a name, or its IPv6 address. NoSuchName, or OSError."""
    for kind in (types.A, types.AAAA):
        response = _query(name, kind, resolver, namespace)
        if response.response_code != response_codes.NOERROR:
            code = response_codes.to_str(response.response_code)
            raise NoSuchName(f"{name} cannot be resolved in this network ({code})")
        for record in response.answers:
            if record.type == kind:
                return str(ip_address(record.data))
    raise NoSuchName(f"{name} has no address")


def _query(name: str, kind: int, resolver: tuple[str, int], namespace: Namespace) -> DNSMessage:
    query = DNSMessage(
        id=secrets.randbelow(1 << 16),
        query=True,
        op_code=op_codes.QUERY,
        authoritative_answer=False,
        truncation=False,
        recursion_desired=True,
        recursion_available=False,
        reserved=0,
        response_code=response_codes.NOERROR,
        questions=[Question(name, kind, classes.IN)],
        answers=[],
        authorities=[],
        additionals=[],
    )
    family = socket.AF_INET6 if ":" in resolver[0] else socket.AF_INET
    with namespace.inside():
        connection = socket.socket(family, socket.SOCK_DGRAM)
    with connection:
        connection.settimeout(SECONDS)
        connection.connect(resolver)
        for attempt in range(1, _ATTEMPTS + 1):
            connection.send(query.packed)
            try:
                return _response_to(query, connection)
            except TimeoutError:
                if attempt == _ATTEMPTS:
                    raise TimeoutError(f"the resolver sends no response for {name}") from None
    raise AssertionError("unreachable")


def _response_to(query: DNSMessage, connection: socket.socket) -> DNSMessage:
    """Receive the response with the id and question of the query; ignore all other messages."""
    while True:
        try:
            response = DNSMessage.unpack(connection.recv(_MAX_MESSAGE))
        except (struct.error, ValueError):
            continue
        same = (response.id, response.questions) == (query.id, query.questions)
        if same and not response.query:
            return response
