"""Archives in uploads: extracted within limits, and refused if they are ambiguous."""

from __future__ import annotations

import functools
import gzip
import io
import lzma
import random
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterable
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule
from ibcm_bridge.inspection.archives import (
    MAX_ARCHIVE_DEPTH,
    MAX_MEMBERS,
    MAX_RATIO,
    RATIO_FROM,
)
from ibcm_bridge.inspection.engines import YaraEngine
from ibcm_bridge.inspection.scan import MAX_NAMED_VIEWS, read_and_scan
from ibcm_bridge.inspection.subject import CleanBody, Subject
from ibcm_bridge.inspection.uploaded_object import Uploaded, object_views
from ibcm_bridge.policy_file import shipped_roles

LIMIT = 10_000_000
RULE = shipped_roles().bodies["bits-upload"]
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


def packed(
    contents: Iterable[bytes], method: int = zipfile.ZIP_DEFLATED, comment: bytes = b""
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for number, content in enumerate(contents):
            # The default date, so that a test has the same name in each run.
            archive.writestr(zipfile.ZipInfo(f"{number}.log"), content, method)
        archive.comment = comment
    return buffer.getvalue()


gzipped = functools.partial(gzip.compress, mtime=0)


def noise(size: int) -> bytes:
    """Bytes that do not compress. Others could begin like a zlib stream, which is extracted."""
    return random.Random(0).randbytes(size)


def opened(data: bytes, limit: int = LIMIT) -> Uploaded:
    seen = object_views(data, limit, Rule("x"))
    assert isinstance(seen, Uploaded), seen
    return seen


def refused(data: bytes, limit: int = LIMIT) -> str:
    """The last part of the refusal's rule."""
    seen = object_views(data, limit, Rule("x"))
    assert isinstance(seen, Deny), seen
    assert seen.reason is Reason.ARCHIVE
    return seen.rule.removeprefix("x.archive.")


@pytest.fixture(scope="module")
def yara() -> YaraEngine:
    folder = files("ibcm_bridge.config.rules")
    return YaraEngine(
        [(path.name, path.read_text("utf-8")) for path in folder.iterdir() if ".yar" in path.name]
    )


def found(data: bytes, yara: YaraEngine) -> CleanBody | Deny:
    return read_and_scan(Subject(RULE, b"", data, whole=True), [yara])


# Extracted archives


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_each_member_of_a_zip_is_a_view(method: int) -> None:
    seen = opened(packed([b"one", b"two", b""], method))
    assert seen.views["member 1"] == b"one"
    assert seen.views["member 2"] == b"two"
    assert seen.opened == {"sent"}


def test_the_content_of_a_gzip_is_a_view() -> None:
    assert opened(gzipped(b"one")).views["member 1"] == b"one"


def test_the_content_of_a_gzip_with_a_name_is_a_view() -> None:
    buffer = io.BytesIO()
    with gzip.GzipFile("ccmexec.log", "wb", fileobj=buffer) as file:
        file.write(b"one")
    assert opened(buffer.getvalue()).views["member 1"] == b"one"


@pytest.mark.parametrize("level", [0, 9])
def test_a_gzip_that_contains_a_zip_is_read_as_gzip(level: int) -> None:
    assert opened(gzip.compress(packed([b"one"]), level, mtime=0)).views["member 1.1"] == b"one"


def test_an_archive_in_a_zlib_stream_is_extracted() -> None:
    seen = opened(zlib.compress(gzipped(b"one")))
    assert (seen.opened, seen.views["member 1"]) == ({"inflated"}, b"one")


def test_nested_archives_are_extracted() -> None:
    seen = opened(gzipped(packed([b"one", gzipped(b"two")])))
    assert seen.views["member 1.1"] == b"one"
    assert seen.views["member 1.2.1"] == b"two"
    assert seen.opened == {"sent", "member 1", "member 1.2"}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_a_utf_16_member_is_scanned_as_utf_8_too(encoding: str) -> None:
    seen = opened(packed(["a log".encode(encoding)]))
    assert seen.views["member 1 text"] == b"a log"


def test_a_zip_with_data_descriptors_is_extracted() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            piece = bytes(data)  # type: ignore[call-overload]
            self.data += piece
            return len(piece)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"one" * 100)
    assert opened(pipe.data).views["member 1"] == b"one" * 100
    # A size in the local header that the central one does not have: another parser may use it.
    assert refused(changed(pipe.data, 18, struct.pack("<LL", 3, 3))) == "zip"


# Malware in archives


@pytest.mark.parametrize(
    "pack",
    [
        lambda data: packed([b"x", data]),
        gzipped,
        lambda data: gzipped(packed([packed([data])])),
        lambda data: zlib.compress(packed([data])),
        lambda data: packed([data.decode().encode("utf-16-le")]),
        lambda data: packed([data.decode().encode("utf-16-be")]),
        lambda data: packed([data.decode().encode("utf-16")]),
        lambda data: packed([zlib.compress(data)]),
        lambda data: gzipped(zlib.compress(data)),
        lambda data: zlib.compress(zlib.compress(data)),
    ],
)
def test_malware_in_an_archive_is_found(pack: Callable[[bytes], bytes], yara: YaraEngine) -> None:
    denial = found(pack(EICAR), yara)
    assert isinstance(denial, Deny)
    assert denial.reason is Reason.MALICIOUS_CONTENT
    assert "eicar_test_file in member" in denial.detail
    assert isinstance(found(pack(b"harmless"), yara), CleanBody)


ZSTANDARD = b"\x28\xb5\x2f\xfd" + bytes(60)
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(60)
BEHIND_DATA = [b"Rar!\x1a\x07" + bytes(60), b"7z\xbc\xaf\x27\x1c", lzma.compress(b"one"), OLE]
STUB = b"MZ" + noise(10_000)


@pytest.mark.parametrize(
    "data",
    [
        *(b"MSCF" + bytes(60), ZSTANDARD, b"\x04\x22\x4d\x18" + bytes(60), *BEHIND_DATA),
        *(STUB + ZSTANDARD, STUB + b"\x04\x22\x4d\x18" + bytes(60)),
        *(before + archive for before in (STUB, noise(5_000)) for archive in BEHIND_DATA),
    ],
)
def test_archives_that_are_not_extracted_are_refused_by_the_rules(
    data: bytes, yara: YaraEngine
) -> None:
    for whole in (
        data,
        zlib.compress(data),
        packed([data]),
        gzipped(data),
        packed([packed([data])]),
    ):
        denial = found(whole, yara)
        assert isinstance(denial, Deny)
        assert denial.reason is Reason.MALICIOUS_CONTENT
        assert denial.detail.startswith(("archive in ", "ole_document in "))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_collected_files_are_allowed(method: int, yara: YaraEngine) -> None:
    # Logs, a rotated log in gzip, an old log in zip, and binary files that begin with MZ by chance.
    old = packed([b"an old log, made with 7z, Rar! and xz"], method)
    logs = [b"a log", gzipped(b"a rotated log"), old, noise(50_000), STUB, STUB + ZSTANDARD[:3]]
    for whole in (packed(logs, method), gzipped(packed(logs, method)), *logs):
        assert isinstance(found(whole, yara), CleanBody)


def test_the_audit_counts_the_members_of_a_large_archive(yara: YaraEngine) -> None:
    seen = found(packed([b"x"] * 100), yara)
    assert isinstance(seen, CleanBody)
    assert len(seen.views) == MAX_NAMED_VIEWS + 1
    more = 1 + 100 - MAX_NAMED_VIEWS
    assert seen.views[-1] == f"{more} more:{more}"


# Limits


@pytest.mark.parametrize("count", [MAX_MEMBERS, MAX_MEMBERS + 1])
def test_the_number_of_members_is_limited(count: int) -> None:
    data = packed([b""] * count, zipfile.ZIP_STORED)
    if count > MAX_MEMBERS:
        assert refused(data) == "members"
    else:
        assert len(opened(data).views) == count + 1


def test_entries_are_counted_before_they_are_parsed() -> None:
    # A few hundred KB that inflate to a directory of millions of entries.
    count = 50_000
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"a"
    size = count * len(entry)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, size, 0, 0)
    data = entry * count + end
    tracemalloc.start()
    try:
        assert refused(data) == "members"
        assert tracemalloc.get_traced_memory()[1] < len(data) // 2
    finally:
        tracemalloc.stop()


def test_members_are_counted_through_all_archives() -> None:
    half = packed([b""] * (MAX_MEMBERS // 2), zipfile.ZIP_STORED)
    assert refused(packed([half, half])) == "members"


@pytest.mark.parametrize("depth", [MAX_ARCHIVE_DEPTH, MAX_ARCHIVE_DEPTH + 1])
def test_the_depth_of_archives_is_limited(depth: int) -> None:
    data = b"x"
    for _ in range(depth):
        data = gzipped(data)
    if depth > MAX_ARCHIVE_DEPTH:
        assert refused(data) == "depth"
    else:
        assert b"x" in opened(data).views.values()


@pytest.mark.parametrize("limit", [2_999, 3_000])
@pytest.mark.parametrize(
    "pack",
    [
        packed,
        lambda parts: packed(parts, zipfile.ZIP_STORED),
        lambda parts: gzipped(b"".join(parts)),
    ],
)
def test_the_extracted_size_is_limited(pack: Callable[[list[bytes]], bytes], limit: int) -> None:
    data = pack([noise(1_000) for _ in range(3)])
    if limit < 3_000:
        assert refused(data, limit) == "unpacked"
    else:
        opened(data, limit)


def test_the_extracted_size_includes_inflated_bytes() -> None:
    inner = packed([noise(1_000)], zipfile.ZIP_STORED)
    data = zlib.compress(inner)
    opened(data, len(inner) + 1_000)
    assert refused(data, len(inner) + 999) == "unpacked"


@pytest.mark.parametrize("pack", [lambda data: packed([data]), gzipped])
def test_a_high_compression_ratio_is_refused(pack: Callable[[bytes], bytes]) -> None:
    assert refused(pack(bytes(RATIO_FROM * 2))) == "ratio"
    opened(pack(bytes(RATIO_FROM)))
    start = noise(RATIO_FROM * 2 // MAX_RATIO)
    opened(pack(start + bytes(RATIO_FROM * 2 - len(start))))


# Ambiguous archives


def changed(data: bytes, offset: int, new: bytes) -> bytes:
    return data[:offset] + new + data[offset + len(new) :]


ZIP = packed([b"one" * 50, b"two" * 50])
CENTRAL = ZIP.index(b"PK\x01\x02")
SECOND = ZIP.index(b"PK\x03\x04", 4)
END = ZIP.rindex(b"PK\x05\x06")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"x" + ZIP, "zip"),
        (b"MZ" + bytes(100) + ZIP, "zip"),
        (ZIP + b"x", "zip"),
        (packed([b"one"], comment=b"a comment"), "zip"),
        (ZIP[:-1], "zip"),
        (ZIP[:END], "zip"),
        (ZIP[:30], "zip"),
        (ZIP + ZIP, "zip"),
        (changed(ZIP, 6, struct.pack("<H", 1)), "encrypted"),
        (changed(ZIP, CENTRAL + 8, struct.pack("<H", 1)), "encrypted"),
        (changed(ZIP, CENTRAL + 8, struct.pack("<H", 0x40)), "encrypted"),
        (changed(ZIP, 8, struct.pack("<H", 0)), "zip"),
        (changed(changed(ZIP, 8, b"\x0c\0"), CENTRAL + 10, b"\x0c\0"), "method"),
        (changed(ZIP, 30, b"x"), "zip"),  # another name
        (changed(ZIP, 14, bytes(4)), "zip"),  # another CRC in the local head
        (changed(changed(ZIP, 14, bytes(4)), CENTRAL + 16, bytes(4)), "zip"),  # in both
        (changed(ZIP, CENTRAL + 20, struct.pack("<L", 1)), "zip"),
        (changed(ZIP, CENTRAL + 24, struct.pack("<L", 1)), "zip"),
        (changed(ZIP, CENTRAL + 42, struct.pack("<L", SECOND)), "zip"),
        (changed(ZIP, 0, b"XX"), "zip"),
        (changed(ZIP, END + 16, struct.pack("<L", CENTRAL - 1)), "zip"),
        (changed(ZIP, SECOND - 1, b"\xff"), "deflate"),
        (gzipped(b"one") + b"x", "deflate"),
        (gzipped(b"one") + packed([b"two"]), "deflate"),
        # A zip in the place of a comment: one parser starts at the beginning, another at the end.
        (changed(gzipped(b"one"), 3, b"\x04"), "gzip"),
        (changed(gzipped(b"one"), 3, b"\x10"), "gzip"),
        (changed(gzipped(b"one"), 3, b"\x02"), "gzip"),
        (b"\x1f\x8b\x08", "gzip"),
        (gzipped(b"one") + gzipped(b"two"), "deflate"),
        (gzipped(b"one")[:-1], "deflate"),
        (changed(gzipped(b"one"), -8 % len(gzipped(b"one")), b"\xff"), "deflate"),
        (b"\x1f\x8b\x08" + bytes(20), "deflate"),
        (b"PK\x03\x04", "zip"),
    ],
)
def test_an_ambiguous_archive_is_refused(data: bytes, what: str) -> None:
    assert refused(data) == what


def test_a_duplicate_name_is_refused() -> None:
    twice = ZIP.replace(b"1.log", b"0.log")
    assert refused(twice) == "zip"


def test_overlapping_entries_are_refused() -> None:
    # As in zip bombs whose headers all point to the same bytes.
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", b"x" * 100)
        archive.writestr("b", b"y" * 100)
    data = buffer.getvalue()
    second = data.rindex(b"PK\x01\x02")
    assert refused(changed(data, second + 42, bytes(4))) == "zip"


# Properties


@given(st.lists(st.binary(max_size=300), max_size=5), st.sampled_from((0, 8)))
def test_a_valid_archive_is_read_like_by_the_standard_library(
    contents: list[bytes], method: int
) -> None:
    seen = object_views(packed(contents, method), LIMIT, Rule("x"))
    if isinstance(seen, Deny):
        return  # a member that is a broken archive itself
    for number, content in enumerate(contents, 1):
        assert seen.views[f"member {number}"] == content


@given(st.integers(0, len(ZIP) - 1), st.binary(min_size=1, max_size=4))
def test_a_changed_zip_is_refused_or_read_like_by_another_parser(offset: int, new: bytes) -> None:
    data = changed(ZIP, offset, new)[: len(ZIP)]
    seen = object_views(data, LIMIT, Rule("x"))
    if isinstance(seen, Deny) or not seen.opened:
        return
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        read = sorted(archive.read(member) for member in archive.infolist())
    unpacked = [view for name, view in seen.views.items() if name.startswith("member")]
    assert sorted(unpacked) == read
