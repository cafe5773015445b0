"""Changes to XML that leave most of it well-formed: bytes changed at random seldom do."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

_TAG = re.compile(rb"<[A-Za-z/][^<>]*>")
_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_]*")
_ELEMENT = re.compile(rb"<([\w:]+)[^<>]*>[^<>]*</\1>|<[\w:]+[^<>]*/>")
_ATTRIBUTE = re.compile(rb""" ([\w:]+)=("[^"<>]*"|'[^'<>]*')""")
_TEXT = re.compile(rb"(?<=>)[^<>]*(?=<)")


def mutated(data: bytes, random: Random) -> bytes:
    """One change."""
    return random.choice(_CHANGES)(data, random)


def _one(pattern: re.Pattern[bytes], data: bytes, random: Random) -> re.Match[bytes] | None:
    found = list(pattern.finditer(data))
    return random.choice(found) if found else None


def _with(data: bytes, begin: int, end: int, instead: bytes) -> bytes:
    return data[:begin] + instead + data[end:]


def _element_again(data: bytes, random: Random) -> bytes:
    """Beside it, or wherever a tag ends."""
    element, place = _one(_ELEMENT, data, random), _one(_TAG, data, random)
    if element is None or place is None:
        return data
    return _with(data, place.end(), place.end(), element[0])


def _no_element(data: bytes, random: Random) -> bytes:
    element = _one(_ELEMENT, data, random)
    return _with(data, *element.span(), b"") if element else data


def _another_attribute(data: bytes, random: Random) -> bytes:
    """One that stands somewhere, in another element."""
    attribute, tag = _one(_ATTRIBUTE, data, random), _one(_TAG, data, random)
    if attribute is None or tag is None or tag[0].startswith(b"</"):
        return data
    name = _spelt(attribute[1], random)
    at = tag.end() - (2 if tag[0].endswith(b"/>") else 1)
    return _with(data, at, at, b" %b=%b" % (name, attribute[2]))


def _another_spelling(data: bytes, random: Random) -> bytes:
    """Of a name, wherever it stands."""
    name = _one(_NAME, data, random)
    if name is None:
        return data
    spelt = _spelt(name[0], random)
    whole = re.compile(rb"(?<=[</ ])%b(?=[ />=])" % re.escape(name[0]))
    return (
        whole.sub(lambda _: spelt, data)
        if random.random() < 0.5
        else _with(data, *name.span(), spelt)
    )


def _spelt(name: bytes, random: Random) -> bytes:
    local = name.rpartition(b":")[2]
    return random.choice((name, local.lower(), local.upper(), local.swapcase(), b"x:" + local))


def _another_text(data: bytes, random: Random) -> bytes:
    """The text of another element, or one written otherwise."""
    here, there = _one(_TEXT, data, random), _one(_TEXT, data, random)
    if here is None or there is None:
        return data
    text = random.choice((there[0], here[0] + there[0], b""))
    forms = (b"%b", b"<![CDATA[%b]]>", b"<!-- %b -->", b"<b>%b</b>", b"<?x %b?>", b"&#32;%b")
    return _with(data, *here.span(), random.choice(forms) % text)


_CHANGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    _element_again,
    _no_element,
    _another_attribute,
    _another_spelling,
    _another_text,
)
