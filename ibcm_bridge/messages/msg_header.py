"""The Msg header of a ConfigMgr message (protocol.md §1.4, §1.5).

Children may be in any order, and unknown ones are allowed. A child that controls the decoding or
identifies the client must be at its place, in its exact spelling, and occur once, because a more
lenient parser could read another message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.limits import (
    MAX_HEADER,
    MAX_HEADER_ELEMENTS,
    MAX_HOOKS,
    MAX_PROPERTIES,
    MAX_SLICES,
)
from ibcm_bridge.messages.plain_xml import Tag, plain_elements
from ibcm_bridge.messages.xml import attribute_values, check_xml, decode_utf16

COMPRESSED = "zlib-compress"
SIGNED = "clientauth"
ENCRYPTED = "encrypt"
_KNOWN_HOOKS = frozenset((COMPRESSED, SIGNED, ENCRYPTED))

MAX_PLAIN_TAGS = MAX_HEADER_ELEMENTS // 2
"""Tags, and attributes, of a header that is not parsed with expat. Its limits are higher."""

APART = "\n\n"
"""Follows the text of an element. A hexadecimal signature would continue the one before it."""

_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
_SLICE = ("Type", "Name", "Offset", "Length")
_ENDPOINT = re.compile(r"[A-Za-z0-9_]{0,64}")
"""Names of endpoints (protocol.md §2.1); parsers may differ on other characters."""

_CHILDREN = {
    name.lower(): name
    for name in (
        *("Body", "Attachment", "Hooks", "Payload"),
        *("ReplyTo", "SourceID", "TargetEndpoint"),
    )
}
"""Children of Msg that locate the payload or that the checks use: lower case -> exact spelling."""

_TEXTS = frozenset(("ReplyTo", "SourceID", "TargetEndpoint"))
"""Children whose text the checks use. It must be one text, because parsers differ on others."""

_PROPERTIES = frozenset(
    ("ClientIDSignature", "PayloadSignature", "PublicKey", "HashAlgorithm", "Token")
)
"""Properties of `clientauth` that the checks use, in their exact spelling (§1.5)."""
_PROPERTIES_LOWER = {name.lower(): name for name in _PROPERTIES}


@dataclass(frozen=True, slots=True)
class MsgHeader:
    """A parsed Msg header."""

    text: str
    children: Mapping[str, str]
    """Name -> text of the children of Msg that the checks use."""
    slices: tuple[tuple[int, int], ...]
    """Offset and length, in bytes of the inflated payload, of Body and each Attachment."""
    hooks: tuple[str, ...]
    signature: Mapping[str, str]
    """Properties of the `clientauth` hook; empty without one."""
    parsed_text: str
    """The text that an XML parser returns: character data, and attribute values with references.

    The texts of neighboring elements are apart.
    """

    @property
    def target_endpoint(self) -> str:
        """Without surrounding white space."""
        return self.children.get("TargetEndpoint", "").strip()

    @property
    def reply_to(self) -> str:
        """Without surrounding white space."""
        return self.children.get("ReplyTo", "").strip()

    @property
    def source_id(self) -> str:
        """With surrounding white space, because a client GUID must not have any."""
        return self.children.get("SourceID", "")


def read_header(raw: bytes) -> MsgHeader | Deny:
    """Parse a header as sent, with its byte order mark."""
    if len(raw) > MAX_HEADER:
        return Deny(Reason.BODY_TOO_LARGE, rules.CCM_HEADER, f"the Msg header has {len(raw)} bytes")
    if not raw.startswith(b"\xff\xfe"):
        return Deny(Reason.ENCODING, rules.CCM_HEADER, "no UTF-16LE byte order mark")
    text = decode_utf16(raw[2:], rules.CCM_HEADER)
    if isinstance(text, Deny):
        return text
    document = text.rstrip("\0\r\n")
    reader = plain_header(document) or parsed_header(document)
    if isinstance(reader, Deny):
        return reader
    if reader.root != "Msg":
        return Deny(Reason.XML, rules.CCM_HEADER_ROOT, "the header's root element is not Msg")
    if reader.problem:
        return Deny(Reason.XML, rules.CCM_HEADER_CHILDREN, reader.problem)
    header = MsgHeader(
        text=text,
        children=reader.children,
        slices=tuple(reader.slices),
        hooks=tuple(reader.hooks),
        signature=reader.signature,
        parsed_text="".join(reader.texts) + attribute_values(document.encode()),
    )
    if not _ENDPOINT.fullmatch(header.target_endpoint):
        return Deny(Reason.XML, rules.CCM_HEADER_ENDPOINT, "TargetEndpoint is not a name")
    # protocol.md §1.5: the legacy "compress" is not documented.
    for hook in header.hooks:
        if hook not in _KNOWN_HOOKS:
            return Deny(Reason.BODY_NOT_INSPECTABLE, rules.CCM_HOOKS, f"hook {hook[:64]!r}")
    return header


def plain_header(document: str) -> HeaderReader | None:
    """Read a plain header without a problem; None for expat to parse the header."""
    if document.count("<") > MAX_PLAIN_TAGS or document.count("=") > MAX_PLAIN_TAGS:
        return None
    elements = plain_elements(document)
    if not elements:
        return None
    reader = HeaderReader(root=elements[0][0].name)
    child = ""
    for tag, depth, text in elements[1:]:
        if depth == 2:
            child = tag.name
            if tag.local in _CHILDREN:
                reader.add_child(child, tag.local, tag.attributes)
            if child in _TEXTS:
                reader.children[child] = text
        elif tag.local in _CHILDREN or child in _TEXTS:
            return None
        elif child == "Hooks":
            reader.add_below_hooks(tag, depth, text)
    reader.texts = [part for _, _, text in elements if text for part in (text, APART)]
    return None if reader.problem else reader


def parsed_header(document: str) -> HeaderReader | Deny:
    """Parse any header with expat."""
    reader = HeaderReader()
    refusal = check_xml(
        document.encode(),
        rules.CCM_HEADER,
        reader.start,
        reader.end,
        reader.text,
        other=reader.other,
        max_elements=MAX_HEADER_ELEMENTS,
    )
    return reader if refusal is None else refusal


@dataclass(slots=True)
class HeaderReader:
    """The values collected from the elements of a header, in their order."""

    root: str = ""
    texts: list[str] = field(default_factory=list)
    children: dict[str, str] = field(default_factory=dict)
    hooks: list[str] = field(default_factory=list)
    slices: list[tuple[int, int]] = field(default_factory=list)
    signature: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    _depth: int = 0
    _child: str = ""
    _child_text: int = 0
    """Index in `texts` of the child's first text."""
    _hook: str = ""
    _property: str = ""
    _property_text: int = 0
    _element_text: int = -1
    """Index in `texts` of the element's first text; negative if there are elements in it."""
    _seen: set[str] = field(default_factory=set)

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        local = name.rpartition(":")[2].lower()
        self._depth += 1
        self._element_text = len(self.texts)
        if self._depth == 1:
            self.root = name
        elif self._depth == 2:
            self._child, self._child_text = name, len(self.texts)
        elif self._child == "Hooks" and self._depth == 3:
            # Every child of Hooks is a hook, whatever its tag.
            self._add_hook(attributes)
        elif self._child == "Hooks" and local.startswith("hook"):
            self.problem = "a hook within a hook"
        elif self._hook == SIGNED:
            self._begin_property(attributes)
        elif self._child in _TEXTS:
            self.problem = f"an element in {self._child}"
        if local in _CHILDREN and self._depth != 2:
            self.problem = f"{name[:32]} at the wrong place or misspelled"
        elif local in _CHILDREN:
            self.add_child(name, local, attributes)

    def add_child(self, name: str, local: str, attributes: Mapping[str, str]) -> None:
        """Check a child of Msg whose local name, in lower case, is in `_CHILDREN`."""
        if name != _CHILDREN[local]:
            self.problem = f"{name[:32]} at the wrong place or misspelled"
        elif name in self._seen and name != "Attachment":
            self.problem = f"{name} more than once"
        self._seen.add(name)
        if name in ("Body", "Attachment"):
            self._add_slice(attributes)
        elif name == "Payload" and (
            attributes.get("Type", "inline").lower() != "inline"
            or _has_misspelled(attributes, "Type")
        ):
            self.problem = "a payload that is not inline"

    def end(self, _name: str) -> None:
        self._depth -= 1
        if self._depth == 3 and self._property:
            self.signature[self._property] = "".join(self.texts[self._property_text :])
            self._property = ""
        elif self._depth == 1:
            if self._child in _TEXTS:
                self.children[self._child] = "".join(self.texts[self._child_text :])
            self._child = self._hook = ""
        if 0 <= self._element_text < len(self.texts):
            self.texts.append(APART)
        self._element_text = -1

    def add_below_hooks(self, tag: Tag, depth: int, text: str) -> None:
        """Add a hook or a property of a plain header."""
        self._depth = depth
        if depth == 3:
            self._add_hook(tag.attributes)
        elif tag.local.startswith("hook"):
            self.problem = "a hook within a hook"
        elif self._hook == SIGNED:
            self._begin_property(tag.attributes)
            if self._property:
                self.signature[self._property] = text
                self._property = ""

    def text(self, text: str) -> None:
        self.texts.append(text)

    def other(self, *_: str) -> None:
        """A comment or a processing instruction, at which other parsers end or cut the text."""
        if self._child in _TEXTS:
            self.problem = f"a comment or an instruction in {self._child}"

    def _add_hook(self, attributes: Mapping[str, str]) -> None:
        self._hook = name = attributes.get("Name", "")
        if _has_misspelled(attributes, "Name"):
            self.problem = "a hook with a misspelled Name attribute"
        elif len(self.hooks) == MAX_HOOKS:
            self.problem = f"more than {MAX_HOOKS} hooks"
        elif name in self.hooks:
            self.problem = f"the hook {name[:32]} more than once"
        else:
            self.hooks.append(name)

    def _begin_property(self, attributes: Mapping[str, str]) -> None:
        name = attributes.get("Name", "")
        spelling = _PROPERTIES_LOWER.get(name.lower())
        if self._depth > 4 or _has_misspelled(attributes, "Name"):
            self.problem = "a property with a misspelled Name attribute or with a child element"
        elif spelling not in (None, name) or name in self.signature:
            self.problem = f"the property {name[:32]} is misspelled or occurs more than once"
        elif len(self.signature) == MAX_PROPERTIES:
            self.problem = f"more than {MAX_PROPERTIES} properties"
        else:
            self._property, self._property_text = name, len(self.texts)

    def _add_slice(self, attributes: Mapping[str, str]) -> None:
        offset, length = attributes.get("Offset", ""), attributes.get("Length", "")
        # Without leading zeros, which some parsers read as octal. str.isdecimal would accept digits
        # of other scripts.
        numbers = [n for n in (offset, length) if _NUMBER.fullmatch(n)]
        if (
            _has_misspelled(attributes, *_SLICE)
            or attributes.get("Type", "ByteRange") != "ByteRange"
        ):
            self.problem = "a Body or Attachment of another Type or with a misspelled attribute"
        elif len(numbers) != 2 or len(self.slices) == MAX_SLICES:
            self.problem = "a Body or Attachment without a valid Offset and Length, or too many"
        else:
            self.slices.append((int(offset), int(length)))


def _has_misspelled(attributes: Mapping[str, str], *names: str) -> bool:
    """Return whether an attribute matches one of these names except for its case or prefix."""
    if attributes.keys() <= set(names):
        return False
    lower = [name.lower() for name in names]
    return any(
        name not in names and name.rpartition(":")[2].lower() in lower for name in attributes
    )
