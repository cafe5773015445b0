"""A document of a ConfigMgr message, parsed once for everything that is asked about it.

What a reader gets to see, which elements there are, and the few values by which a message is judged
(`Place`): whose it is, what it registers. A management point may look for those in other ways than
we do, so each place yields every value that stands there, whatever the case of its names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ibcm_bridge.decisions import Deny, Reason
from ibcm_bridge.messages.limits import MAX_DEPTH, MAX_NAMES, MAX_VALUE, MAX_VALUES
from ibcm_bridge.messages.xml import DepthError, check_xml


class Place(StrEnum):
    """Where a value stands; an attribute has an @ before it."""

    CLIENT_ID = "Machine/ClientID"
    """protocol.md §3.2, §3.5: the client GUID in requests for policy and in reports."""
    SMSID = "Data/@SMSID"
    """§3.1: of a client that registers once more."""
    AGENT_TYPE = "AgentInformation/@AgentType"
    RESOURCE_TYPE = "Resource/@ResourceType"
    SIGNING = "Certificates/Signing"
    """§3.1: the certificate, in hexadecimal, whose key signs this client's messages."""
    SIGNATURE_VALUE = "Signature/SignatureValue"


_BELOW = {
    place.partition("/")[2].lower(): (place.partition("/")[0].lower(), place)
    for place in Place
    if "@" not in place
}
"""Element -> the one it stands in, and the place."""

_ATTRIBUTES = {
    place.partition("/@")[0].lower(): (place.partition("/@")[2].lower(), place)
    for place in Place
    if "@" in place
}
"""Element -> its attribute, and the place."""


_ELEMENT = re.compile(r"<(?:[^\s<>/:]{1,64}:)?([A-Za-z_][\w.-]{0,63})")


@dataclass(frozen=True, slots=True)
class Document:
    """One XML document, as text and as read."""

    text: str
    root: str
    """Its local name."""
    elements: frozenset[str]
    """Local names of all elements, in lower case; also of what only looks like one in the text.

    A text may be a document for whoever gets it next.
    """
    as_read: str
    """All character data, joined, and the values of attributes where there are references.

    `HEAD<b/>TAIL`, a reference, a comment or a CDATA section in the middle would hide a text from
    whoever only looks at the document.
    """
    values: Mapping[Place, tuple[str, ...]]

    def at(self, place: Place) -> tuple[str, ...]:
        """What stands at a place, each value once."""
        return self.values.get(place, ())


def read_document(text: str, where: str) -> Document | Deny:
    """Read an XML document that has no document type."""
    utf8 = text.encode()
    reader = _Reader(references=b"&" in utf8)
    try:
        refusal = check_xml(utf8, where, reader.start, reader.end, reader.text)
    except _TooMuchError as error:
        return Deny(Reason.XML, f"{where}.limits", str(error))
    if refusal is not None:
        return refusal
    as_read = "".join(reader.texts) + "\n".join(reader.attributes)
    quoted = map(str.lower, _ELEMENT.findall(as_read)) if "<" in as_read else ()
    return Document(
        text=text,
        root=reader.root,
        elements=frozenset((*reader.elements, *quoted)),
        as_read=as_read,
        values={place: tuple(found) for place, found in reader.values.items()},
    )


class _TooMuchError(Exception):
    """More names or values than any message has."""


class _Reader:
    """What expat's events leave behind."""

    def __init__(self, *, references: bool) -> None:
        self.root = ""
        self.elements: set[str] = set()
        self.texts: list[str] = []
        self.attributes: list[str] = [""] if references else []
        self.values: dict[Place, dict[str, None]] = {}
        self._references = references
        self._path: list[str] = []
        self._open: list[tuple[int, int, Place]] = []
        """Depth of an element whose text is wanted, where its text begins, and its place."""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        local = name.rpartition(":")[2] if ":" in name else name
        path = self._path
        if not path:
            self.root = local
        local = local.lower()
        if len(path) == MAX_DEPTH:
            raise DepthError
        if local not in self.elements:
            if len(self.elements) == MAX_NAMES:
                raise _TooMuchError(f"more than {MAX_NAMES} names of elements")
            self.elements.add(local)
        below = _BELOW.get(local)
        if below is not None and path and path[-1] == below[0]:
            self._open.append((len(path), len(self.texts), below[1]))
        path.append(local)
        if attributes:
            if self._references:
                self.attributes += attributes.values()
            wanted = _ATTRIBUTES.get(local)
            if wanted is not None:
                for attribute, value in attributes.items():
                    if attribute.rpartition(":")[2].lower() == wanted[0]:
                        self._keep(wanted[1], value)

    def end(self, _name: str) -> None:
        self._path.pop()
        if self._open and self._open[-1][0] == len(self._path):
            _, begin, place = self._open.pop()
            self._keep(place, "".join(self.texts[begin:]))

    def text(self, text: str) -> None:
        self.texts.append(text)

    def _keep(self, place: Place, value: str) -> None:
        found = self.values.setdefault(place, {})
        found[value] = None
        if len(found) > MAX_VALUES or len(value) > MAX_VALUE:
            raise _TooMuchError(f"too much at {place}")
