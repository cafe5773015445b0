"""A SOAP request: its head and its body, which is parsed once.

SOAP 1.1 has media type text/xml and the action in the field SOAPAction, in quotes (section 6.1.1).
SOAP 1.2 has application/soap+xml and the action as its parameter (RFC 3902). The web services of a
software update point support both ([MS-WUSP] section 6 has bindings for both).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.limits import (
    MAX_NAMES,
    MAX_SOAP_DEPTH,
    MAX_SOAP_ELEMENTS,
    MAX_SOAP_PIECES,
)
from ibcm_bridge.messages.soap_fields import COOKIES, TEXTS, SoapField
from ibcm_bridge.messages.xml import UTF_8, EndElement, StartElement, check_xml

SOAP_1_1 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP_1_2 = "http://www.w3.org/2003/05/soap-envelope"

SHARED = "http://www.microsoft.com/SoftwareDistribution"
"""[MS-WUSP] section 2.2.3: the namespace of the types that all web services share."""


@dataclass(frozen=True, slots=True)
class SoapType:
    """A parsed Content-Type."""

    envelope: str
    """The required namespace of the Envelope."""
    action: str | None
    """SOAP 1.2 only."""


_ENVELOPES = {b"text/xml": SOAP_1_1, b"application/soap+xml": SOAP_1_2}
_PARAMETERS = {SOAP_1_1: {b"charset"}, SOAP_1_2: {b"charset", b"action"}}
_PARAMETER = re.compile(rb'\s*([A-Za-z]+)=("[!#-\[\]-~]*"|[!#-\'*+.0-9A-Z^_`a-z|~-]+)\s*')
"""RFC 9110 section 5.6.6, without escapes and spaces, which no URI has."""


def read_soap_type(content_type: bytes) -> SoapType | None:
    """Parse a Content-Type; None for another media type or an unknown parameter.

    The parameters are action and charset=utf-8, each at most once. Another charset is refused,
    because a parser that uses it would read another document.
    """
    media_type, *pieces = content_type.split(b";")
    envelope = _ENVELOPES.get(media_type.strip().lower())
    if envelope is None:
        return None
    found: dict[bytes, bytes] = {}
    for piece in pieces:
        match = _PARAMETER.fullmatch(piece)
        name = match[1].lower() if match else b""
        if match is None or name in found or name not in _PARAMETERS[envelope]:
            return None
        found[name] = match[2].strip(b'"')
    if found.get(b"charset", b"utf-8").lower() != b"utf-8":
        return None
    action = found.get(b"action")
    return SoapType(envelope, None if action is None else action.decode("ascii"))


_QUOTED = re.compile(rb'"([!#-~]*)"')


def read_action(soap_type: SoapType, fields: Sequence[bytes], where: str) -> str | Deny:
    """The action in the head; `fields` are the values of SOAPAction."""
    quoted = [_QUOTED.fullmatch(value) for value in fields]
    actions: set[str | None] = {soap_type.action} if soap_type.action is not None else set()
    actions |= {match[1].decode("ascii") if match else None for match in quoted}
    if len(fields) > 1 or None in actions:
        return Deny(
            Reason.SOAP_ACTION,
            rules.DOCUMENT_ACTION.of(where),
            "several SOAPAction fields, or one without quotes",
        )
    if soap_type.envelope == SOAP_1_2 and soap_type.action is None:
        # RFC 3902 makes it optional; without it, servers differ in how they find the operation.
        return Deny(
            Reason.SOAP_ACTION, rules.DOCUMENT_ACTION.of(where), "no action in the Content-Type"
        )
    if len(actions) != 1:
        what = (
            "no SOAPAction" if not actions else "SOAPAction and Content-Type name different actions"
        )
        return Deny(Reason.SOAP_ACTION, rules.DOCUMENT_ACTION.of(where), what)
    return actions.pop() or ""


@dataclass(frozen=True, slots=True)
class SoapRequest:
    """A parsed body."""

    namespace: str
    operation: str
    parsed_text: str
    """All character data, joined, and all attribute values."""
    fields: tuple[SoapField, ...] = ()
    """Cookies, and the texts of reported events."""
    events: int = 0

    @property
    def action(self) -> str:
        """The SOAP action that corresponds to the body ([MS-WUSP] section 6)."""
        return f"{self.namespace}/{self.operation}"


def read_soap(text: str, where: str, envelope: str) -> SoapRequest | Deny:
    """Parse an Envelope of that namespace: one Body with one element, and nothing else."""
    utf8 = text.encode()
    if utf8.count(b"\n") + utf8.count(b"&") > MAX_SOAP_PIECES:
        return Deny(
            Reason.XML, rules.DOCUMENT_LIMITS.of(where), "too many lines and character references"
        )
    found = _Found(envelope)
    start, end = found.handlers()
    try:
        refusal = check_xml(
            utf8,
            where,
            start,
            end,
            found.texts.append,
            namespaces=True,
            encodings=UTF_8,
            max_elements=MAX_SOAP_ELEMENTS,
        )
    except _ShapeError as error:
        return Deny(Reason.SOAP_ENVELOPE, rules.DOCUMENT_ENVELOPE.of(where), str(error))
    if refusal is not None:
        return refusal
    if not found.operation:
        return Deny(
            Reason.SOAP_ENVELOPE, rules.DOCUMENT_ENVELOPE.of(where), "a Body without an element"
        )
    namespace, _, operation = found.operation.rpartition(" ")
    parsed_text = "".join(found.texts) + "\n".join(found.attributes)
    return SoapRequest(namespace, operation, parsed_text, tuple(found.fields), found.events)


_OPERATION, _BATCH = 2, 3
"""Depths: Envelope 0, Body 1, operation 2, eventBatch 3."""


_REFUSED_ATTRIBUTES = frozenset(("type", "href", "encodingstyle"))
"""In lower case, with any namespace. A server that decodes SOAP's encoding (SOAP 1.1 section 5)
would make another type of an element (xsi:type), or read another element in its place (href).
Clients send none of them; driver scans send xsi:nil, and some reports soapenc:arrayType."""


class _ShapeError(Exception):
    """The document is not a valid request."""


@dataclass(slots=True)
class _Found:
    """The values collected from expat's events. Names are namespace, space, local name."""

    envelope: str
    operation: str = ""
    bodies: int = 0
    texts: list[str] = field(default_factory=list)
    attributes: list[str] = field(default_factory=lambda: [""])
    names: dict[str, str] = field(default_factory=dict)
    """Names below the operation -> local names in lower case."""
    fields: list[SoapField] = field(default_factory=list)
    events: int = 0

    def handlers(self) -> tuple[StartElement, EndElement]:
        """expat's handlers. They are functions, not methods: they dominate the parsing time."""
        names, texts = self.names, self.texts
        path: list[tuple[str, int]] = []
        """Names of the open elements, and the index of the first text of each."""
        last_opened = after = 0

        def start(written: str, attributes: Mapping[str, str]) -> None:
            nonlocal last_opened
            depth = len(path)
            if depth == MAX_SOAP_DEPTH:
                raise _ShapeError(f"elements nested deeper than {MAX_SOAP_DEPTH}")
            if depth < _OPERATION + 1:
                self._open(depth, written)
                self._no_text(0)
                name = ""
            else:
                name = names.get(written) or self._name(written)
                if depth == _BATCH + 1 and path[_BATCH][0] == "eventbatch":
                    self.events += 1
            path.append((name, len(texts)))
            last_opened = len(path)
            if attributes:
                for attribute in attributes:
                    if attribute.rpartition(" ")[2].lower() in _REFUSED_ATTRIBUTES:
                        raise _ShapeError("an attribute that changes the meaning of an element")
                self.attributes += attributes.values()

        def end(_written: str) -> None:
            nonlocal after
            name, begin = path.pop()
            if len(path) < _OPERATION:
                self._no_text(after)
            elif len(path) == _OPERATION:
                after = len(texts)
            depth = len(path)
            has_elements = last_opened != depth + 1
            in_event = self.events and depth > _BATCH and path[_BATCH][0] == "eventbatch"
            if name in COOKIES or (in_event and (name in TEXTS or not has_elements)):
                text = "".join(texts[begin:])
                self.fields.append(SoapField(name, path[-1][0], text, has_elements))

        return start, end

    def _open(self, depth: int, written: str) -> None:
        """Check an element of the envelope, or the operation."""
        if depth == 0 and written != f"{self.envelope} Envelope":
            raise _ShapeError("the root is not an Envelope of the Content-Type's SOAP version")
        if depth == 1:
            # [MS-WUSP] section 2.2: there is no Header.
            self.bodies += 1
            if written != f"{self.envelope} Body" or self.bodies > 1:
                raise _ShapeError("the Envelope has other elements than one Body")
        if depth == 2:
            if self.operation:
                raise _ShapeError("more than one element in the Body")
            self.operation = written

    def _no_text(self, begin: int) -> None:
        """Refuse text beside the Body and the operation."""
        if "".join(self.texts[begin:]).strip(" \t\r\n"):
            raise _ShapeError("text beside the Body or its element")

    def _name(self, written: str) -> str:
        """Add a new name below the operation."""
        namespace, _, local = written.rpartition(" ")
        if namespace not in (self.operation.rpartition(" ")[0], SHARED):
            raise _ShapeError("an element in another namespace than the operation")
        if len(self.names) == MAX_NAMES:
            raise _ShapeError(f"more than {MAX_NAMES} element names")
        name = self.names[written] = local.lower()
        return name
