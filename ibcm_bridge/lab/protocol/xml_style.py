"""How a client writes its XML: a document may look otherwise and say the same.

Microsoft's messaging SDK writes as `SDK` has it; other clients write the same documents in other
ways (protocol.md 1.3 to 1.5 and 3). A client of the lab has an `XmlStyle` for all its
messages. The stand-ins read each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

DECLARATION = '<?xml version="1.0" encoding="utf-16"?>'
"""As .NET writes it into a text (RequireXmlHeader, 1.3; the name of the encoding is inferred)."""

_SCHEMA = "http://www.w3.org/2001/XMLSchema"


class Empty(StrEnum):
    """How an element ends in which nothing stands."""

    SPACED = " />"
    TIGHT = "/>"
    CLOSED = "></>"
    """With its name in the end tag."""


@dataclass(frozen=True)
class XmlStyle:
    """A way to write a document; what is left as it is here is as the SDK writes it."""

    declaration: str = DECLARATION
    """Before a document, not before the header of a message."""
    empty: Empty = Empty.SPACED
    without_empty: bool = False
    """Whether elements in which nothing stands are left out."""
    order: int | None = None
    """Of children and of attributes: any, by this seed, or as they are (1.4: senders differ)."""
    lines: bool = False
    """Whether each element begins a line."""
    quote: str = '"'
    namespaces: bool = False
    """Whether the root declares those that .NET's XmlSerializer declares by itself (inferred)."""
    property_text: bool = False
    """Whether the value of each Property is its text, as in hooks (1.5), and no attribute (1.4)."""
    cdata: bool = False
    """Whether text stands in CDATA sections (1.5, Token)."""
    trailing_crlf: bool = True
    """Whether two bytes more are compressed after the document (1.3)."""

    def document(self, xml: str) -> str:
        """A document, written so."""
        return self.declaration + self.element(xml)

    def element(self, xml: str) -> str:
        """The same without a declaration."""
        if replace(self, declaration="", trailing_crlf=True) == PLAIN:
            return xml
        root = ET.fromstring(xml)
        if self.namespaces:
            root.set("xmlns:xsi", f"{_SCHEMA}-instance")
            root.set("xmlns:xsd", _SCHEMA)
        random = None if self.order is None else Random(self.order)
        return "".join(self._written(root, "\r\n" if self.lines else "", random))

    def _written(self, one: ET.Element, begin: str, random: Random | None) -> Iterator[str]:
        attributes, text = dict(one.items()), one.text or ""
        children = [child for child in one if not (self.without_empty and _is_empty(child))]
        if self.property_text and one.tag == "Property":
            text = text or attributes.pop("Value", "")
        if random is not None:
            attributes = dict(random.sample([*attributes.items()], len(attributes)))
            random.shuffle(children)
        yield f"<{one.tag}{''.join(self._attribute(*pair) for pair in attributes.items())}"
        if not (children or text):
            yield f"></{one.tag}>" if self.empty is Empty.CLOSED else self.empty
            return
        yield f">{self._text(text)}"
        for child in children:
            yield f"{begin}  " if begin else ""
            yield from self._written(child, f"{begin}  " if begin else "", random)
        yield f"{begin if children else ''}</{one.tag}>"

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
    "the SDK's": SDK,
    "no declaration": PLAIN,
    "a declaration that names no encoding": XmlStyle(declaration="<?xml version='1.0'?>\r\n"),
    "a declaration in capitals": XmlStyle(
        declaration='<?xml version="1.0" encoding="UTF-16" standalone="yes"?>\n'
    ),
    "no blank in empty elements": XmlStyle(empty=Empty.TIGHT),
    "empty elements with an end": XmlStyle(empty=Empty.CLOSED),
    "no empty elements": XmlStyle(without_empty=True),
    "another order": XmlStyle(order=1),
    "lines": XmlStyle(lines=True),
    "single quotes": XmlStyle(quote="'"),
    "declared namespaces": XmlStyle(namespaces=True),
    "values of properties as text": XmlStyle(property_text=True),
    "CDATA": XmlStyle(cdata=True),
    "no CRLF": XmlStyle(trailing_crlf=False),
    "all at once": XmlStyle(
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
"""Each thing that differs, by itself."""


def _is_empty(element: ET.Element) -> bool:
    return not any(child.attrib or (child.text or "").strip() for child in element.iter())
