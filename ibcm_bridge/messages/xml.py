"""XML parsing with expat: well-formed documents without a document type declaration.

ConfigMgr messages have no DTD (protocol.md §1.4). Without one, there are no entities to expand and
no files to include (CWE-611, CWE-776).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping, Set
from xml.parsers import expat

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.limits import MAX_DEPTH, MAX_NAMES

CHUNK_BYTES = 65_536
"""Bytes per call of expat: in old expat versions, one call with tens of megabytes takes quadratic
time (0.47 s instead of 9 ms, measured)."""

MANY_TAGS = 20_000
"""Counting the depth doubles the parsing time, so it is only done for documents with more tags.
Fewer use little memory."""

FREE_ELEMENTS = 20_000
BYTES_PER_ELEMENT = 28
"""Elements and tags in CDATA that any document may have, and one more for each so many bytes of it.
More is refused, because 16 MB of `<b/>` take fifteen times as long as text. A large inventory has
one for 40 bytes. Parsing two attributes takes as long as one element."""

MAX_TAG = 262_144
"""Bytes of one tag. The largest value of an attribute is a certificate (`limits.MAX_VALUE`)."""

StartElement = Callable[[str, Mapping[str, str]], None]
EndElement = Callable[[str], None]
Text = Callable[[str], None]


_ENCODINGS = frozenset((None, "utf-8", "utf-16"))
"""The allowed encodings in an XML declaration: the original encoding, or UTF-8."""

UTF_8 = frozenset((None, "utf-8"))
"""The allowed encodings for a body that must be in UTF-8: a server may believe the declaration."""


class _DocumentTypeError(Exception):
    """The document has a document type declaration."""


class DepthError(Exception):
    """Elements are nested too deeply; for handlers to raise."""


class TooMuchError(Exception):
    """A document has more names or values than any legitimate message; for handlers to raise."""


class _MarkupError(Exception):
    """There is more markup than messages of that size have."""


class _EncodingError(Exception):
    """The XML declaration has another encoding."""


def check_xml(
    utf8: bytes,
    where: str,
    start: StartElement | None = None,
    end: EndElement | None = None,
    text: Text | None = None,
    *,
    other: Callable[..., None] | None = None,
    namespaces: bool = False,
    encodings: Set[str | None] = _ENCODINGS,
    max_elements: int | None = None,
) -> Deny | None:
    """Refuse bytes that are not well-formed XML or that have a document type declaration.

    The encoding is UTF-8, although the XML declaration may have UTF-16, the original encoding of
    the text that the caller decoded. Another encoding is refused, because a parser that uses it
    (UTF-7 ...) reads another document. A caller with a `start` handler must limit the depth itself.
    With `namespaces`, a name is its namespace, a space and the local name. `max_elements` replaces
    the limit by the size. `other` receives comments and processing instructions. `encodings` are
    those that the XML declaration may name.
    """
    if b"\0" in utf8:
        # XML does not allow NUL. Also, expat detects UTF-16 from "<" and NUL, even if the encoding
        # is given as UTF-8.
        return Deny(Reason.XML, rules.DOCUMENT_XML.of(where), "a NUL")
    parser = expat.ParserCreate("utf-8", " " if namespaces else None)
    parser.XmlDeclHandler = _encoding_check(encodings)
    parser.StartDoctypeDeclHandler = _refuse_document_type
    tags = utf8.count(b"<")
    if tags > MANY_TAGS and start is None and end is None:
        start, end = _depth_counter()
    most = max_elements or most_elements(len(utf8))
    # Tags in CDATA count too; a count in a handler would take time.
    elements = tags - utf8.count(b"</") if tags > most else tags
    if elements > most:
        return _too_much(where)
    attributes = utf8.count(b"=")
    if attributes > FREE_ELEMENTS or elements + attributes // 2 > most:
        start = _attribute_counter(start, 2 * most)
    _set_handlers(parser, start, end, text, other)
    try:
        _parse(parser, utf8)
    except _DocumentTypeError:
        return Deny(Reason.XML_DTD, rules.DOCUMENT_DTD.of(where), "a document type declaration")
    except DepthError:
        return Deny(
            Reason.XML, rules.DOCUMENT_DEPTH.of(where), f"elements nested deeper than {MAX_DEPTH}"
        )
    except _MarkupError:
        return _too_much(where)
    except _EncodingError:
        return Deny(
            Reason.ENCODING,
            rules.DOCUMENT_ENCODING.of(where),
            "the XML declaration has another encoding",
        )
    except expat.ExpatError as error:
        problem = expat.ErrorString(error.code)
        # Messages have only one line, so the line alone is not enough.
        place = f"line {error.lineno}, column {error.offset + 1}"
        return Deny(Reason.XML, rules.DOCUMENT_XML.of(where), f"{problem} at {place}")
    return None


def _set_handlers(
    parser: expat.XMLParserType,
    start: StartElement | None,
    end: EndElement | None,
    text: Text | None,
    other: Callable[..., None] | None,
) -> None:
    if start is not None:
        parser.StartElementHandler = start
    if end is not None:
        parser.EndElementHandler = end
    if other is not None:
        parser.CommentHandler = parser.ProcessingInstructionHandler = other
    if text is not None:
        parser.CharacterDataHandler = text
        parser.buffer_text = True


def most_elements(size: int) -> int:
    """The limit for the elements of a document of `size` bytes."""
    return FREE_ELEMENTS + size // BYTES_PER_ELEMENT


def _too_much(where: str) -> Deny:
    detail = "too many elements or attributes for its size"
    return Deny(Reason.XML, rules.DOCUMENT_LIMITS.of(where), detail)


def _parse(parser: expat.XMLParserType, utf8: bytes) -> None:
    for offset in range(0, len(utf8), CHUNK_BYTES):
        parser.Parse(utf8[offset : offset + CHUNK_BYTES], False)
        if offset - parser.CurrentByteIndex > MAX_TAG:
            raise _MarkupError
    parser.Parse(b"", True)


def decode_utf16(raw: bytes, where: rules.Rule) -> str | Deny:
    """Decode UTF-16LE, the encoding of ConfigMgr messages; a byte order mark is kept."""
    try:
        # As bytes.decode, which looks for the codec each time.
        return codecs.utf_16_le_decode(raw, "strict", True)[0]
    except UnicodeDecodeError:
        return Deny(Reason.ENCODING, where, "not UTF-16LE")


def read_xml(document: str, where: str, encodings: Set[str | None] = _ENCODINGS) -> str | Deny:
    """Return the text that an XML parser returns for a document, or the refusal.

    It has all character data, joined. Without it, `HEAD<b/>TAIL`, a reference, a comment or a CDATA
    section inside a text would hide the text from a scan of the document. It has the attribute
    values if the document has references; otherwise they are the same in the document.
    """
    texts: list[str] = []
    utf8 = document.encode()
    refusal = check_xml(utf8, where, text=texts.append, encodings=encodings)
    if refusal is not None:
        return refusal
    return "".join(texts) + attribute_values(utf8)


_SAYS_UTF_16 = re.compile(r"""(^<\?xml[^>]{0,256}?)\sencoding=["']utf-16(le)?["']""", re.IGNORECASE)


def decode_xml(body: bytes) -> str | None:
    """Decode XML in UTF-8 or in UTF-16LE, with or without a byte order mark; None if neither."""
    encoding = "utf-8-sig"
    if body.startswith(b"\xff\xfe") or body[1:2] == b"\0":
        encoding = "utf-16-le"
    try:
        text = body.decode(encoding).removeprefix("\ufeff").rstrip("\0")
    except UnicodeDecodeError:
        return None
    # The text is no longer UTF-16, and `check_xml` would refuse a declaration of UTF-16LE.
    return _SAYS_UTF_16.sub(r"\1", text)


def attribute_values(utf8: bytes) -> str:
    """The attribute values of a document that `check_xml` accepted, one per line.

    Empty if the document has no references (`&`).
    """
    if b"&" not in utf8:
        return ""
    values: list[str] = [""]
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = lambda _name, found: values.extend(found.values())
    _parse(parser, utf8)
    return "\n".join(values)


def separate_texts(utf8: bytes) -> bytes:
    """The text of each element, and each attribute value, of a document that `check_xml` accepted.

    A space or markup separates them. A document in which no comment, CDATA section, instruction or
    reference can split a text is returned as it is.
    """
    if not any(map(utf8.removeprefix(b"<?").__contains__, (b"&", b"<!", b"<?"))):
        return utf8
    texts: list[str] = []

    def start(_name: str, attributes: Mapping[str, str]) -> None:
        texts.append(" ")
        texts.extend(f"{value} " for value in attributes.values())

    parser = expat.ParserCreate("utf-8")
    _set_handlers(parser, start, lambda _name: texts.append(" "), texts.append, None)
    _parse(parser, utf8)
    return "".join(texts).encode()


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


def _attribute_counter(start: StartElement | None, most: int) -> StartElement:
    """A handler that counts attributes, and twice the elements, before it calls `start`."""
    markup = 0
    names: set[str] = set()

    def counting(name: str, attributes: Mapping[str, str]) -> None:
        nonlocal markup
        markup += 2 + len(attributes)
        names.update(attributes)
        if markup > most or len(names) > MAX_NAMES:
            raise _MarkupError
        if start is not None:
            start(name, attributes)

    return counting


def _refuse_document_type(*_: object) -> None:
    raise _DocumentTypeError


def _encoding_check(allowed: Set[str | None]) -> Callable[[str, str | None, int], None]:
    def check(_version: str, encoding: str | None, _standalone: int) -> None:
        if (encoding.lower() if encoding else None) not in allowed:
            raise _EncodingError

    return check
