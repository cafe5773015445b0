"""XML that declares nothing: well-formed, without a document type, so without entities.

ConfigMgr's messages have no DTD (protocol.md §1.4), and without one there is no entity to expand
and no file to include (CWE-611, CWE-776). expat does the reading.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from xml.parsers import expat

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.limits import MAX_DEPTH

CHUNK_BYTES = 262_144
"""Bytes given to expat at a time: one call over tens of megabytes takes quadratic time in old
expat versions' buffer handling (0.47 s against 9 ms, measured)."""

MANY_TAGS = 20_000
"""Counting how deep elements are doubles the time of a parse, so it is counted where there could be
that many."""

StartElement = Callable[[str, Mapping[str, str]], None]
EndElement = Callable[[str], None]
Text = Callable[[str], None]


_ENCODINGS = frozenset((None, "utf-8", "utf-16"))
"""What an XML declaration may name: what the text was decoded from, or will be taken for."""


class _DocumentTypeError(Exception):
    """Raised inside expat to stop at the declaration."""


class DepthError(Exception):
    """Raised by a handler to stop at an element that is nested too deeply."""


class _EncodingError(Exception):
    """Raised inside expat to stop at the declaration of another encoding."""


def check_xml(
    utf8: bytes,
    where: str,
    start: StartElement | None = None,
    end: EndElement | None = None,
    text: Text | None = None,
    *,
    namespaces: bool = False,
) -> Deny | None:
    """Refuse bytes that are not well-formed XML or that have a document type declaration.

    The encoding is UTF-8 although the XML declaration may say UTF-16: the caller has decoded the
    text, and the declaration still names what it was decoded from. A declaration of anything else
    is refused, because a reader that believes it (UTF-7 ...) sees another document. The handlers
    are for readers; who gives one for starts sees to the depth. With `namespaces` a name is given
    as its namespace, a space and the local name.
    """
    if b"\0" in utf8:
        # Not a character of XML; and told UTF-8 or not, expat takes "<" and NUL for UTF-16.
        return Deny(Reason.XML, rules.DOCUMENT_XML.of(where), "a NUL")
    parser = expat.ParserCreate("utf-8", " " if namespaces else None)
    parser.XmlDeclHandler = _refuse_other_encoding
    parser.StartDoctypeDeclHandler = _refuse_document_type
    if utf8.count(b"<") > MANY_TAGS and start is None and end is None:
        start, end = _depth_counter()
    if start is not None:
        parser.StartElementHandler = start
    if end is not None:
        parser.EndElementHandler = end
    if text is not None:
        parser.CharacterDataHandler = text
        parser.buffer_text = True
    try:
        _parse(parser, utf8)
    except _DocumentTypeError:
        return Deny(Reason.XML_DTD, rules.DOCUMENT_DTD.of(where), "a document type declaration")
    except DepthError:
        return Deny(
            Reason.XML, rules.DOCUMENT_DEPTH.of(where), f"elements nested deeper than {MAX_DEPTH}"
        )
    except _EncodingError:
        return Deny(
            Reason.ENCODING,
            rules.DOCUMENT_ENCODING.of(where),
            "an XML declaration of another encoding",
        )
    except expat.ExpatError as error:
        problem = expat.ErrorString(error.code)
        # Messages are documents of one line, so the line alone would say nothing.
        place = f"line {error.lineno}, column {error.offset + 1}"
        return Deny(Reason.XML, rules.DOCUMENT_XML.of(where), f"{problem} at {place}")
    return None


def _parse(parser: expat.XMLParserType, utf8: bytes) -> None:
    for offset in range(0, len(utf8), CHUNK_BYTES):
        parser.Parse(utf8[offset : offset + CHUNK_BYTES], False)
    parser.Parse(b"", True)


def decode_utf16(raw: bytes, where: rules.Rule) -> str | Deny:
    """Text in UTF-16LE, as ConfigMgr's messages have it; a mark is left in it."""
    try:
        return raw.decode("utf-16-le")
    except UnicodeDecodeError:
        return Deny(Reason.ENCODING, where, "not UTF-16LE")


def read_xml(document: str, where: str) -> str | Deny:
    """What a reader of a document gets to see where that is not what stands in it, or the refusal.

    All character data, joined: `HEAD<b/>TAIL`, a reference, a comment or a CDATA section in the
    middle would hide a text from a reader of the document alone. And the values of attributes
    where there are references: without one, a value is what stands there.
    """
    texts: list[str] = []
    utf8 = document.encode()
    refusal = check_xml(utf8, where, text=texts.append)
    if refusal is not None:
        return refusal
    return "".join(texts) + attribute_values(utf8)


_SAYS_UTF_16 = re.compile(r"""(^<\?xml[^>]*?)\sencoding=["']utf-16(le)?["']""", re.IGNORECASE)


def decode_xml(body: bytes) -> str | None:
    """XML that may be UTF-16, as Windows writes it (with or without a mark), or UTF-8; or None."""
    encoding = "utf-8-sig"
    if body.startswith(b"\xff\xfe") or body[1:2] == b"\0":
        encoding = "utf-16-le"
    try:
        text = body.decode(encoding).removeprefix("\ufeff").rstrip("\0")
    except UnicodeDecodeError:
        return None
    # A declaration of UTF-16 would be refused in what is now UTF-8, and says nothing new.
    return _SAYS_UTF_16.sub(r"\1", text)


def attribute_values(utf8: bytes) -> str:
    """A line for each value of a document that `check_xml` has accepted, if there are references.

    Empty where there is no `&`.
    """
    if b"&" not in utf8:
        return ""
    values: list[str] = [""]
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = lambda _name, found: values.extend(found.values())
    _parse(parser, utf8)
    return "\n".join(values)


def _depth_counter() -> tuple[StartElement, EndElement]:
    depth = 0

    def start(_name: str, _attributes: Mapping[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise DepthError

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    return start, end


def _refuse_document_type(*_: object) -> None:
    raise _DocumentTypeError


def _refuse_other_encoding(_version: str, encoding: str | None, _standalone: int) -> None:
    if (encoding.lower() if encoding else None) not in _ENCODINGS:
        raise _EncodingError
