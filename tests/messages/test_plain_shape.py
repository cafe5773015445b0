"""The shapes of plain documents: remembered, a document is read as it would be without that."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.messages import plain_shape, plain_xml
from ibcm_bridge.messages.document import Document, plain_document
from ibcm_bridge.messages.guid_places import NO_PLACES, GuidPlaces
from ibcm_bridge.messages.plain_shape import MAX_CHARACTERS, MAX_NAMES, REMEMBERED

from .both_parsers import same
from .making import DOCUMENTS, GUID_PLACES, GUIDS, VALUES

_TEXT = re.compile(">[^<>]*<")


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    plain_shape._remembered.cache_clear()
    yield
    plain_shape._remembered.cache_clear()


def remembered() -> int:
    return plain_shape._remembered.cache_info().currsize


def read(text: str, places: GuidPlaces = GUID_PLACES) -> Document | None:
    return plain_document(text, lambda _root: places)


@given(DOCUMENTS, st.lists(VALUES, min_size=1, max_size=8))
def test_documents_of_one_shape_have_their_own_texts(text: str, values: list[str]) -> None:
    same(text)
    texts = iter(values * len(text))
    same(_TEXT.sub(lambda _: f">{next(texts)}<", text))
    same(_TEXT.sub("><", text))
    same(text)


@given(DOCUMENTS, st.data())
def test_a_changed_shape_is_checked(text: str, data: st.DataObject) -> None:
    same(text)
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(len(text), begin + 3)))
    same(text[:begin] + data.draw(st.sampled_from(("", "<", ">", "/", "</a>", "<b>"))) + text[end:])


def test_each_message_is_asked_for_its_values() -> None:
    first, second = (
        read(f"<Report><Machine><ClientID>{guid}</ClientID></Machine></Report>")
        for guid in GUIDS[:2]
    )
    assert remembered() == 1
    assert first is not None
    assert second is not None
    assert [*first.guids.values()] == [(GUIDS[0],)]
    assert [*second.guids.values()] == [(GUIDS[1],)]


def test_a_shape_is_remembered_for_its_places_only() -> None:
    text = f"<Report><Machine><ClientID>{GUIDS[0]}</ClientID></Machine></Report>"
    for _ in range(2):
        none, some = read(text, NO_PLACES), read(text)
        assert none is not None
        assert some is not None
        assert not none.guids
        assert some.guids
    assert remembered() == 2


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("<a><b></b></a>", "<a><b></a></b>"),
        ("<a><b></b></a>", "<a><b>></b></a>"),
        ("<a><b></b></a>", "<a><b</b></a>"),
        ("<a><b></b></a>", "<a></b><b></a>"),
        ("<a b='1'></a>", "<a>b='1'></a>"),
        ("<a><b/></a>", "<a><b/></a><b/>"),
    ],
)
def test_a_document_that_is_not_plain_stays_so(good: str, bad: str) -> None:
    for _ in range(2):
        assert read(good) is not None
        assert read(bad) is None
    assert remembered() == 1


def test_a_large_shape_is_not_remembered() -> None:
    # Of each element, its name and that of the root count; of the document, its two names.
    most = (MAX_NAMES - 2) // 2
    for count in (most, most + 1):
        assert read(f"<a>{'<User/>' * count}</a>") is not None
    assert remembered() == 1
    text = f"<a>{'<b/>' * ((MAX_CHARACTERS - 8) // 4)}</a>"
    assert len(text) - 1 <= MAX_CHARACTERS < len(text) + 3
    assert read(text) is not None
    assert remembered() == 2
    assert read(text.replace("<a>", "<a><b/>")) is not None
    assert remembered() == 2


def test_a_shape_with_other_characters_than_ascii_is_not_remembered() -> None:
    assert read('<a b="\N{GRINNING FACE}"><User/></a>') is not None
    assert remembered() == 0


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(lambda number: deep(number, 29, 30), id="deep"),
        pytest.param(lambda number: "".join(f"<a{number}-{n}/>" for n in range(900)), id="names"),
        pytest.param(lambda number: f"<a{number}/>" + "<User/>" * 500, id="visited"),
    ],
)
def test_all_remembered_shapes_take_less_than_16_mb(shape: Callable[[int], str]) -> None:
    count = 16
    texts = [f"<r>{shape(number)}</r>" for number in range(count)]
    assert read(texts[0]) is not None
    nothing = remembered()
    tracemalloc.start()
    try:
        for text in texts:
            read(text)
        plain_xml.read_tag.cache_clear()
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (nothing, remembered()) == (1, count)
    assert used / count * REMEMBERED < 16e6


def deep(number: int, depth: int, count: int) -> str:
    """Elements with long names around many that are visited."""
    names = [f"n{number}-{level}-" + "-".join(["x" * 50] * 4) for level in range(depth)]
    begin = "".join(f"<{name}>" for name in names)
    return begin + "<User/>" * count + "".join(f"</{name}>" for name in reversed(names))


def test_only_so_many_shapes_are_remembered() -> None:
    for number in range(REMEMBERED + 10):
        assert read(f"<a><b{number}/></a>") is not None
    assert remembered() == REMEMBERED
