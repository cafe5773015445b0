"""A view of any bytes has a limited size and takes limited time."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.messages.views import MAX_BODY, Message, render
from ibcm_bridge.messages.views.concealing import Kind, conceal
from ibcm_bridge.messages.views.page import MAX_ELEMENTS, MAX_TEXT, MAX_VALUE, Page

TYPE = ccm.CONTENT_TYPE.encode()
SLACK = 1_024
"""Characters of the title and of the lines that say what was cut."""


def view(body: bytes, kind: Message = Message.DOCUMENT) -> str:
    return render(kind, TYPE, body, how_to_see="ask")


def hexed(data: bytes) -> bytes:
    return zlib.compress(data, 9).hex().encode()


def compressed(data: bytes) -> bytes:
    return b'<a Compression="zlib">' + hexed(data) + b"</a>"


LARGE = b"<a>" + b"x " * 500_000 + b"</a>"
HOSTILE: dict[str, Callable[[], bytes]] = {
    "elements": lambda: b"<a>" + b"<b/>" * 1_000_000 + b"</a>",
    "lines": lambda: b"<a>" + b"<b>text</b>" * 19_000 + b"x\n" * 500_000 + b"</a>",
    "attributes": lambda: b"<a " + b" ".join(b'a%d=""' % n for n in range(200_000)) + b"/>",
    "wide elements": lambda: (
        b"<a>" + b"<b%b/>" % b"".join(b' a%d="x"' % n for n in range(60)) * 9_000 + b"</a>"
    ),
    "depth": lambda: b"<r>" + (b"<a>" * 250 + b"</a>" * 250) * 2_000 + b"</r>",
    "depth without end": lambda: b"<a>" * 1_000_000,
    "documents in texts": lambda: b"<r>" + b"<a>&lt;b>x&lt;/b></a>" * 200_000 + b"</r>",
    "a bomb": lambda: compressed(b"\0" * 50_000_000),
    "many bombs": lambda: b"<r>" + compressed(LARGE) * 1_000 + b"</r>",
    "many broken bombs": lambda: b"<r>" + compressed(LARGE[:-2]) * 1_000 + b"</r>",
    "bombs in bombs": lambda: compressed(compressed(compressed(compressed(compressed(LARGE))))),
    "one long text": lambda: b"<a>" + b"x y " * 1_000_000 + b"</a>",
    "one long key": lambda: b"<a>" + b"AB12" * 1_000_000 + b"</a>",
    "long names": lambda: b"<%b %b=''/>" % (b"a" * 1_000_000, b"b" * 1_000_000),
    "references": lambda: b"<a>" + b"&lt;" * 1_000_000 + b"</a>",
    "characters that are escaped": lambda: b"<a>" + b"\xe2\x80\xae" * 1_000_000 + b"</a>",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_view_of_hostile_bytes_is_limited(name: str) -> None:
    body = HOSTILE[name]()
    begin = time.thread_time()
    text = view(body)
    assert time.thread_time() - begin < 5, "half a second, on a machine with nothing to do"
    assert len(text) < MAX_TEXT + SLACK


@pytest.mark.parametrize("name", ["elements", "wide elements", "one long text", "one long key"])
def test_a_view_shows_that_it_was_cut(name: str) -> None:
    assert "[cut" in view(HOSTILE[name]())


PIECES = (
    *("-", "/aaaa", "eyJ-", "-eyJaaaaaaaaa", "8913", "8913 ", "A" * 61 + " ", "A" * 61 + "\n"),
    *("A" * 79 + "-", "-----BEGIN ", "password", "password ", "password.", "/password ", "basic "),
    *("//a:", "//" + "a" * 128, "?sig", "password" + " " * 40, "-" + "a" * 31 + "passw", "\t"),
)


@pytest.mark.slow
@pytest.mark.parametrize("piece", PIECES)
def test_finding_secrets_takes_linear_time(piece: str) -> None:
    def seconds(size: int) -> float:
        text = (piece * (size // len(piece) + 1))[:size]
        times = []
        for _ in range(3):
            begin = time.thread_time()
            conceal(text, Kind.OPEN)
            times.append(time.thread_time() - begin)
        return min(times)

    # Eight times the text would take 64 times the time if it were quadratic.
    assert seconds(64_000) < 24 * seconds(8_000) + 0.01


def test_a_long_value_is_cut_and_its_length_shown() -> None:
    page = Page(secrets=True)
    assert page.value("x" * MAX_VALUE) == "x" * MAX_VALUE
    assert page.value("x" * 5_000) == "x" * MAX_VALUE + " [cut: 5,000 characters in total]"


def test_a_full_page_ends_with_a_line_that_says_so() -> None:
    page = Page(secrets=False)
    for _ in range(MAX_TEXT // 1_000 + 2):
        page.line("x" * 999)
    assert page.full
    assert page.text("title", "").endswith("\n[cut here: a view has at most 262,144 characters]")


def test_the_last_element_of_a_cut_document_is_omitted() -> None:
    # The name that hides its value may not have been parsed.
    before = b"<a/>" * (MAX_ELEMENTS - 3)
    text = view(b"<r>" + before + b"<p><Value>hunter2</Value><Name>Password</Name></p></r>")
    assert "hunter2" not in text
    assert "[cut here: the document has too many elements for a view]" in text


def test_a_body_that_is_too_large_is_not_parsed() -> None:
    assert view(b"<a>" + bytes(MAX_BODY)) == "33,554,435 bytes, too large for a view"


SOMETHING = st.one_of(
    st.binary(max_size=400),
    st.text(max_size=200).map(str.encode),
    st.text(alphabet="<>/ab ='\"&;!-[]CDATA\0\n", max_size=200).map(str.encode),
    st.text(alphabet="<>/ab ='\"&;!-[]CDATA\0\n", max_size=200).map(
        lambda text: text.encode("utf-16")
    ),
)


def framed(parts: list[bytes]) -> bytes:
    opening = b"--%b\r\n" % ccm.BOUNDARY
    texts = [b"content-type: text/plain; charset=utf-16\r\n\r\n" + part for part in parts]
    return opening + (b"\r\n" + opening).join(texts) + b"\r\n--%b--" % ccm.BOUNDARY


MESSAGE = ccm.ccm_post_body(
    endpoint="MP_PolicyManager", body_xml=documents.policy_request("x"), client_guid="x"
)
BODIES = st.one_of(
    SOMETHING,
    st.lists(SOMETHING, max_size=4).map(framed),
    SOMETHING.map(compressed),
    st.tuples(st.integers(0, len(MESSAGE)), st.binary(max_size=4)).map(
        lambda change: MESSAGE[: change[0]] + change[1] + MESSAGE[change[0] + len(change[1]) :]
    ),
)


@given(st.sampled_from(Message), st.sampled_from([TYPE, b"", b"\xff"]), BODIES, st.booleans())
def test_no_bytes_make_a_view_raise(
    kind: Message, content_type: bytes, body: bytes, secrets: bool
) -> None:
    text = render(kind, content_type, body, secrets=secrets, how_to_see="ask")
    assert text
    assert all(line.replace("\t", "").isprintable() for line in text.split("\n"))
