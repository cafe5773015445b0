"""Renders what passed the wire as JSON for the page. It does no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from ibcm_bridge.lab.capture.recording import Wire
from ibcm_bridge.lab.capture.relay import Leg
from ibcm_bridge.lab.wire.part import Part, size_text
from ibcm_bridge.lab.wire.records import Record, read_records

COLUMNS = 8
"""Bytes in a line of a hexdump: it is beside the message, and fits on a phone."""

MAX_LINES = 4
"""Lines of a part that names nobody; the rest is cut off."""

MAX_RECORDS = 24
"""Encrypted records that are listed; the others are counted."""


def wire_view(wire: Wire) -> dict[str, Any]:
    """Return what a sniffer reads between the client and the perimeter."""
    records = [
        record
        for connection in wire.connections
        if connection.leg is Leg.CLIENT
        for record in read_records(connection)
    ]
    return {"facts": _facts(records), "records": list(_listed(records))}


_ENCRYPTED, _NOT_SENT = "encrypted", "not sent"


def _facts(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return what is readable without secrets, one line each."""
    names = _named(records)
    version = names.get("Extension supported_versions in ServerHello") or (
        "TLS 1.2" if any("ServerHello" in record.title for record in records) else ""
    )
    # TLS 1.3 encrypts the certificates, so that even their absence is not visible.
    hidden = _ENCRYPTED if version == "TLS 1.3" else _NOT_SENT
    encrypted = [record for record in records if record.encrypted]
    content = size_text(sum(record.size for record in encrypted))
    alerts = [record.title for record in records if record.title.startswith("Alert")]
    rows = {
        "Version": version,
        "Server name": names.get("Server name", ""),
        "Server certificate": names.get("Certificate of the server") or hidden,
        "Client certificate": names.get("Certificate of the client") or hidden,
        "Alert": ", ".join(alert.partition(": ")[2] for alert in alerts),
        "All else": f"{content}, encrypted" if encrypted else _NOT_SENT,
    }
    return [
        {"name": name, "value": value, "readable": _is_readable(name, value)}
        for name, value in rows.items()
        if value
    ]


def _is_readable(name: str, value: str) -> bool:
    return name != "All else" and value not in (_ENCRYPTED, _NOT_SENT)


def _named(records: Sequence[Record]) -> dict[str, str]:
    """Return the values that name the version, the client and the server."""
    found: dict[str, str] = {}
    for record in records:
        message = ""
        for part in record.parts:
            message = part.value.partition(",")[0] if part.name == "Handshake header" else message
            if part.name == "Name in the certificate" or part.value == "no certificate":
                found.setdefault(message, part.value)
            elif part.marked:
                found.setdefault(part.name, part.value)
            elif part.name == "Extension supported_versions":
                found.setdefault(f"{part.name} in {message}", part.value)
    return found


def _listed(records: Sequence[Record]) -> Iterator[dict[str, Any]]:
    """Yield the records; of long runs of encrypted ones only the number."""
    listed = 0
    for (encrypted, from_client), run in groupby(records, lambda r: (r.encrypted, r.from_client)):
        same = list(run)
        shown = same[: max(0, MAX_RECORDS - listed)] if encrypted else same
        listed += len(shown) if encrypted else 0
        yield from map(_record, shown)
        if more := same[len(shown) :]:
            size = size_text(sum(record.size for record in more))
            title = f"{len(more):,} more encrypted records"
            yield _summary(title, from_client, size, encrypted=True, parts=[])


def _record(record: Record) -> dict[str, Any]:
    offset, parts = 0, []
    for part in record.parts:
        parts.append(_part(part, offset))
        offset += len(part.data)
    size = size_text(record.size)
    return _summary(record.title, record.from_client, size, encrypted=record.encrypted, parts=parts)


def _summary(
    title: str, from_client: bool, size: str, *, encrypted: bool, parts: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "title": title,
        "from": "client" if from_client else "server",
        "size": size,
        "encrypted": encrypted,
        "parts": parts,
    }


def _part(part: Part, offset: int) -> dict[str, Any]:
    # A rest of one line is not worth a line that says so.
    whole = part.marked or len(part.data) <= COLUMNS * (MAX_LINES + 1)
    shown = part.data if whole else part.data[: COLUMNS * MAX_LINES]
    lines = [
        _line(shown[begin : begin + COLUMNS], offset + begin)
        for begin in range(0, len(shown), COLUMNS)
    ]
    left = len(part.data) - len(shown)
    return {
        "name": part.name,
        "value": part.value,
        "words": part.words,
        "marked": part.marked,
        "dump": "\n".join(lines),
        "more": size_text(left) if left > 0 else "",
    }


def _line(data: bytes, offset: int) -> str:
    """Return a line of a hexdump."""
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data)
    return f"{offset:04x}  {data.hex(' '):<{3 * COLUMNS}} {text}"
