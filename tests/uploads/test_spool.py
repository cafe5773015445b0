"""The sessions of an upload spool, and its behavior after a failure."""

from __future__ import annotations

import sqlite3
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.request.bits_packet import Packet, PacketType
from ibcm_bridge.storage.upload_spool import Spool, read_object
from ibcm_bridge.storage.upload_table import SpoolError, UploadTable
from ibcm_bridge.uploads.acknowledgement import Acknowledgement
from ibcm_bridge.uploads.session import StoredObject, UploadPart
from tests.uploads.fragments import (
    CANCEL,
    CLOSE,
    DATA,
    ME,
    OTHER,
    PING,
    Open,
    acknowledged,
    fragment,
    refused,
    took,
)

from .conftest import FILE_ONLY, LIMITS, Clock


def test_the_fragments_of_an_upload_are_combined(begun: UploadTable) -> None:
    for first in range(0, 400, 100):
        part = took(begun, first, first + 100)
        assert (part.whole, part.stored) == (False, None)
        assert acknowledged(begun, part, first + 100) is None
    last = took(begun, 400, 512)
    assert last.whole
    assert last.stored is not None
    assert begun.read(last.stored) == DATA
    assert acknowledged(begun, last, 512) is None
    close = begun.take(CLOSE, ME, b"")
    assert isinstance(close, UploadPart)
    assert begun.acknowledge(close, Acknowledgement(True, "", None, False)) is None
    assert refused(begun.take(CLOSE, ME, b"")).reason is Reason.UPLOAD_SESSION


def test_an_upload_of_one_fragment_is_inspected_without_the_spool(begun: UploadTable) -> None:
    part = took(begun, 0, 512)
    assert (part.whole, part.stored) == (True, None)


@pytest.mark.parametrize(
    "packet", [Packet(PacketType.PING), Packet(PacketType.PING, "{9}"), CANCEL, CLOSE]
)
def test_only_a_ping_needs_no_session(spool: UploadTable, packet: Packet) -> None:
    result = spool.take(packet, ME, b"")
    assert spool.consider(packet, ME)[1] == (result if isinstance(result, Deny) else None)
    if not packet.session:
        assert isinstance(result, UploadPart)
    else:
        assert refused(result).reason is Reason.UPLOAD_SESSION


@pytest.mark.parametrize("packet", [fragment(0, 10), CLOSE, CANCEL, PING])
def test_a_session_belongs_to_its_client(begun: UploadTable, packet: Packet) -> None:
    assert refused(begun.take(packet, OTHER, DATA[:10])).reason is Reason.UPLOAD_OF_ANOTHER
    session, refusal = begun.consider(packet, OTHER)
    assert session is None, "what another may not touch, it may not have cancelled either"
    assert refused(refusal).reason is Reason.UPLOAD_OF_ANOTHER
    # At another site system the session is unknown.
    elsewhere = replace(ME, site_system="mp02.corp.example")
    assert refused(begun.take(packet, elsewhere, DATA[:10])).reason is Reason.UPLOAD_SESSION
    took(begun, 0, 10)


def test_a_session_belongs_to_one_path(begun: UploadTable) -> None:
    elsewhere = replace(ME, path="ccm_incoming/y.msg")
    result = refused(begun.take(fragment(0, 10), elsewhere, DATA[:10]))
    assert (result.reason, result.rule) == (Reason.UPLOAD_CHANGED, "uploads.path")


def test_the_refusal_after_a_gap_has_the_offset_to_resume(begun: UploadTable) -> None:
    first = refused(begun.take(fragment(1, 10), ME, DATA[1:10]))
    assert (first.reason, first.received) == (Reason.UPLOAD_GAP, 0)
    part = took(begun, 0, 100)
    acknowledged(begun, part, 60)  # not all of it was taken
    later = refused(begun.take(fragment(101, 110), ME, DATA[101:110]))
    assert (later.reason, later.received) == (Reason.UPLOAD_GAP, 60)
    assert later.detail == "a fragment at byte 101, but only 100 bytes are stored"
    took(begun, 60, 110)
    took(begun, 110, 120)


@pytest.mark.parametrize(("first", "end"), [(0, 100), (0, 150), (50, 100), (50, 60), (99, 512)])
def test_repeated_bytes_change_nothing(begun: UploadTable, first: int, end: int) -> None:
    took(begun, 0, 100)
    took(begun, first, end)
    part = took(begun, max(100, end), 512) if end < 512 else took(begun, 100, 512)
    assert part.stored is not None
    assert begun.read(part.stored) == DATA


@pytest.mark.parametrize(("first", "end"), [(0, 100), (0, 150), (50, 100), (50, 60), (99, 512)])
def test_changed_bytes_are_refused(begun: UploadTable, first: int, end: int) -> None:
    took(begun, 0, 100)
    changed = bytearray(DATA[first:end])
    changed[0] ^= 1
    result = refused(begun.take(fragment(first, end), ME, bytes(changed)))
    assert (result.reason, result.rule) == (Reason.UPLOAD_CHANGED, "uploads.overlap")
    assert took(begun, 100, 200).session is not None


def test_changed_bytes_are_refused_even_without_an_acknowledgement(begun: UploadTable) -> None:
    # The site system may have the bytes: the acknowledgement may be lost.
    took(begun, 0, 100)
    assert refused(begun.take(fragment(0, 100), ME, bytes(100))).reason is Reason.UPLOAD_CHANGED


def test_the_size_cannot_change(begun: UploadTable) -> None:
    took(begun, 0, 100)
    result = refused(begun.take(fragment(100, 200, 200), ME, DATA[100:200]))
    assert (result.reason, result.rule) == (Reason.UPLOAD_CHANGED, "uploads.total")
    assert result.detail == "a total of 200 bytes, previously 512 bytes"


def test_a_fragment_of_a_too_large_object_is_refused_at_once(begun: UploadTable) -> None:
    assert begun.consider(fragment(0, 10, 1_000), ME)[1] is None
    session, refusal = begun.consider(fragment(0, 10, 1_001), ME)
    assert refused(refusal).reason is Reason.UPLOAD_TOO_LARGE
    assert refused(refusal).detail == "1001 bytes; the limit is 1000 bytes"
    assert session is not None, "so that it can be cancelled"


@pytest.mark.parametrize("received", [None, 0, 511])
def test_a_session_is_not_closed_before_all_bytes_are_acknowledged(
    begun: UploadTable, received: int | None
) -> None:
    part = took(begun, 0, 512)
    if received is not None:
        acknowledged(begun, part, received)
    assert refused(begun.take(CLOSE, ME, b"")).reason is Reason.UPLOAD_INCOMPLETE
    acknowledged(begun, part, 512)
    assert isinstance(begun.take(CLOSE, ME, b""), UploadPart)


def test_an_empty_session_is_not_closed(begun: UploadTable) -> None:
    assert refused(begun.take(CLOSE, ME, b"")).reason is Reason.UPLOAD_INCOMPLETE


def test_a_site_system_with_more_bytes_than_stored_ends_the_session(begun: UploadTable) -> None:
    part = took(begun, 0, 100)
    denial = refused(acknowledged(begun, part, 101))
    assert denial.reason is Reason.UPLOAD_SESSION
    assert denial.detail == (
        "the site system acknowledged 101 bytes, but only 100 bytes are stored"
    )
    assert acknowledged(begun, part, 100) is None


def test_a_cancelled_session_is_deleted_whatever_the_response(begun: UploadTable) -> None:
    took(begun, 0, 100)
    assert isinstance(begun.take(CANCEL, ME, b""), UploadPart)
    assert refused(begun.take(fragment(100, 200), ME, DATA[100:200])).reason is (
        Reason.UPLOAD_SESSION
    )


def test_a_session_that_the_site_system_lost_is_deleted(begun: UploadTable) -> None:
    part = took(begun, 0, 100)
    assert begun.acknowledge(part, Acknowledgement(False, "", None, True)) is None
    assert refused(begun.take(CLOSE, ME, b"")).reason is Reason.UPLOAD_SESSION


def test_a_session_that_could_not_be_closed_can_be_closed_later(begun: UploadTable) -> None:
    acknowledged(begun, took(begun, 0, 512), 512)
    close = begun.take(CLOSE, ME, b"")
    assert isinstance(close, UploadPart)
    begun.acknowledge(close, Acknowledgement(False, "", None, False))
    assert isinstance(begun.take(CLOSE, ME, b""), UploadPart)


# Failures


def test_a_session_continues_after_a_restart(open_spool: Open) -> None:
    before = open_spool()
    before.begin(ME, "{1}")
    acknowledged(before, took(before, 0, 100), 100)
    before.close()
    after = open_spool()
    took(after, 100, 200)
    assert refused(after.take(fragment(100, 200), ME, bytes(100))).reason is Reason.UPLOAD_CHANGED


def test_several_processes_share_a_spool(open_spool: Open) -> None:
    one, other = open_spool(), open_spool()
    one.begin(ME, "{1}")
    took(one, 0, 100)
    took(other, 100, 200)
    took(one, 200, 300)
    assert refused(other.take(fragment(0, 100), ME, bytes(100))).reason is Reason.UPLOAD_CHANGED


@FILE_ONLY
def test_a_full_disk_loses_nothing(begun: UploadTable) -> None:
    took(begun, 0, 100)
    begun._database.one("PRAGMA max_page_count = 1")
    big = replace(LIMITS, max_bytes=10_000_000, max_total_bytes=10_000_000)
    begun._limits = big
    with pytest.raises(SpoolError, match="the disk is full"):
        begun.take(fragment(100, 512), ME, bytes(400_000))
    begun._database.one("PRAGMA max_page_count = 1073741823")
    assert took(begun, 100, 512).stored is not None


@FILE_ONLY
def test_an_incomplete_object_is_not_inspected(begun: UploadTable, tmp_path: Path) -> None:
    part = took(begun, 0, 100)
    assert part.session is not None
    path = str(tmp_path / "uploads.sqlite")
    with pytest.raises(SpoolError, match="is incomplete"):
        read_object(StoredObject(path, part.session.name, 101))
    with pytest.raises(SpoolError, match="cannot be read"):
        read_object(StoredObject(str(tmp_path / "none.sqlite"), "x", 1))


@FILE_ONLY
def test_forwarded_bytes_survive_a_power_failure(begun: UploadTable) -> None:
    # SQLite's FULL: if a power failure lost bytes that the site system has, it would create a
    # file from other bytes than the inspected ones.
    assert begun._database.one("PRAGMA synchronous") == (2,)


@FILE_ONLY
def test_space_that_cannot_be_released_yet_is_not_an_error(
    begun: UploadTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledged(begun, took(begun, 0, 512), 512)
    close = begun.take(CLOSE, ME, b"")
    assert isinstance(close, UploadPart)

    def locked(*_: object) -> None:
        raise SpoolError("locked")

    monkeypatch.setattr(begun._database, "all", locked)
    # The site system has created its file; after an error the client would send it again.
    assert begun.acknowledge(close, Acknowledgement(True, "", None, False)) is None
    assert refused(begun.take(CLOSE, ME, b"")).reason is Reason.UPLOAD_SESSION


def test_a_late_response_does_not_end_a_session(begun: UploadTable) -> None:
    part = took(begun, 0, 100)
    took(begun, 100, 200)  # on another connection, and it was there first
    assert acknowledged(begun, part, 200) is None
    assert refused(acknowledged(begun, part, 201)).reason is Reason.UPLOAD_SESSION


@FILE_ONLY
def test_only_the_owner_can_read_the_file(begun: UploadTable, tmp_path: Path) -> None:
    took(begun, 0, 100)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_another_database_is_refused(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "other.sqlite"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE x (y)")
    database.close()
    with pytest.raises(SpoolError, match="is a database of another application"):
        Spool(path, LIMITS, clock)
