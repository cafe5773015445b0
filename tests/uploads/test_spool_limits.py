"""The limits of a spool: sessions, bytes, time and disk space."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.request.bits_packet import Packet, PacketType
from ibcm_bridge.storage.upload_spool import Spool
from ibcm_bridge.storage.upload_table import SpoolLimits, UploadTable
from ibcm_bridge.uploads.session import UploadPart
from tests.uploads.fragments import CANCEL, CLOSE, DATA, ME, OTHER, Open, fragment, refused, took

from .conftest import FILE_ONLY, LIMITS, Clock


def test_the_number_of_sessions_is_limited(spool: UploadTable) -> None:
    for number in range(LIMITS.sessions):
        assert spool.begin(replace(ME, key=str(number)), f"{{{number}}}") is None
    create = Packet(PacketType.CREATE_SESSION)
    assert refused(spool.consider(create, OTHER)[1]).reason is Reason.OVERLOADED
    assert refused(spool.begin(OTHER, "{x}")).reason is Reason.OVERLOADED


def test_the_client_with_the_most_sessions_loses_its_oldest(
    spool: UploadTable, clock: Clock
) -> None:
    for key in ("a", "b", "c", "a"):
        clock.now += 1
        assert spool.begin(replace(ME, key=key), f"{{{clock.now}}}") is None
    assert spool.consider(Packet(PacketType.CREATE_SESSION), OTHER)[1] is None
    assert spool.begin(OTHER, "{x}") is None
    left = [
        spool.find(Packet(PacketType.CLOSE_SESSION, f"{{{number}}}"), ME) is not None
        for number in (1_001.0, 1_002.0, 1_003.0, 1_004.0)
    ]
    assert left == [False, True, True, True]
    assert refused(spool.begin(replace(ME, key="e"), "{y}")).reason is Reason.OVERLOADED


def test_the_client_with_the_most_bytes_loses_its_oldest_session(
    open_spool: Open, clock: Clock
) -> None:
    spool = open_spool(replace(LIMITS, max_total_bytes=900))
    for sender, session in ((ME, "{1}"), (ME, "{2}"), (OTHER, "{3}")):
        clock.now += 1
        spool.begin(sender, session)
        took = spool.take(fragment(0, 300, 500, session), sender, DATA[:300])
        assert isinstance(took, UploadPart)
    more = fragment(300, 500, 500, "{3}")
    assert isinstance(spool.take(more, OTHER, DATA[300:500]), UploadPart)
    left = [
        spool.find(Packet(PacketType.CLOSE_SESSION, session), ME) is not None
        for session in ("{1}", "{2}", "{3}")
    ]
    assert left == [False, True, True]
    again = refused(spool.take(fragment(300, 500, 500, "{2}"), ME, DATA[300:500]))
    assert (again.reason, again.rule) == (Reason.OVERLOADED, "uploads.max_total_bytes")


def test_a_further_session_deletes_the_clients_oldest(spool: UploadTable, clock: Clock) -> None:
    for number in range(LIMITS.per_client_sessions + 1):
        clock.now += 1
        assert spool.begin(ME, f"{{{number}}}") is None
    found = [
        spool.find(Packet(PacketType.CLOSE_SESSION, f"{{{number}}}"), ME) is not None
        for number in range(LIMITS.per_client_sessions + 1)
    ]
    assert found == [False, True, True]


def test_more_bytes_delete_the_clients_own_oldest_sessions(open_spool: Open, clock: Clock) -> None:
    """The sessions of other clients are not affected."""
    spool = open_spool(replace(LIMITS, per_client_sessions=4, per_client_bytes=1_000))
    for sender, session in ((OTHER, "{0}"), (ME, "{1}"), (ME, "{2}"), (ME, "{3}")):
        clock.now += 1
        spool.begin(sender, session)
        assert isinstance(
            spool.take(fragment(0, 400, 500, session), sender, DATA[:400]), UploadPart
        )
    there = [
        spool.find(Packet(PacketType.CLOSE_SESSION, f"{{{number}}}"), ME) is not None
        for number in range(4)
    ]
    assert there == [True, False, True, True]
    # Up to the limit nothing is deleted, and never the current session.
    more = fragment(400, 500, 500, "{3}")
    assert isinstance(spool.take(more, ME, DATA[400:500]), UploadPart)
    assert spool.find(Packet(PacketType.CLOSE_SESSION, "{2}"), ME) is not None
    assert spool.find(Packet(PacketType.CLOSE_SESSION, "{0}"), OTHER) is not None


def test_the_total_size_is_limited(open_spool: Open) -> None:
    spool = open_spool(replace(LIMITS, max_total_bytes=200))
    spool.begin(ME, "{1}")
    spool.begin(OTHER, "{2}")
    took(spool, 0, 100)
    packet = fragment(0, 100, 200, "{2}")
    assert isinstance(spool.take(packet, OTHER, DATA[:100]), UploadPart)
    more = fragment(100, 101, 200, "{2}")
    result = refused(spool.take(more, OTHER, DATA[100:101]))
    assert (result.reason, result.rule) == (Reason.OVERLOADED, "uploads.max_total_bytes")
    assert isinstance(spool.take(CANCEL, ME, b""), UploadPart)
    assert isinstance(spool.take(more, OTHER, DATA[100:101]), UploadPart)


def test_an_id_that_is_in_use_is_refused(begun: UploadTable) -> None:
    assert refused(begun.begin(OTHER, "{1}")).reason is Reason.SITE_SYSTEM_RESPONSE


def test_an_id_that_is_in_use_is_refused_in_another_case(spool: UploadTable) -> None:
    # To Windows both are the same GUID, so the same session. A packet's id is compared exactly.
    spool.begin(ME, "{A}")
    assert refused(spool.begin(OTHER, "{a}")).reason is Reason.SITE_SYSTEM_RESPONSE
    result = refused(spool.take(fragment(0, 10, session="{a}"), ME, DATA[:10]))
    assert result.reason is Reason.UPLOAD_SESSION


@pytest.mark.slow
def test_small_fragments_need_no_more_space_or_time_than_large_ones(open_spool: Open) -> None:
    spool = open_spool(replace(LIMITS, max_bytes=100_000, max_total_bytes=100_000))
    data = bytes(range(250)) * 40
    spool.begin(ME, "{1}")
    for first in range(5_000):
        spool.take(fragment(first, first + 1, 10_000), ME, data[first : first + 1])
    # The number of rows depends on the bytes, and a repeated fragment does not read all of them.
    schema = "" if isinstance(spool, Spool) else "ibcm_bridge."
    (pieces,) = spool._database.one(f"SELECT count(*) FROM {schema}fragments") or ()
    assert pieces <= 2
    part = took(spool, 3_000, 10_000, data)
    assert part.stored is not None
    assert spool.read(part.stored) == data
    assert refused(spool.take(fragment(4_095, 4_097, 10_000), ME, b"xx")).reason is (
        Reason.UPLOAD_CHANGED
    )


def test_an_abandoned_session_is_deleted(begun: UploadTable, clock: Clock) -> None:
    took(begun, 0, 100)
    clock.now += LIMITS.abandoned_after
    assert begun.sweep() == 0
    clock.now += 1
    assert begun.sweep() == 1
    assert refused(begun.take(CLOSE, ME, b"")).reason is Reason.UPLOAD_SESSION


def test_a_session_in_use_is_not_abandoned(begun: UploadTable, clock: Clock) -> None:
    took(begun, 0, 100)
    clock.now += 80
    took(begun, 100, 200)
    clock.now += 80
    assert begun.sweep() == 0


@FILE_ONLY
def test_the_disk_space_of_deleted_sessions_is_released(
    open_spool: Open, tmp_path: Path, clock: Clock
) -> None:
    spool = open_spool(SpoolLimits(10_000_000, 20_000_000, 4, 2, 20_000_000, 100.0))
    spool.begin(ME, "{1}")
    took(spool, 0, 5_000_000, bytes(5_000_000))
    clock.now += 101
    spool.sweep()
    spool.close()
    assert (tmp_path / "uploads.sqlite").stat().st_size < 200_000
