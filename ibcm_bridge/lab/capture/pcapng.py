"""Writes recorded connections as a pcapng file (draft-ietf-opsawg-pcapng), for Wireshark.

The packets are made from the recorded bytes: IPv4 and TCP, with their checksums. The addresses are
those of documentation (RFC 5737), and the ports are the standard ones, so that the file looks like
a perimeter and not like loopback. TLS secrets go into a Decryption Secrets Block.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from ibcm_bridge.lab.capture.relay import Leg, Piece, Recorded

ADDRESSES = {
    Leg.CLIENT: (IPv4Address("203.0.113.10"), IPv4Address("198.51.100.20")),
    Leg.SITE_SYSTEM: (IPv4Address("192.0.2.20"), IPv4Address("192.0.2.30")),
}
"""The source and the destination of each leg; the bridge has two addresses."""

SEGMENT = 1_460
"""Bytes of data in a packet."""

_SECTION, _INTERFACE, _PACKET, _SECRETS = 0x0A0D0D0A, 1, 6, 10
_BYTE_ORDER = 0x1A2B3C4D
_RAW_IP = 101
"""LINKTYPE_RAW: a packet begins with its IP header."""
_TLS_KEY_LOG = 0x544C534B
_COMMENT, _NAME = 1, 2
"""Options: a comment of a packet, the name of an interface."""

_FIN, _SYN, _ACK, _PSH = 1, 2, 16, 8
_FIRST_PORT = 49_152


def capture(connections: Sequence[Recorded], secrets: str = "") -> bytes:
    """Return a file with these connections; with `secrets` (a key log), Wireshark decrypts them."""
    blocks = [_block(_SECTION, struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1))]
    for leg in Leg:
        name = _option(_NAME, str(leg)) + _END
        blocks.append(_block(_INTERFACE, struct.pack("<HHI", _RAW_IP, 0, 0) + name))
    if secrets:
        data = secrets.encode("ascii")
        blocks.append(_block(_SECRETS, struct.pack("<II", _TLS_KEY_LOG, len(data)) + _padded(data)))
    packets = [
        (time, list(Leg).index(connection.leg), packet, comment)
        for number, connection in enumerate(connections)
        for time, packet, comment in _packets(connection, _FIRST_PORT + number)
    ]
    # Legs overlap in time. A stable sort keeps the order within a connection.
    blocks += [_packet(*packet) for packet in sorted(packets, key=lambda packet: packet[0])]
    return b"".join(blocks)


@dataclass(frozen=True)
class _Way:
    """One direction of a connection."""

    source: IPv4Address
    destination: IPv4Address
    ports: tuple[int, int]


def _packets(connection: Recorded, port: int) -> Iterator[tuple[float, bytes, str]]:
    """Yield time, packet and comment: the TCP handshake, the data, and the ends."""
    client, server = ADDRESSES[connection.leg]
    there = port, 443 if connection.tls else 80
    ways = {True: _Way(client, server, there), False: _Way(server, client, there[::-1])}
    sent = {True: 0, False: 0}
    """The next sequence number, from the client or from the server."""

    def packet(from_client: bool, flags: int, data: bytes = b"") -> bytes:
        numbers = sent[from_client], sent[not from_client] if flags & _ACK else 0
        way = ways[from_client]
        # SYN and FIN count as a byte (RFC 9293 §3.4).
        sent[from_client] += len(data) + (flags & (_SYN | _FIN) > 0)
        return _ip(way, _tcp(way, numbers, flags, data))

    end = "; its end is not recorded" if connection.cut else ""
    yield connection.began, packet(True, _SYN), f"The connection {connection.leg}{end}"
    yield connection.began, packet(False, _SYN | _ACK), ""
    yield connection.began, packet(True, _ACK), ""
    for piece in connection.pieces:
        for flags, data in _segments(piece):
            yield piece.time, packet(piece.from_client, flags, data), ""


def _segments(piece: Piece) -> Iterator[tuple[int, bytes]]:
    if not piece.data:
        yield _FIN | _ACK, b""
    for begin in range(0, len(piece.data), SEGMENT):
        yield _PSH | _ACK, piece.data[begin : begin + SEGMENT]


def _tcp(way: _Way, numbers: tuple[int, int], flags: int, data: bytes) -> bytes:
    """RFC 9293 §3.1."""

    def header(checksum: int) -> bytes:
        return struct.pack(">HHIIBBHHH", *way.ports, *numbers, 5 << 4, flags, 65_535, checksum, 0)

    length = struct.pack(">BBH", 0, 6, 20 + len(data))
    pseudo = way.source.packed + way.destination.packed + length
    return header(_checksum(pseudo + header(0) + data)) + data


def _ip(way: _Way, content: bytes) -> bytes:
    """RFC 791 §3.1."""

    def header(checksum: int) -> bytes:
        size = 20 + len(content)
        start = struct.pack(">BBHHHBBH", 0x45, 0, size, 0, 0x4000, 64, 6, checksum)
        return start + way.source.packed + way.destination.packed

    return header(_checksum(header(0))) + content


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


_END = struct.pack("<HH", 0, 0)
"""The end of options."""


def _packet(time: float, interface: int, packet: bytes, comment: str) -> bytes:
    microseconds = int(time * 1_000_000)
    head = struct.pack(
        "<IIIII", interface, microseconds >> 32, microseconds & 0xFFFFFFFF, len(packet), len(packet)
    )
    options = _option(_COMMENT, comment) + _END if comment else b""
    return _block(_PACKET, head + _padded(packet) + options)


def _block(kind: int, body: bytes) -> bytes:
    size = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + size + body + size


def _option(code: int, text: str) -> bytes:
    data = text.encode()
    return struct.pack("<HH", code, len(data)) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
