"""The XML styles of clients: different texts of the same document.

Microsoft's messaging SDK writes the style `SDK`; other clients write the same documents differently
(protocol.md 1.3 to 1.5 and 3). A client of the lab uses one `XmlStyle` for all its messages. The
simulated site systems accept each style.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

DECLARATION = '<?xml version="1.0" encoding="utf-16"?>'
"""The XML declaration of .NET (RequireXmlHeader, 1.3; the name of the encoding is inferred)."""

_SCHEMA = "http://www.w3.org/2001/XMLSchema"


class Empty(StrEnum):
    """The end of an empty element."""

    SPACED = " />"
    TIGHT = "/>"
    CLOSED = "></>"
    """With an end tag."""


@dataclass(frozen=True)
class XmlStyle:
    """A style of XML. The defaults are those of the SDK."""

    declaration: str = DECLARATION
    """Precedes a document, not the header of a message."""
    empty: Empty = Empty.SPACED
    without_empty: bool = False
    """True if empty elements are omitted."""
    order: int | None = None
    """Seed for a random order of children and attributes; None keeps it (1.4: senders differ)."""
    lines: bool = False
    """True if each element begins a line."""
    quote: str = '"'
    namespaces: bool = False
    """True if the root has the namespace declarations of .NET's XmlSerializer (inferred)."""
    property_text: bool = False
    """True if the value of a Property is its text, as in hooks (1.5), not an attribute (1.4)."""
    cdata: bool = False
    """True if text is in CDATA sections (1.5, Token)."""
    trailing_crlf: bool = True
    """True if CR LF follows the document before compression (1.3)."""

    def document(self, xml: str) -> str:
        """Return a document in this style, with a declaration."""
        return self.declaration + self.element(xml)

    def element(self, xml: str) -> str:
        """Return a document in this style, without a declaration."""
        if replace(self, declaration="", trailing_crlf=True) == PLAIN:
            return xml
        root = ET.fromstring(xml)
        if self.namespaces:
            root.set("xmlns:xsi", f"{_SCHEMA}-instance")
            root.set("xmlns:xsd", _SCHEMA)
        random = None if self.order is None else Random(self.order)
        return "".join(self._written(root, "\r\n" if self.lines else "", random))

    def _written(self, element: ET.Element, begin: str, random: Random | None) -> Iterator[str]:
        attributes, text = dict(element.items()), element.text or ""
        children = [child for child in element if not (self.without_empty and _is_empty(child))]
        if self.property_text and element.tag == "Property":
            text = text or attributes.pop("Value", "")
        if random is not None:
            attributes = dict(random.sample([*attributes.items()], len(attributes)))
            random.shuffle(children)
        yield f"<{element.tag}{''.join(self._attribute(*pair) for pair in attributes.items())}"
        if not (children or text):
            yield f"></{element.tag}>" if self.empty is Empty.CLOSED else self.empty
            return
        yield f">{self._text(text)}"
        for child in children:
            yield f"{begin}  " if begin else ""
            yield from self._written(child, f"{begin}  " if begin else "", random)
        yield f"{begin if children else ''}</{element.tag}>"

    def _attribute(self, name: str, value: str) -> str:
        entity = {'"': "&quot;", "'": "&apos;"}[self.quote]
        return f" {name}={self.quote}{escape(value, {self.quote: entity})}{self.quote}"

    def _text(self, text: str) -> str:
        if self.cdata and text and "]]>" not in text:
            return f"<![CDATA[{text}]]>"
        return escape(text)


SDK = XmlStyle()
PLAIN = XmlStyle(declaration="")

STYLES = {
    "SDK": SDK,
    "no declaration": PLAIN,
    "declaration without encoding": XmlStyle(declaration="<?xml version='1.0'?>\r\n"),
    "declaration in upper case": XmlStyle(
        declaration='<?xml version="1.0" encoding="UTF-16" standalone="yes"?>\n'
    ),
    "no space in empty elements": XmlStyle(empty=Empty.TIGHT),
    "empty elements with end tag": XmlStyle(empty=Empty.CLOSED),
    "no empty elements": XmlStyle(without_empty=True),
    "random order": XmlStyle(order=1),
    "lines": XmlStyle(lines=True),
    "single quotes": XmlStyle(quote="'"),
    "declared namespaces": XmlStyle(namespaces=True),
    "property values as text": XmlStyle(property_text=True),
    "CDATA": XmlStyle(cdata=True),
    "no CRLF": XmlStyle(trailing_crlf=False),
    "all variants": XmlStyle(
        declaration="<?xml version='1.0' encoding='utf-16'?>",
        empty=Empty.CLOSED,
        order=2,
        lines=True,
        quote="'",
        namespaces=True,
        property_text=True,
        cdata=True,
        trailing_crlf=False,
    ),
}
"""The known or likely variants, each separately, and all together."""


def _is_empty(element: ET.Element) -> bool:
    return not any(child.attrib or (child.text or "").strip() for child in element.iter())
