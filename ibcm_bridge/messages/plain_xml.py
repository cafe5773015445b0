"""Reads plain XML: tags and text, without references, comments, CDATA sections or instructions.

Nearly all messages are plain. Splitting a message at its tags takes a fraction of the time of
expat, which calls a function for each tag. What `read_plain` accepts is well-formed, and expat
reads the same from it. Anything else is for expat: `read_plain` never refuses a document.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import length_hint
from sys import intern

from ibcm_bridge.messages.long_values import has_long_value

MAX_BYTES = 131_072
MAX_TAGS = 10_000
MAX_EQUALS_SIGNS = 20_000
MAX_OPEN = 32
MAX_TAG = 512
"""Sizes of a plain document, and characters of a tag. None is above a limit of `xml.check_xml`."""

MAX_DISTINCT = 1_000
MAX_VISITS = 2_000
"""Distinct tags, and visits. They take more time than other tags, and messages have fewer."""

REMEMBERED = 2_048
"""Distinct tags of all documents, at most 2 KB each. Messages of the same kind have the same."""

_NAME = "[A-Za-z_][A-Za-z0-9_.:-]*"
_VALUE = r"""(?:"[^"\t\n]*"|'[^'\t\n]*')"""
_TAG = re.compile(rf"<({_NAME})((?:[ \t\n]+{_NAME}={_VALUE})*)[ \t\n]*(/?)")
_ATTRIBUTE = re.compile(rf"({_NAME})=({_VALUE})")
_DECLARATION = re.compile(
    rb"""<\?xml version=["']1\.0["'](?: encoding=["'][Uu][Tt][Ff]-(?:8|16)["'])? ?\?>"""
)
_OTHERS = (*(byte for byte in range(32) if byte not in b"\t\n\r"), *b"&")
"""The control characters that XML does not allow, and the start of a reference."""
_NO_CHARACTERS = ("\ufffe".encode(), "\uffff".encode())
_WHITE_SPACE = " \t\n"


class NotPlainError(Exception):
    """Another parser must read the document."""


@dataclass(frozen=True, slots=True)
class Tag:
    """The tag at the start of an element."""

    name: str
    """As written."""
    local: str
    """The local name, in lower case."""
    attributes: Mapping[str, str]
    attribute_names: frozenset[str]
    """Local names, in lower case."""
    end: str
    """The tag at the end of the element, without `>`; empty for an empty element."""


Watches = Callable[[Tag], bool]
"""Whether to visit the elements with a tag; called once for each distinct tag, the root's first."""

Visit = Callable[[Tag, Sequence[str], str | None], None]
"""The tag of an element, the names of the elements around it as written, and its text.

The text is None if there are elements in it. A visit may raise NotPlainError.
"""


type Visited = tuple[Tag, tuple[str, ...], int]
"""The tag of a watched element, the names of the elements around it as written, and where its text
is: the index of the text after its tag, `NO_TEXT` or `HAS_ELEMENTS`."""

NO_TEXT = -1
HAS_ELEMENTS = -2

VisitedOf = Callable[[Sequence[str]], Sequence[Visited]]
"""The tags of a document, in their order -> the elements to visit. It may raise NotPlainError, and
must do so as `watched_elements` does."""


def read_plain(text: str, visited_of: VisitedOf, visit: Visit) -> str | None:
    """Return all character data of a plain document, joined.

    None is for another parser to read the document.
    """
    try:
        pieces = _pieces(text)
        texts = pieces[2:-1:2]
        parsed = "".join(texts)
        if "<" in parsed or (pieces[0] + pieces[-1]).strip(_WHITE_SPACE):
            return None
        for tag, around, at in visited_of(pieces[1::2]):
            visit(tag, around, texts[at] if at >= 0 else "" if at == NO_TEXT else None)
    except NotPlainError:
        return None
    return parsed


Element = tuple[Tag, int, str]
"""The tag of an element, its depth from 1, and its text; empty if there are elements in it."""


def plain_elements(text: str) -> list[Element] | None:
    """Return all elements of a small plain document without text beside elements, else None."""
    elements: list[Element] = []
    around: list[str] = []
    """The end tags of the open elements, without the innermost one."""
    end = ">"  # no tag is equal to it
    own = 0
    try:
        pieces = _pieces(text)
        tags, texts = pieces[1::2], pieces[2:-1:2]
        for written, after, following in zip(tags, texts, tags[1:], strict=False):
            if written == end:
                end = around.pop()
            elif elements and not around:
                return None
            else:
                tag = read_tag(written)
                own_text = after if following == tag.end else ""
                elements.append((tag, len(around) + 1, own_text))
                own += len(own_text)
                if tag.end:
                    around.append(end)
                    end = tag.end
    except NotPlainError:
        return None
    parsed = "".join(texts)
    outside = pieces[0] + pieces[-1]
    is_plain = len(around) == 1 and tags[-1] == end and own == len(parsed) and "<" not in parsed
    return elements if is_plain and not outside.strip(_WHITE_SPACE) else None


def _pieces(text: str) -> list[str]:
    """The text before the first tag, the tag, the text after it, the next tag, and so on."""
    utf8 = text.encode()
    if len(utf8) > MAX_BYTES:
        raise NotPlainError
    if len(utf8) > MAX_EQUALS_SIGNS and utf8.count(b"=") > MAX_EQUALS_SIGNS:
        raise NotPlainError
    # Python finds one byte far faster than one of several.
    if any(map(utf8.__contains__, _OTHERS)):
        raise NotPlainError
    if not utf8.isascii() and any(map(utf8.__contains__, _NO_CHARACTERS)):
        raise NotPlainError
    if b"\r" in utf8:
        # XML 1.0 section 2.11.
        utf8 = utf8.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if utf8.startswith(b"<?") and (declaration := _DECLARATION.match(utf8)):
        utf8 = utf8[declaration.end() :]
    # A tag keeps its `<`, so that every other one, and every other `>`, is noticed.
    pieces = utf8.replace(b"<", b"><").decode().split(">")
    if len(pieces) % 2 == 0 or not 2 <= len(pieces) // 2 <= MAX_TAGS:
        raise NotPlainError
    return pieces


def watched_elements(tags: Sequence[str], watches: Watches) -> tuple[Visited, ...]:
    """Return the watched elements, in the order of their tags.

    Raise NotPlainError unless every tag is well-formed and every element ends at its place.
    """
    ends: dict[str, str] = {}
    """The tag at the start of an element -> its end tag; empty if there is more to look at."""
    watched: set[str] = set()
    around: list[str] = []
    """The end tags of the open elements, without the innermost one."""
    rest = iter(tags)
    visited: list[Visited] = []

    def first(written: str) -> str:
        """Add a tag, and return its end tag."""
        if len(ends) == MAX_DISTINCT:
            raise NotPlainError
        tag = read_tag(written)
        if watches(tag):
            watched.add(written)
        ends[written] = end = "" if written in watched else tag.end
        return end

    def look(written: str, path: Sequence[str]) -> str:
        """Visit the element if its tag is watched. Return the end tag."""
        tag = read_tag(written)
        if written in watched:
            if len(visited) == MAX_VISITS:
                raise NotPlainError
            at = len(tags) - length_hint(rest) - 1
            if not tag.end:
                at = NO_TEXT
            elif tags[at + 1 : at + 2] != [tag.end]:
                at = HAS_ELEMENTS
            # One string for all paths with this name: shapes are remembered.
            visited.append((tag, tuple([intern(end[2:]) for end in path]), at))
        return tag.end

    root = next(rest)
    end = first(root) or look(root, ())
    if not end:
        raise NotPlainError
    known = ends.get
    for written in rest:
        if written == end:
            if not around:
                break
            end = around.pop()
            continue
        inner = known(written)
        if inner is None:
            inner = first(written)
        if inner or (inner := look(written, (*around, end))):
            around.append(end)
            end = inner
            if len(around) == MAX_OPEN:
                raise NotPlainError
    else:
        raise NotPlainError
    if length_hint(rest):
        raise NotPlainError
    return tuple(visited)


@lru_cache(maxsize=REMEMBERED)
def read_tag(written: str) -> Tag:
    """Parse a tag. Raises NotPlainError, which is not remembered."""
    found = _TAG.fullmatch(written) if len(written) <= MAX_TAG else None
    # `document` has another text where an attribute has a long value.
    if found is None or has_long_value(written.encode()):
        raise NotPlainError
    pairs = _ATTRIBUTE.findall(found[2])
    attributes = {name: value[1:-1] for name, value in pairs}
    if len(attributes) != len(pairs):
        raise NotPlainError
    return Tag(
        name=found[1],
        local=_local(found[1]),
        attributes=attributes,
        attribute_names=frozenset(map(_local, attributes)),
        end="" if found[3] else f"</{found[1]}",
    )


def _local(name: str) -> str:
    return name.rpartition(":")[2].lower()
