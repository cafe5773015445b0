"""A management point's reply to CCM_POST (protocol.md §1.7).

1. No body: the client is unknown, or the management point failed.
2. One part with the text `NoReply`: the message was accepted.
3. Two parts: a Msg header, and a payload as in requests. Some replies are reported to have three
   parts. It is not known which part is the payload, so every readable part is parsed.

No real reply has been captured (protocol.md §12), so the parser accepts more than from a client:
byte order marks and NULs are optional, and hooks that do not affect the decoding are ignored. The
result is a copy for checks; the client receives the original bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.ccm import inflate
from ibcm_bridge.messages.document import Document, read_document
from ibcm_bridge.messages.limits import MAX_HEADER
from ibcm_bridge.messages.msg_header import COMPRESSED, ENCRYPTED
from ibcm_bridge.messages.multipart import Part, read_multipart
from ibcm_bridge.messages.xml import check_xml, decode_utf16

MAX_DOCUMENTS = 32
"""Documents of a reply. A heartbeat, the request with the most, has three (protocol.md §1.3)."""

MAX_HOOKS = 16
MAX_HOOK = 64
"""Characters of a name; the known names have fewer than 16 (protocol.md §1.5)."""

_UNREADABLE_HOOKS = frozenset((ENCRYPTED, "compress"))
"""protocol.md §1.5: the first encrypts the payload, the second is not documented."""

_PADDING = "\ufeff\0\r\n\t "
"""Characters that may surround a text: a byte order mark, NULs, white space."""


@dataclass(frozen=True, slots=True)
class CcmReply:
    """A parsed reply; a copy, for checks only."""

    header_text: str = ""
    documents: tuple[str, ...] = ()
    """XML documents."""
    roots: tuple[str, ...] = ()
    """The local name of each document's root element."""
    parsed_text: tuple[str, ...] = ()
    """The text that an XML parser returns for each document (`xml.read_xml`)."""
    hooks: tuple[str, ...] = ()
    """The names of the header's hooks."""
    no_reply: bool = False
    """True if the reply is `NoReply` and nothing else."""
    empty: bool = False
    """True if the response has no body."""
    unread_parts: int = 0
    """The number of parts that could not be parsed, if another part could."""


def read_ccm_reply(content_type: bytes, body: bytes, inflated_limit: int) -> CcmReply | Deny:
    """Parse the reply to a CCM_POST. `inflated_limit` in bytes, for all parts together."""
    if not body:
        return CcmReply(empty=True)
    parts = read_multipart(content_type, body)
    if isinstance(parts, Deny):
        return parts
    if len(parts) == 1:
        return _no_reply(parts[0])
    if len(parts) > 3:
        return Deny(
            Reason.MULTIPART, rules.CCM_REPLY_PARTS, f"{len(parts)} parts; at most three allowed"
        )
    header_text = _header_text(parts[0].body)
    if isinstance(header_text, Deny):
        return header_text
    hooks = _read_hooks(header_text)
    if isinstance(hooks, Deny):
        return hooks
    found: list[Document] = []
    refused: list[Deny] = []
    for part in parts[1:]:
        read = _read_payload(part.body, hooks, inflated_limit)
        if isinstance(read, Deny):
            refused.append(read)
        else:
            inflated_limit -= read.size
            found += read.documents
    if len(refused) == len(parts) - 1:
        return refused[0]
    if len(found) > MAX_DOCUMENTS:
        return Deny(Reason.XML, rules.CCM_REPLY_DOCUMENTS, f"more than {MAX_DOCUMENTS} documents")
    return CcmReply(
        header_text=header_text,
        documents=tuple(document.text for document in found),
        roots=tuple(document.root for document in found),
        parsed_text=tuple(document.parsed_text for document in found),
        hooks=hooks,
        unread_parts=len(refused),
    )


def _no_reply(part: Part) -> CcmReply | Deny:
    # The encoding is not known (protocol.md §1.7).
    for encoding in ("utf-16-le", "utf-8"):
        try:
            text = part.body[:64].decode(encoding)
        except UnicodeDecodeError:
            continue
        if len(part.body) <= 64 and text.strip(_PADDING) == "NoReply":
            return CcmReply(no_reply=True)
    return Deny(Reason.MULTIPART, rules.CCM_REPLY_PARTS, "a single part that is not NoReply")


def _header_text(raw: bytes) -> str | Deny:
    if len(raw) > MAX_HEADER:
        return Deny(
            Reason.BODY_TOO_LARGE, rules.CCM_REPLY_HEADER, f"the Msg header has {len(raw)} bytes"
        )
    return _text(raw, rules.CCM_REPLY_HEADER)


def _text(raw: bytes, where: rules.Rule) -> str | Deny:
    """Decode UTF-16LE and remove the padding."""
    text = decode_utf16(raw, where)
    return text if isinstance(text, Deny) else text.strip(_PADDING)


@dataclass(slots=True)
class _Header:
    """The state of parsing a Msg header."""

    depth: int = 0
    root: str = ""
    child: str = ""
    hooks: list[str] = field(default_factory=list)
    too_many: bool = False

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        self.depth += 1
        if self.depth == 1:
            self.root = name
        elif self.depth == 2:
            self.child = name
        elif self.child == "Hooks" and self.depth == 3:
            # Every child of Hooks is a hook, whatever its tag.
            self.too_many |= len(self.hooks) == MAX_HOOKS
            if not self.too_many:
                self.hooks.append(attributes.get("Name", "")[:MAX_HOOK])

    def end(self, _name: str) -> None:
        self.depth -= 1


def _read_hooks(header_text: str) -> tuple[str, ...] | Deny:
    header = _Header()
    refusal = check_xml(header_text.encode(), rules.CCM_REPLY_HEADER, header.start, header.end)
    if refusal is not None:
        return refusal
    if header.root != "Msg":
        return Deny(Reason.XML, rules.CCM_REPLY_HEADER_ROOT, "the header's root element is not Msg")
    if header.too_many:
        return Deny(Reason.XML, rules.CCM_REPLY_HOOKS, f"more than {MAX_HOOKS} hooks")
    for hook in header.hooks:
        if hook.lower() in _UNREADABLE_HOOKS:
            return Deny(Reason.BODY_NOT_INSPECTABLE, rules.CCM_REPLY_HOOKS, f"hook {hook!r}")
    return tuple(header.hooks)


@dataclass(frozen=True, slots=True)
class _Payload:
    size: int
    """Bytes, inflated."""
    documents: list[Document]


def _read_payload(raw: bytes, hooks: tuple[str, ...], limit: int) -> _Payload | Deny:
    """Parse the documents of a part, which are separated by NULs.

    Offset and Length of Body and Attachment are not used, so that no text is skipped.
    """
    inflated: bytes | Deny = raw
    if COMPRESSED in (hook.lower() for hook in hooks):
        inflated = inflate(raw, limit)
    if isinstance(inflated, Deny):
        return inflated
    if len(inflated) > limit:
        return Deny(Reason.INFLATED_TOO_LARGE, rules.CCM_REPLY_LIMIT, f"more than {limit} bytes")
    # In requests, the CRLF after the NUL is two bytes, not UTF-16 (protocol.md §1.3).
    if inflated.endswith(b"\0\r\n"):
        inflated = inflated[:-2]
    text = _text(inflated, rules.CCM_REPLY_PAYLOAD)
    if isinstance(text, Deny):
        return text
    documents = []
    # With too many documents the last piece has NULs, and the XML parser refuses it.
    for piece in text.split("\0", MAX_DOCUMENTS):
        stripped = piece.strip(_PADDING)
        if not stripped:
            continue
        document = read_document(stripped, rules.CCM_REPLY_PAYLOAD)
        if isinstance(document, Deny):
            return document
        documents.append(document)
    return _Payload(len(inflated), documents)
