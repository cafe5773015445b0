"""Text that is made to be slow takes at most four times as long as plain text of its size.

Every pattern of the shipped rules is tested with texts of its own beginnings, and every reader with
texts of its own pieces. The times are processor times of this process, the lowest of several runs.
Above the limit, both texts are measured again in turn: a busy machine then slows down both.
"""

from __future__ import annotations

import base64
import io
import re
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibcm_bridge.inspection.engines import BEGINNINGS, REPETITIVE, YaraEngine
from ibcm_bridge.inspection.scan import read_and_scan
from ibcm_bridge.inspection.subject import Subject
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.messages.limits import MAX_EVENT_LIST
from ibcm_bridge.policy_file import shipped_roles

pytestmark = pytest.mark.slow

TIMES = 4
MARGIN = 1.5
"""For a busy machine, where calls of Python slow down more than searches in C."""
RUNS = 10
PLAIN_RUNS = 5
SIZE = 2_000_000
"""Characters of a text: large enough that fixed costs do not matter."""

SOURCES = [
    (file.name, file.read_text("utf-8"))
    for file in files("ibcm_bridge.config.rules").iterdir()
    if file.name.endswith(".yar")
]
ENGINE = YaraEngine(SOURCES)
BODIES = shipped_roles().bodies
SERVICE = "http://www.microsoft.com/SoftwareDistribution/Server/ClientWebService"
PLAIN = "The quick brown fox jumps over the lazy dog in C:\\Windows\\x.dll, "


def repeated(piece: str, size: int = SIZE) -> str:
    return piece * (size // len(piece))


def message(inner: str, root: str = "Report", header: str = "") -> Subject:
    xml = f"<{root}>{inner}</{root}>"
    body = ccm.ccm_post_body(endpoint="MP_HinvEndpoint", body_xml=xml, client_guid="")
    if header:
        text = ccm.message_header("MP_HinvEndpoint", len(xml) * 2, client_guid="")
        body = ccm.raw_message(
            text.replace("</Msg>", f"{header}</Msg>"), zlib.compress(xml.encode("utf-16-le"))
        )
    return Subject(BODIES["ccm-message"], ccm.CONTENT_TYPE.encode(), body)


def soap(inner: str) -> Subject:
    body = (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        f'<SyncUpdates xmlns="{SERVICE}"><a>{inner}</a></SyncUpdates></s:Body></s:Envelope>'
    )
    return Subject(
        BODIES["soap"],
        b"text/xml; charset=utf-8",
        body.encode(),
        path="clientwebservice/client.asmx",
        soap_action=(f'"{SERVICE}/SyncUpdates"'.encode(),),
    )


def events(text: str) -> Subject:
    """A report of events with long texts."""
    count = 2 * SIZE // MAX_EVENT_LIST
    strings = f"<string>A={repeated(text, MAX_EVENT_LIST - 2)}</string>" * count
    shared = "http://www.microsoft.com/SoftwareDistribution"
    body = (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        f'<ReportEventBatch xmlns="{shared}"><eventBatch><ReportingEvent><ExtendedData>'
        f"<MiscData>{strings}</MiscData></ExtendedData></ReportingEvent></eventBatch>"
        "</ReportEventBatch></s:Body></s:Envelope>"
    )
    return Subject(
        BODIES["soap"],
        b"text/xml; charset=utf-8",
        body.encode(),
        path="reportingwebservice/reportingwebservice.asmx",
        soap_action=(f'"{shared}/ReportEventBatch"'.encode(),),
    )


def upload(data: bytes) -> Subject:
    return Subject(BODIES["bits-upload"], b"", zlib.compress(data), whole=True)


def xml_upload(inner: str) -> Subject:
    return upload(f"<r>{inner}</r>".encode())


def zip_upload(pieces: Iterable[bytes]) -> Subject:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for number, piece in enumerate(pieces):
            archive.writestr(str(number), piece)
    return Subject(BODIES["bits-upload"], b"", stream.getvalue(), whole=True)


def form(body: str) -> Subject:
    return Subject(BODIES["form"], b"application/x-www-form-urlencoded", body.encode())


def json_form(body: str) -> Subject:
    return Subject(BODIES["form"], b"application/json", body.encode())


def propfind(inner: str) -> Subject:
    body = f'<propfind xmlns="DAV:"><prop>{inner}</prop></propfind>'
    return Subject(BODIES["webdav"], b"text/xml", body.encode())


@dataclass(frozen=True)
class Plain:
    """Plain text, and the lowest processor time of its inspection."""

    subject: Subject
    seconds: float


def plain(subject: Subject) -> Plain:
    return Plain(subject, min(seconds(subject) for _ in range(PLAIN_RUNS)))


def seconds(subject: Subject) -> float:
    """The processor time of an inspection."""
    began = time.process_time()
    read_and_scan(subject, [ENGINE])
    return time.process_time() - began


def assert_not_slow(slow: Subject, fast: Plain) -> None:
    if seconds(slow) <= MARGIN * TIMES * fast.seconds:
        return
    rounds = [(seconds(fast.subject), seconds(slow)) for _ in range(RUNS)]
    base, took = map(min, zip(*rounds, strict=True))
    assert took <= MARGIN * TIMES * base, f"{took / base:.1f} times as long as plain text"


# Rules

PATTERN = re.compile(r'^\s+(\$\w+) = (?:"(.+)"|/(.+)/|\{([^}]+)\}) ?(nocase|base64)?', re.MULTILINE)


def patterns() -> Iterator[tuple[str, re.Pattern[bytes]]]:
    """The patterns of the shipped rules, as expressions of Python."""
    for _, source in SOURCES:
        for name, text, expression, pairs, modifier in PATTERN.findall(source):
            if pairs:
                written = "".join("." if pair == "??" else f"\\x{pair}" for pair in pairs.split())
            else:
                written = expression or re.escape(text.replace("\\n", "\n"))
            flags = re.DOTALL | (re.IGNORECASE if modifier == "nocase" else 0)
            yield name, re.compile(written.encode(), flags)


PATTERNS = dict(patterns())


def beginnings(text: bytes) -> Iterator[bytes]:
    """Text that begins like a match, at which an engine compares as long as possible."""
    for length in {3, 4, len(text) // 2, len(text) - 1}:
        if 2 < length < len(text):
            yield text[:length]
            yield text[:length] + b" "
            yield text[:length] + b"a" * 200


@cache
def plain_upload() -> Plain:
    return plain(upload(repeated(PLAIN).encode()))


@cache
def plain_message() -> Plain:
    return plain(message(repeated(PLAIN)))


@cache
def plain_xml_upload() -> Plain:
    return plain(xml_upload(repeated(PLAIN)))


def test_every_pattern_of_the_shipped_rules_is_tested() -> None:
    written = sum(len(re.findall(r"^\s+\$\w+ =", source, re.MULTILINE)) for _, source in SOURCES)
    assert len(PATTERNS) == written > 20


@pytest.mark.parametrize("name", PATTERNS)
@settings(max_examples=2, derandomize=True, database=None)
@given(data=st.data())
def test_the_beginnings_of_a_pattern_are_not_slow(name: str, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(PATTERNS[name], fullmatch=True))
    for piece in beginnings(text):
        slow = (piece * (SIZE // len(piece)))[:SIZE]
        assert_not_slow(upload(slow), plain_upload())


@pytest.mark.parametrize(
    "piece",
    [
        *("powershell ", "pwsh -e ", "powershell -a b -a b -a b -e ", "pwsh -e " + "a" * 63 + " "),
        *("pwsh -a a -a a -a a -a a -x " + "a" * 64 + " ", "/e " + "a" * 64 + " "),
        *("A" * 63 + " ", "A" * 64 + " ", "A" * 64 + "\nA", "A" * 128 + ".", "A" * 129 + "\n"),
        *("0" * 127 + " ", "ab" * 64 + " ", "A" * 64 + "\n" + "A" * 16 + "\n", "\n\t "),
        *("<!-- " + "<script " * 5_000 + "-->", "<![CDATA[<%@ ]]>" + " " * 200),
        "&lt;script " + "a" * 200,
    ],
)
def test_a_message_of_partial_matches_is_not_slow(piece: str) -> None:
    assert_not_slow(message(repeated(piece)), plain_message())


def test_the_beginnings_of_repetitive_rules_are_those_of_their_patterns() -> None:
    """A pattern that begins in another way would never be searched."""
    source = dict(SOURCES)[REPETITIVE]
    expressions = [expression for _, _, expression, _, _ in PATTERN.findall(source)]
    assert expressions
    for expression in expressions:
        begin = expression.replace("\\?", "?").replace("(script|SCRIPT)", "script").encode()
        assert begin.startswith(BEGINNINGS)


# Readers

SPARSE = " " * 28
"""As much text as the limit for elements requires of one."""

TEXTS = {
    "elements": "<b/>",
    "elements and text": "<b>x</b>",
    "as many elements as allowed": "<b/>" + SPARSE,
    "as many attributes as allowed": '<b a="1" b="2"/>' + SPARSE * 2,
    "attributes": '<b a="1"/>',
    "many attributes": "<b " + " ".join(f'a{number}="1"' for number in range(64)) + "/>",
    "attributes with references": '<b a="&lt;"/>' + SPARSE * 2,
    "one element of attributes": "<b " + " ".join(f'a{n}="1"' for n in range(SIZE // 12)) + "/>",
    "many names": "".join(f'<b a{n}="1" b{n}="2"/>{SPARSE * 2}' for n in range(20_000)),
    "references": "&#65;",
    "entities": "&lt;a",
    "as many quoted tags as allowed": "&lt;a" + SPARSE,
    "lines": "x\n",
    "line ends": "\r\n",
    "CDATA": "<![CDATA[x]]>",
    "as many CDATA as allowed": "<![CDATA[x]]>" + SPARSE,
    "comments": "<!---->",
    "instructions": "<?x?>",
    "values": "<Machine><ClientID>x</ClientID></Machine>" + SPARSE,
    "subjects": "<User><a/></User>" + SPARSE * 2,
    "subjects with text": "<User>x</User>" + SPARSE,
    "one comment": f"<!--{repeated(PLAIN)}-->",
    "brackets": "]]&gt;",
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_message_of_pieces_is_not_slow(name: str) -> None:
    assert_not_slow(message(repeated(TEXTS[name])), plain_message())


@pytest.mark.parametrize("name", TEXTS)
def test_an_upload_of_pieces_is_not_slow(name: str) -> None:
    assert_not_slow(xml_upload(repeated(TEXTS[name])), plain_xml_upload())


@pytest.mark.parametrize("name", [*TEXTS, "events"])
def test_a_soap_request_of_pieces_is_not_slow(name: str) -> None:
    text = {**TEXTS, "events": "<eventBatch><a><string/></a></eventBatch>"}[name]
    size = 2 * SIZE
    assert_not_slow(soap(repeated(text, size)), plain(soap(repeated(PLAIN, size))))


EVENT_TEXTS = {
    "escapes": "%20" + PLAIN * 2,
    "slashes": "/",
    "marks": "AAEAAAD////",
    "base64": base64.b64encode(PLAIN.encode() * 30).decode(),
    "base64 of base64": base64.b64encode(base64.b64encode(PLAIN.encode() * 30)).decode(),
    "short base64": "A" * 64 + " ",
}


@pytest.mark.parametrize("name", EVENT_TEXTS)
def test_the_texts_of_events_are_not_slow(name: str) -> None:
    assert_not_slow(events(EVENT_TEXTS[name]), plain(events(PLAIN)))


@pytest.mark.parametrize("inner", ["<Data></Data >", "<!-- <Data> -->", "<Data ", "</Data"])
def test_a_registration_of_pieces_is_not_slow(inner: str) -> None:
    text = f"<![CDATA[{repeated(inner, SIZE // 4)}]]>" + repeated(PLAIN, SIZE * 3 // 4)
    root = "ClientRegistrationRequest"
    assert_not_slow(message(text, root), plain_message())


@pytest.mark.parametrize("inner", ["<a/>", '<a b="1"/>', "<Hooks/>", "&lt;"])
def test_a_header_of_pieces_is_not_slow(inner: str) -> None:
    fast = plain(message("", header=f"<x>{repeated('plain ', 30_000)}</x>"))
    assert_not_slow(message("", header=f"<x>{repeated(inner, 30_000)}</x>"), fast)


@pytest.mark.parametrize("inner", ["<getetag/>", '<getetag a="1"/>', "<a/>"])
def test_a_propfind_of_pieces_is_not_slow(inner: str) -> None:
    fast = plain(propfind(f"<getetag>{repeated('plain ', 65_000)}</getetag>"))
    assert_not_slow(propfind(repeated(inner, 65_000)), fast)


@pytest.mark.parametrize(
    "piece",
    [
        *(b"aa\0", b"a\0   ", b"\0\0<", b"a\0<", b"\xff\xfe", b"\xd8\0", b"\0a", b"<\0", b"\0"),
        *(b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08\0", b"x\x9c", b"PE\0\0L\1"),
        *(b"\xef\xbb\xbf", "\u7770".encode("utf-16-le"), "\u7770".encode(), b"<?xml "),
    ],
)
def test_an_upload_of_other_bytes_is_not_slow(piece: bytes) -> None:
    assert_not_slow(upload(piece * (SIZE // len(piece))), plain_upload())


@pytest.mark.parametrize("count", [10, 990])
def test_an_archive_of_many_members_is_not_slow(count: int) -> None:
    text = repeated(PLAIN).encode()
    size = len(text) // count
    slow = zip_upload(text[at * size :][:size] for at in range(count))
    assert_not_slow(slow, plain_upload())


FORMS: dict[str, tuple[Callable[[str], Subject], str]] = {
    "escapes": (form, "%41"),
    "percent signs": (form, "%"),
    "spaces": (form, "+"),
    "fields": (form, "a=&"),
    "JSON lists": (lambda text: json_form(f"[{text}1]"), "[],"),
    "JSON strings": (lambda text: json_form(f"[{text}1]"), '"",'),
    "JSON objects": (lambda text: json_form(f"[{text}1]"), '{"":1},'),
    "JSON escapes": (lambda text: json_form(f'["{text}"]'), "\\u0041"),
    "JSON nested": (json_form, "["),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_of_pieces_is_not_slow(name: str) -> None:
    make, piece = FORMS[name]
    size = 1_000_000
    text = f'["{repeated(PLAIN.replace(chr(92), ""), size)}"]'
    assert_not_slow(make(repeated(piece, size)), plain(json_form(text)))
