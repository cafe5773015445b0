"""Archives in what is uploaded: opened, so that what is in them is looked at.

ConfigMgr's clients can be told to send files, packed. Zip and gzip are opened, under limits; of two
ways to read an archive there must be none, so what other readers would read otherwise is refused.
Cabinets and others are left to the rules, which refuse them: no library reads cabinets within
bounds (cabarchive unpacks as many folders of the same blocks as a file names).
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason, Refused

MAX_ARCHIVE_DEPTH = 4
"""Archives within each other. ClamAV goes 17 deep by default (MaxRecursion); logs that are packed,
and packed again to be sent, are two."""

MAX_MEMBERS = 1_000
"""In all archives of one object. ClamAV stops at 10,000 (MaxFiles); a client has some 200 logs."""

MAX_RATIO = 100
"""Times as large as it is packed: Apache POI's limit (ZipSecureFile, MIN_INFLATE_RATIO)."""

RATIO_FROM = 102_400
"""Bytes unpacked below which the ratio does not matter (the same, GRACE_ENTRY_SIZE)."""

_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_ENTRY = b"PK\x01\x02"
"""What each entry of a directory begins with (APPNOTE 4.3.12)."""
_GZIP = b"\x1f\x8b\x08"
_WITH_NAME = b"\x08"
"""RFC 1952 2.3.1, FLG: a file name, up to a NUL. Other fields may hold what they like."""
_END_BYTES = 22
_LOCAL = struct.Struct("<4s5H3L2H")
"""APPNOTE 4.3.7: signature, version, flags, method, time, date, CRC, sizes, lengths."""
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_DESCRIPTOR = 0x8
_DESCRIPTORS = (0, 12, 16, 20, 24)
"""Bytes of a data descriptor: none, or with and without signature and ZIP64 (APPNOTE 4.3.9)."""


@dataclass(slots=True)
class Allowance:
    """What may still come out of the archives of one object."""

    where: str
    """What a refusal's rule begins with."""
    left: int
    """Bytes."""
    members: int = 0

    def refused(self, rule: rules.RuleOf, detail: str) -> Refused:
        """The refusal, to be raised."""
        return Refused(Deny(Reason.ARCHIVE, rule.of(self.where), detail))

    def count(self) -> None:
        """One member more."""
        self.expect(1)
        self.members += 1

    def expect(self, members: int) -> None:
        """See to it that there may be so many more."""
        if self.members + members > MAX_MEMBERS:
            raise self.refused(rules.ARCHIVE_MEMBERS, f"more than {MAX_MEMBERS} members")

    def take(self, unpacked: int, packed: int) -> None:
        """So many bytes more, of so many."""
        self.left -= unpacked
        if self.left < 0:
            raise self.refused(rules.ARCHIVE_UNPACKED, "more than the limit when it is unpacked")
        if unpacked > RATIO_FROM and unpacked > MAX_RATIO * packed:
            raise self.refused(
                rules.ARCHIVE_RATIO, f"more than {MAX_RATIO} times as large as it is packed"
            )


def is_archive(data: bytes) -> bool:
    """Whether `members` opens it."""
    # A reader of zip goes by its end, so whatever may stand before is no way round this.
    return data.startswith((_ZIP, _EMPTY_ZIP, _GZIP)) or _has_end(data)


def is_zlib(data: bytes) -> bool:
    """Whether a reader of RFC 1950 would take it for a stream: its header, and how it begins."""
    if len(data) < 2 or data[0] & 0x8F != 0x08 or int.from_bytes(data[:2]) % 31:
        return False
    try:
        zlib.decompressobj().decompress(data[:256], 1)
    except zlib.error:
        return False
    return True


def members(data: bytes, allowance: Allowance) -> Iterator[bytes]:
    """What is in an archive or a zlib stream, one member after another. Raises Refused."""
    if data.startswith(_GZIP):
        if data[3:4] not in (b"\0", _WITH_NAME):
            # What is no content could be a zip, for a reader that goes by the end.
            raise allowance.refused(rules.ARCHIVE_GZIP, "a head with room for anything")
        allowance.count()
        yield _inflated(data, 31, allowance)
    elif is_zlib(data):
        allowance.count()
        yield _inflated(data, 15, allowance)
    else:
        yield from _zip_members(data, allowance)


def _has_end(data: bytes) -> bool:
    # With a comment of up to 64 KB behind it (APPNOTE 4.3.16).
    return data.rfind(_EMPTY_ZIP, max(0, len(data) - 65_535 - _END_BYTES)) >= 0


def _zip_members(data: bytes, allowance: Allowance) -> Iterator[bytes]:
    if data[-_END_BYTES:-18] != _EMPTY_ZIP:
        raise allowance.refused(
            rules.ARCHIVE_ZIP, "something before its beginning or behind its end"
        )
    # Else the library would make an object of each of a million, before they are counted.
    allowance.expect(data.count(_ENTRY))
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, IndexError) as error:
        raise allowance.refused(rules.ARCHIVE_ZIP, "not a zip archive") from error
    if len({entry.filename for entry in entries}) != len(entries):
        raise allowance.refused(rules.ARCHIVE_ZIP, "a name twice")
    end = 0
    limits = [*(entry.header_offset for entry in entries[1:]), archive.start_dir]
    for entry, limit in zip(entries, limits, strict=False):
        if entry.header_offset != end:
            raise allowance.refused(rules.ARCHIVE_ZIP, "something that no entry covers")
        allowance.count()
        yield _member(data, entry, limit, allowance)
        end = limit
    if end != archive.start_dir:
        raise allowance.refused(rules.ARCHIVE_ZIP, "something that no entry covers")


def _member(data: bytes, entry: zipfile.ZipInfo, limit: int, allowance: Allowance) -> bytes:
    begin = entry.header_offset
    if begin + _LOCAL.size > limit:
        raise allowance.refused(rules.ARCHIVE_ZIP, "entries that overlap")
    signature, _, flags, method, _, _, crc, packed, unpacked, name, extra = _LOCAL.unpack_from(
        data, begin
    )
    if signature != _ZIP:
        raise allowance.refused(rules.ARCHIVE_ZIP, "an entry that is not where it should be")
    if (flags | entry.flag_bits) & _ENCRYPTED:
        raise allowance.refused(rules.ARCHIVE_ENCRYPTED, "an encrypted member")
    first = begin + _LOCAL.size + name
    stored = data[begin + _LOCAL.size : first]
    if (method, flags) != (entry.compress_type, entry.flag_bits) or stored != _name(entry):
        raise allowance.refused(rules.ARCHIVE_ZIP, "an entry whose two heads disagree")
    first += extra
    behind = limit - first - entry.compress_size
    described = bool(flags & _DESCRIPTOR)
    if behind not in (_DESCRIPTORS[1:] if described else _DESCRIPTORS[:1]):
        raise allowance.refused(rules.ARCHIVE_ZIP, "an entry of another size than its head says")
    local = (crc, packed, unpacked)
    # Of what is described behind it the head says nothing (APPNOTE 4.4.4), or the same.
    if not all(
        stated == same or (described and not stated)
        for stated, same in zip(local, _sizes(entry, packed, unpacked), strict=True)
    ):
        raise allowance.refused(rules.ARCHIVE_ZIP, "an entry whose two heads disagree")
    content = data[first : first + entry.compress_size]
    if method == zipfile.ZIP_DEFLATED:
        content = _inflated(content, -15, allowance)
    elif method == zipfile.ZIP_STORED:
        allowance.take(len(content), len(content))
    else:
        raise allowance.refused(rules.ARCHIVE_METHOD, f"compression method {method}")
    if len(content) != entry.file_size or zlib.crc32(content) != entry.CRC:
        raise allowance.refused(rules.ARCHIVE_ZIP, "a member that is not what its head says")
    return content


def _name(entry: zipfile.ZipInfo) -> bytes:
    """As it stands in the file: in UTF-8 where a flag says so, else in code page 437."""
    return entry.orig_filename.encode("utf-8" if entry.flag_bits & 0x800 else "cp437")


def _sizes(entry: zipfile.ZipInfo, packed: int, unpacked: int) -> tuple[int, int, int]:
    """What a local head must say; ZIP64 has all ones there, and the sizes elsewhere."""
    ones = 0xFFFFFFFF
    return (
        entry.CRC,
        ones if packed == ones else entry.compress_size,
        ones if unpacked == ones else entry.file_size,
    )


def _inflated(packed: bytes, window: int, allowance: Allowance) -> bytes:
    """One whole deflated stream and nothing behind it."""
    inflater = zlib.decompressobj(window)
    try:
        unpacked = inflater.decompress(packed, allowance.left + 1)
    except zlib.error as error:
        raise allowance.refused(rules.ARCHIVE_DEFLATE, "not deflated") from error
    allowance.take(len(unpacked), len(packed))
    if not inflater.eof:
        raise allowance.refused(rules.ARCHIVE_DEFLATE, "a stream that does not end")
    if inflater.unused_data:
        raise allowance.refused(rules.ARCHIVE_DEFLATE, "something behind a stream")
    return unpacked
