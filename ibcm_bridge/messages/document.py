"""A document of a ConfigMgr message, parsed once for everything that is asked about it.

What a reader gets to see, which elements there are, and the few values by which a message is judged
(`Place`): whose it is, what it registers. A management point may look for those in other ways than
we do, so each place yields every value that stands there, whatever the case of its names. Of the
elements that may name somebody (`SubjectElement`) it is known whether they do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.limits import MAX_DEPTH, MAX_NAMES, MAX_VALUE, MAX_VALUES
from ibcm_bridge.messages.xml import DepthError, EndElement, StartElement, check_xml


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


class SubjectElement(StrEnum):
    """An element that says whom a message is about; one in which nothing stands names nobody.

    Something stands in an element with text that is more than white space, in one with an attribute
    (be it the declaration of a namespace), and in every element around those.
    """

    USER = "User"
    """§3.2: clients write it in requests for the policy of a computer, too, and leave it empty."""


_SUBJECTS = {element.lower(): element for element in SubjectElement}

_WHITE_SPACE = " \t\r\n"
"""XML 1.0 §2.3; str.strip by itself takes more, which another reader may take for a name."""

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

_WITH_TEXT = {name: (_BELOW.get(name), _SUBJECTS.get(name)) for name in {*_BELOW, *_SUBJECTS}}
"""Element whose text matters -> as what it does, either or both."""


_ELEMENT = re.compile(r"<(?:[^\s<>/:]{1,64}:)?([A-Za-z_][\w.-]{0,63})")


@dataclass(frozen=True, slots=True)
class Document:
    """One XML document, as text and as read."""

    text: str
    root: str
    """Its local name."""
    elements: frozenset[str]
    """Local names of all elements, in lower case; also of what only looks like one in the text.

    A text may be a document for the next reader.
    """
    subjects: frozenset[SubjectElement]
    """Those that name somebody; also what only looks like one in the text, whatever is in it."""
    parsed_text: str
    """All character data, joined, and the values of attributes where there are references.

    `HEAD<b/>TAIL`, a reference, a comment or a CDATA section in the middle would hide a text from
    a reader of the document alone.
    """
    values: Mapping[Place, tuple[str, ...]]

    def at(self, place: Place) -> tuple[str, ...]:
        """What stands at a place, each value once."""
        return self.values.get(place, ())


def read_document(text: str, where: str) -> Document | Deny:
    """Read an XML document that has no document type."""
    utf8 = text.encode()
    found = _Found()
    start, end = _handlers(found, references=b"&" in utf8)
    try:
        refusal = check_xml(utf8, where, start, end, found.texts.append)
    except _TooMuchError as error:
        return Deny(Reason.XML, rules.DOCUMENT_LIMITS.of(where), str(error))
    if refusal is not None:
        return refusal
    parsed_text = "".join(found.texts) + "\n".join(found.attributes)
    quoted: set[str] = set()
    if "<" in parsed_text:
        quoted.update(map(str.lower, _ELEMENT.findall(parsed_text)))
        found.subjects.update(_SUBJECTS[name] for name in quoted & _SUBJECTS.keys())
    return Document(
        text=text,
        root=found.root,
        elements=frozenset((*(name.name for name in found.names.values()), *quoted)),
        subjects=frozenset(found.subjects),
        parsed_text=parsed_text,
        values={place: tuple(values) for place, values in found.values.items()},
    )


class _TooMuchError(Exception):
    """More names or values than any message has."""


@dataclass(frozen=True, slots=True)
class _Name:
    """A name of elements, and what is of interest about them."""

    name: str
    """Local, in lower case."""
    text: tuple[tuple[str, Place] | None, SubjectElement | None] | None
    attribute: tuple[str, Place] | None


@dataclass(slots=True)
class _Found:
    """What expat's events leave behind."""

    root: str = ""
    names: dict[str, _Name] = field(default_factory=dict)
    """By how they are written."""
    texts: list[str] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)
    values: dict[Place, dict[str, None]] = field(default_factory=dict)
    subjects: set[SubjectElement] = field(default_factory=set)

    def name(self, written: str) -> _Name:
        """A name that is seen for the first time."""
        if len(self.names) == MAX_NAMES:
            raise _TooMuchError(f"more than {MAX_NAMES} names of elements")
        local = written.rpartition(":")[2]
        if not self.names:
            self.root = local
        local = local.lower()
        name = self.names[written] = _Name(local, _WITH_TEXT.get(local), _ATTRIBUTES.get(local))
        return name

    def keep(self, place: Place, value: str) -> None:
        """What stands at a place."""
        values = self.values.setdefault(place, {})
        values[value] = None
        if len(values) > MAX_VALUES or len(value) > MAX_VALUE:
            raise _TooMuchError(f"too much at {place}")

    def keep_subject(self, subject: SubjectElement, texts: Iterable[str]) -> None:
        """Where it names somebody; `texts` are all that stand in it."""
        if any(text.strip(_WHITE_SPACE) for text in texts):
            self.subjects.add(subject)

    def keep_attribute(self, wanted: tuple[str, Place], attributes: Mapping[str, str]) -> None:
        """However it is written."""
        for name, value in attributes.items():
            if name.rpartition(":")[2].lower() == wanted[0]:
                self.keep(wanted[1], value)


def _handlers(found: _Found, *, references: bool) -> tuple[StartElement, EndElement]:
    """Functions, not methods: they are most of the time that reading takes."""
    names, texts = found.names, found.texts
    path: list[str] = []
    wanted: list[tuple[int, int, Place | SubjectElement]] = []
    """Depth of an element whose text is wanted, where its text begins, and what it is."""
    subjects: list[SubjectElement] = []
    """Those that have begun and not ended."""
    if references:
        found.attributes.append("")

    def start(written: str, attributes: Mapping[str, str]) -> None:
        name = names.get(written) or found.name(written)
        depth = len(path)
        if depth == MAX_DEPTH:
            raise DepthError
        if name.text is not None:
            below, subject = name.text
            if below is not None and path and path[-1] == below[0]:
                wanted.append((depth, len(texts), below[1]))
            # One within another says nothing that the outer one does not.
            if subject is not None and subject not in subjects:
                subjects.append(subject)
                wanted.append((depth, len(texts), subject))
        path.append(name.name)
        if attributes:
            if references:
                found.attributes += attributes.values()
            if name.attribute is not None:
                found.keep_attribute(name.attribute, attributes)
            if subjects:
                found.subjects.update(subjects)

    def end(_written: str) -> None:
        path.pop()
        while wanted and wanted[-1][0] == len(path):
            _, begin, what = wanted.pop()
            if isinstance(what, Place):
                found.keep(what, "".join(texts[begin:]))
            else:
                subjects.pop()
                found.keep_subject(what, texts[begin:])

    return start, end
