"""Archives in uploads: their members are extracted, so that engines scan them.

A site can have its clients collect files, which they upload in archives. Zip and gzip are
extracted, within limits. An archive that parsers could read in different ways is refused. Cabinets
and other formats are refused by the malware rules: no library extracts cabinets within limits
(cabarchive extracts the same blocks as often as a file refers to them).
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
"""Depth of nested archives. ClamAV's default is 17 (MaxRecursion); logs that are compressed before
they are uploaded in an archive have 2."""

MAX_MEMBERS = 1_000
"""Members in all archives of an object. ClamAV's default is 10,000 (MaxFiles); a client has about
200 logs."""

MAX_RATIO = 100
"""Extracted size divided by compressed size: Apache POI's limit (ZipSecureFile,
MIN_INFLATE_RATIO)."""

RATIO_FROM = 102_400
"""Extracted bytes from which the ratio is checked (Apache POI's GRACE_ENTRY_SIZE)."""

_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_ENTRY = b"PK\x01\x02"
"""The signature of an entry in the central directory (APPNOTE 4.3.12)."""
_GZIP = b"\x1f\x8b\x08"
_WITH_NAME = b"\x08"
"""RFC 1952 2.3.1, FLG: a NUL-terminated file name. Other fields could contain arbitrary bytes."""
_END_BYTES = 22
_LOCAL = struct.Struct("<4s5H3L2H")
"""APPNOTE 4.3.7: signature, version, flags, method, time, date, CRC, sizes, lengths."""
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_DESCRIPTOR = 0x8
_DESCRIPTORS = (0, 12, 16, 20, 24)
"""Bytes of a data descriptor: none, or with and without signature and ZIP64 (APPNOTE 4.3.9)."""


@dataclass(slots=True)
class Allowance:
    """The remaining allowance for the archives of an object."""

    where: str
    """The prefix of a refusal's rule."""
    left: int
    """Bytes that may still be extracted."""
    members: int = 0
    """Members extracted so far."""

    def refused(self, rule: rules.RuleOf, detail: str) -> Refused:
        """The refusal, for the caller to raise."""
        return Refused(Deny(Reason.ARCHIVE, rule.of(self.where), detail))

    def count(self) -> None:
        """Count one more member. Raises Refused at the limit."""
        self.expect(1)
        self.members += 1

    def expect(self, members: int) -> None:
        """Raise Refused if the limit does not allow this number of additional members."""
        if self.members + members > MAX_MEMBERS:
            raise self.refused(rules.ARCHIVE_MEMBERS, f"more than {MAX_MEMBERS} members")

    def take(self, unpacked: int, packed: int) -> None:
        """Count `unpacked` bytes, extracted from `packed` bytes. Raises Refused at a limit."""
        self.left -= unpacked
        if self.left < 0:
            raise self.refused(rules.ARCHIVE_UNPACKED, "the extracted size exceeds the limit")
        if unpacked > RATIO_FROM and unpacked > MAX_RATIO * packed:
            raise self.refused(rules.ARCHIVE_RATIO, f"a compression ratio of more than {MAX_RATIO}")


def is_archive(data: bytes) -> bool:
    """Return whether the data is a zip or gzip archive."""
    # Zip parsers search for the end record, so bytes before the archive do not hide it.
    return data.startswith((_ZIP, _EMPTY_ZIP, _GZIP)) or _has_end(data)


def is_zlib(data: bytes) -> bool:
    """Return whether the data begins like a zlib stream (RFC 1950): header and first block."""
    if len(data) < 2 or data[0] & 0x8F != 0x08 or int.from_bytes(data[:2]) % 31:
        return False
    try:
        zlib.decompressobj().decompress(data[:256], 1)
    except zlib.error:
        return False
    return True


def members(data: bytes, allowance: Allowance) -> Iterator[bytes]:
    """Extract the members of an archive or a zlib stream. Raises Refused."""
    if data.startswith(_GZIP):
        if data[3:4] not in (b"\0", _WITH_NAME):
            # An optional field could contain a zip, which a zip parser would find by its end.
            raise allowance.refused(
                rules.ARCHIVE_GZIP, "a gzip header with other fields than a file name"
            )
        allowance.count()
        yield _inflated(data, 31, allowance)
    elif is_zlib(data):
        allowance.count()
        yield _inflated(data, 15, allowance)
    else:
        yield from _zip_members(data, allowance)


def _has_end(data: bytes) -> bool:
    # A comment of up to 64 KB may follow the end record (APPNOTE 4.3.16).
    return data.rfind(_EMPTY_ZIP, max(0, len(data) - 65_535 - _END_BYTES)) >= 0


def _zip_members(data: bytes, allowance: Allowance) -> Iterator[bytes]:
    if data[-_END_BYTES:-18] != _EMPTY_ZIP:
        raise allowance.refused(
            rules.ARCHIVE_ZIP, "data before the archive or after its end record"
        )
    # Count before zipfile makes an object of each entry; there could be a million.
    allowance.expect(data.count(_ENTRY))
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, IndexError) as error:
        raise allowance.refused(rules.ARCHIVE_ZIP, "not a zip archive") from error
    if len({entry.filename for entry in entries}) != len(entries):
        raise allowance.refused(rules.ARCHIVE_ZIP, "a name occurs twice")
    end = 0
    limits = [*(entry.header_offset for entry in entries[1:]), archive.start_dir]
    for entry, limit in zip(entries, limits, strict=False):
        if entry.header_offset != end:
            raise allowance.refused(rules.ARCHIVE_ZIP, "data outside the entries")
        allowance.count()
        yield _member(data, entry, limit, allowance)
        end = limit
    if end != archive.start_dir:
        raise allowance.refused(rules.ARCHIVE_ZIP, "data outside the entries")


def _member(data: bytes, entry: zipfile.ZipInfo, limit: int, allowance: Allowance) -> bytes:
    begin = entry.header_offset
    if begin + _LOCAL.size > limit:
        raise allowance.refused(rules.ARCHIVE_ZIP, "overlapping entries")
    signature, _, flags, method, _, _, crc, packed, unpacked, name, extra = _LOCAL.unpack_from(
        data, begin
    )
    if signature != _ZIP:
        raise allowance.refused(rules.ARCHIVE_ZIP, "no local header at the offset of an entry")
    if (flags | entry.flag_bits) & _ENCRYPTED:
        raise allowance.refused(rules.ARCHIVE_ENCRYPTED, "an encrypted member")
    first = begin + _LOCAL.size + name
    stored = data[begin + _LOCAL.size : first]
    if (method, flags) != (entry.compress_type, entry.flag_bits) or stored != _name(entry):
        raise allowance.refused(
            rules.ARCHIVE_ZIP, "the local and central headers of an entry differ"
        )
    first += extra
    behind = limit - first - entry.compress_size
    described = bool(flags & _DESCRIPTOR)
    if behind not in (_DESCRIPTORS[1:] if described else _DESCRIPTORS[:1]):
        raise allowance.refused(rules.ARCHIVE_ZIP, "the size of an entry differs from its header")
    local = (crc, packed, unpacked)
    # With a data descriptor, the local values are zero (APPNOTE 4.4.4) or the same.
    if not all(
        stated == same or (described and not stated)
        for stated, same in zip(local, _sizes(entry, packed, unpacked), strict=True)
    ):
        raise allowance.refused(
            rules.ARCHIVE_ZIP, "the local and central headers of an entry differ"
        )
    content = data[first : first + entry.compress_size]
    if method == zipfile.ZIP_DEFLATED:
        content = _inflated(content, -15, allowance)
    elif method == zipfile.ZIP_STORED:
        allowance.take(len(content), len(content))
    else:
        raise allowance.refused(rules.ARCHIVE_METHOD, f"compression method {method}")
    if len(content) != entry.file_size or zlib.crc32(content) != entry.CRC:
        raise allowance.refused(
            rules.ARCHIVE_ZIP, "the size or checksum of a member differs from its header"
        )
    return content


def _name(entry: zipfile.ZipInfo) -> bytes:
    """The name as in the file: in UTF-8 if the flag is set, else in code page 437."""
    return entry.orig_filename.encode("utf-8" if entry.flag_bits & 0x800 else "cp437")


def _sizes(entry: zipfile.ZipInfo, packed: int, unpacked: int) -> tuple[int, int, int]:
    """The required values of a local header. In ZIP64, sizes of all ones are stored elsewhere."""
    ones = 0xFFFFFFFF
    return (
        entry.CRC,
        ones if packed == ones else entry.compress_size,
        ones if unpacked == ones else entry.file_size,
    )


def _inflated(packed: bytes, window: int, allowance: Allowance) -> bytes:
    """Inflate exactly one deflate stream. Raises Refused."""
    inflater = zlib.decompressobj(window)
    try:
        unpacked = inflater.decompress(packed, allowance.left + 1)
    except zlib.error as error:
        raise allowance.refused(rules.ARCHIVE_DEFLATE, "not a deflate stream") from error
    allowance.take(len(unpacked), len(packed))
    if not inflater.eof:
        raise allowance.refused(rules.ARCHIVE_DEFLATE, "a truncated stream")
    if inflater.unused_data:
        raise allowance.refused(rules.ARCHIVE_DEFLATE, "data after a stream")
    return unpacked
