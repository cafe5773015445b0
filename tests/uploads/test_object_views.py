"""The views of objects: no encoding that a parser accepts hides text from the engines."""

from __future__ import annotations

import zlib

import pytest

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule
from ibcm_bridge.inspection.uploaded_object import MAX_DOCUMENTS, Uploaded, object_views

SIGN = "X5O!P%MALWARE"
XML = f"<a>{SIGN}</a>"
HIDDEN = f"<a>{SIGN[:5]}<!-- -->{SIGN[5:]}</a>"
LIMIT = 1_000_000


def views(whole: bytes) -> dict[str, bytes]:
    found = object_views(whole, LIMIT, Rule("x"))
    assert isinstance(found, Uploaded), found
    return found.views


def sees(whole: bytes) -> bool:
    return any(SIGN.encode() in view for view in views(whole).values())


@pytest.mark.parametrize("pack", [bytes, zlib.compress])
@pytest.mark.parametrize(
    "content",
    [
        XML.encode("utf-16-le"),
        XML.encode("utf-16"),
        XML.encode(),
        HIDDEN.encode("utf-16-le") + b"\0\0\r\n",
        f"<b/>\0{HIDDEN}".encode("utf-16-le"),
        # A byte order mark before a later document.
        f"<b/>\0\ufeff{HIDDEN}".encode("utf-16-le"),
        f"\ufeff\ufeff{HIDDEN}".encode("utf-16-le"),
        # Text, but not valid UTF-16.
        f"text {SIGN}".encode("utf-16-le") + b"\n",
        f"text \ud800 {SIGN}".encode("utf-16-le", "surrogatepass"),
        f"text {SIGN}".encode("utf-16-be"),
        b"\xfe\xff" + f"text {SIGN}".encode("utf-16-be"),
        "text ".encode("utf-16-le") + b"x" + SIGN.encode("utf-16-le"),
        "\u4e00".encode("utf-16-le") + SIGN.encode("utf-16-le"),
        f"text {SIGN}".encode("utf-32-le"),
    ],
)
def test_the_text_that_a_parser_reads_is_a_view(content: bytes, pack: type[bytes]) -> None:
    assert sees(pack(content))


@pytest.mark.parametrize("pack", [bytes, zlib.compress])
@pytest.mark.parametrize(
    "content",
    [
        HIDDEN.encode("utf-16-le") + b"\n",
        f"{HIDDEN}<!--\ud800-->".encode("utf-16-le", "surrogatepass"),
        b"\xfe\xff" + HIDDEN.encode("utf-16-be"),
        HIDDEN.encode("utf-16-be"),
        HIDDEN.encode("utf-32-le"),
        HIDDEN.encode("utf-32-be"),
        HIDDEN.encode() + b"\xff",
        b" \r\n" * 1_000 + HIDDEN.encode() + b"\xff",
    ],
)
def test_unreadable_xml_is_refused(content: bytes, pack: type[bytes]) -> None:
    refused = object_views(pack(content), LIMIT, Rule("x"))
    assert isinstance(refused, Deny)
    assert refused.reason in (Reason.ENCODING, Reason.XML)


@pytest.mark.parametrize(
    "whole", [b"MZ\x90\0\xff", b"\0\0\1\0 icon", b"\xff\xfe\xff", b"a\0\xff", b"", b"\0", b"x"]
)
def test_other_bytes_are_scanned_as_sent(whole: bytes) -> None:
    assert views(whole)["sent"] == whole


def test_the_number_of_documents_is_limited() -> None:
    # Each needs a parser: 130,000 bytes of documents took 0.2 s, 128 MB would take minutes.
    assert "text" in views(b"<a/>\0" * MAX_DOCUMENTS)
    refused = object_views(b"<a/>\0" * (MAX_DOCUMENTS + 1), LIMIT, Rule("x"))
    assert isinstance(refused, Deny)
    assert refused.rule == "x.documents"
