"""The Msg header of a ConfigMgr message (protocol.md §1.4, §1.5).

Children may stand in any order, and ones we do not know may be there. But what decides how the
payload is read, or whose message it is, stands where it belongs, spelt as it is, and once: a reader
that is laxer about it would read another message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.limits import MAX_HEADER, MAX_HOOKS, MAX_PROPERTIES, MAX_SLICES
from ibcm_bridge.messages.xml import attribute_values, check_xml, decode_utf16

COMPRESSED = "zlib-compress"
SIGNED = "clientauth"
ENCRYPTED = "encrypt"
_KNOWN_HOOKS = frozenset((COMPRESSED, SIGNED, ENCRYPTED))

_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
_SLICE = ("Type", "Name", "Offset", "Length")
_ENDPOINT = re.compile(r"[A-Za-z0-9_]{0,64}")
"""Names of endpoints (protocol.md §2.1); another character would be another reading of one."""

_CHILDREN = {
    name.lower(): name
    for name in (
        *("Body", "Attachment", "Hooks", "Payload"),
        *("ReplyTo", "SourceID", "TargetEndpoint"),
    )
}
"""Children of Msg by which the payload is found or the message judged, as they are spelt."""

_PROPERTIES = frozenset(
    ("ClientIDSignature", "PayloadSignature", "PublicKey", "HashAlgorithm", "Token")
)
"""Properties of `clientauth` by which it is judged, as they are spelt (§1.5)."""
_PROPERTIES_LOWER = {name.lower(): name for name in _PROPERTIES}


@dataclass(frozen=True, slots=True)
class MsgHeader:
    """A Msg header, read."""

    text: str
    children: Mapping[str, str]
    """Text of each child of Msg that has one, as it is spelt; the first of several."""
    slices: tuple[tuple[int, int], ...]
    """Offset and length, in bytes of the inflated payload, of Body and each Attachment."""
    hooks: tuple[str, ...]
    signature: Mapping[str, str]
    """Properties of the `clientauth` hook; empty where there is none."""
    parsed_text: str
    """What a reader gets to see: all character data, joined, and values with references."""

    @property
    def target_endpoint(self) -> str:
        """Without the white space around it."""
        return self.children.get("TargetEndpoint", "").strip()

    @property
    def reply_to(self) -> str:
        """Without the white space around it."""
        return self.children.get("ReplyTo", "").strip()

    @property
    def source_id(self) -> str:
        """As it stands: what is around a client GUID is no part of one."""
        return self.children.get("SourceID", "")


def read_header(raw: bytes) -> MsgHeader | Deny:
    """Read a header as it was sent, with its byte order mark."""
    if len(raw) > MAX_HEADER:
        return Deny(Reason.BODY_TOO_LARGE, rules.CCM_HEADER, f"{len(raw)} bytes of Msg header")
    if not raw.startswith(b"\xff\xfe"):
        return Deny(Reason.ENCODING, rules.CCM_HEADER, "no UTF-16LE byte order mark")
    text = decode_utf16(raw[2:], rules.CCM_HEADER)
    if isinstance(text, Deny):
        return text
    reader = _Reader()
    utf8 = text.rstrip("\0\r\n").encode()
    refusal = check_xml(utf8, rules.CCM_HEADER, reader.start, reader.end, reader.text)
    if refusal is not None:
        return refusal
    if reader.root != "Msg":
        return Deny(Reason.XML, rules.CCM_HEADER_ROOT, "the header is not a Msg")
    if reader.problem:
        return Deny(Reason.XML, rules.CCM_HEADER_CHILDREN, reader.problem)
    header = MsgHeader(
        text=text,
        children=reader.children,
        slices=tuple(reader.slices),
        hooks=tuple(reader.hooks),
        signature=reader.signature,
        parsed_text="".join(reader.texts) + attribute_values(utf8),
    )
    if not _ENDPOINT.fullmatch(header.target_endpoint):
        return Deny(Reason.XML, rules.CCM_HEADER_ENDPOINT, "a TargetEndpoint that is no name")
    # protocol.md §1.5: the legacy "compress" is not described anywhere.
    for hook in header.hooks:
        if hook not in _KNOWN_HOOKS:
            return Deny(Reason.BODY_NOT_INSPECTABLE, rules.CCM_HOOKS, f"hook {hook[:64]!r}")
    return header


@dataclass(slots=True)
class _Reader:
    """What expat's events leave behind."""

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
    """Where the text of the child begins in `texts`."""
    _hook: str = ""
    _property: str = ""
    _property_text: int = 0
    _seen: set[str] = field(default_factory=set)

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        local = name.rpartition(":")[2].lower()
        self._depth += 1
        if self._depth == 1:
            self.root = name
        elif self._depth == 2:
            self._child, self._child_text = name, len(self.texts)
        elif self._child == "Hooks" and self._depth == 3:
            # Whatever stands in Hooks is one, also under a tag we have not seen yet.
            self._add_hook(attributes)
        elif self._child == "Hooks" and local.startswith("hook"):
            self.problem = "a hook within a hook"
        elif self._hook == SIGNED:
            self._begin_property(attributes)
        spelling = _CHILDREN.get(local)
        if spelling is None:
            return
        if name != spelling or self._depth != 2:
            self.problem = f"{name[:32]} where it does not belong"
        elif name in self._seen and name != "Attachment":
            self.problem = f"{name} more than once"
        self._seen.add(name)
        if name in ("Body", "Attachment"):
            self._add_slice(attributes)
        elif name == "Payload" and (
            attributes.get("Type", "inline").lower() != "inline" or _odd(attributes, "Type")
        ):
            self.problem = "a payload that is not inline"

    def end(self, _name: str) -> None:
        self._depth -= 1
        if self._depth == 3 and self._property:
            self.signature[self._property] = "".join(self.texts[self._property_text :])
            self._property = ""
        elif self._depth == 1:
            self.children.setdefault(self._child, "".join(self.texts[self._child_text :]))
            self._child = self._hook = ""

    def text(self, text: str) -> None:
        self.texts.append(text)

    def _add_hook(self, attributes: Mapping[str, str]) -> None:
        self._hook = name = attributes.get("Name", "")
        if _odd(attributes, "Name"):
            self.problem = "a hook's Name spelt oddly"
        elif len(self.hooks) == MAX_HOOKS:
            self.problem = f"more than {MAX_HOOKS} hooks"
        elif name in self.hooks:
            self.problem = f"the hook {name[:32]} more than once"
        else:
            self.hooks.append(name)

    def _begin_property(self, attributes: Mapping[str, str]) -> None:
        name = attributes.get("Name", "")
        spelling = _PROPERTIES_LOWER.get(name.lower())
        if self._depth > 4 or _odd(attributes, "Name"):
            self.problem = "a property with its Name spelt oddly, or with an element in it"
        elif spelling not in (None, name) or name in self.signature:
            self.problem = f"the property {name[:32]} spelt oddly, or more than once"
        elif len(self.signature) == MAX_PROPERTIES:
            self.problem = f"more than {MAX_PROPERTIES} properties"
        else:
            self._property, self._property_text = name, len(self.texts)

    def _add_slice(self, attributes: Mapping[str, str]) -> None:
        offset, length = attributes.get("Offset", ""), attributes.get("Length", "")
        # Without leading zeros, which one reader takes for octal; str.isdecimal takes other
        # scripts' digits, this does not.
        numbers = [n for n in (offset, length) if _NUMBER.fullmatch(n)]
        if _odd(attributes, *_SLICE) or attributes.get("Type", "ByteRange") != "ByteRange":
            self.problem = "a Body or Attachment of another type, or with an attribute spelt oddly"
        elif len(numbers) != 2 or len(self.slices) == MAX_SLICES:
            self.problem = "a Body or Attachment without usable Offset and Length"
        else:
            self.slices.append((int(offset), int(length)))


def _odd(attributes: Mapping[str, str], *names: str) -> bool:
    """Whether an attribute is one of these only to a laxer reader: in another case, prefixed."""
    lower = [name.lower() for name in names]
    return any(
        name not in names and name.rpartition(":")[2].lower() in lower for name in attributes
    )
