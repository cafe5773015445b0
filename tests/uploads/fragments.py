"""Fragments of an upload, and the reactions of a spool to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.request.bits_packet import ContentRange, Packet, PacketType
from ibcm_bridge.storage.upload_table import UploadTable
from ibcm_bridge.uploads.acknowledgement import Acknowledgement
from ibcm_bridge.uploads.session import Sender, UploadPart

ME = Sender("a" * 64, "mp01.corp.example", "ccm_incoming/x.msg")
OTHER = replace(ME, key="b" * 64)
Open = Callable[..., UploadTable]
DATA = bytes(range(256)) * 2


def fragment(first: int, end: int, total: int = len(DATA), session: str = "{1}") -> Packet:
    return Packet(PacketType.FRAGMENT, session, ContentRange(first, end - 1, total))


CLOSE = Packet(PacketType.CLOSE_SESSION, "{1}")
CANCEL = Packet(PacketType.CANCEL_SESSION, "{1}")
PING = Packet(PacketType.PING, "{1}")


def took(
    spool: UploadTable, first: int, end: int, data: bytes = DATA, sender: Sender = ME
) -> UploadPart:
    part = spool.take(fragment(first, end, len(data)), sender, data[first:end])
    assert isinstance(part, UploadPart), part
    return part


def acknowledged(spool: UploadTable, part: UploadPart, received: int) -> Deny | None:
    return spool.acknowledge(part, Acknowledgement(True, "", received, False))


def refused(result: object) -> Deny:
    assert isinstance(result, Deny), result
    return result
