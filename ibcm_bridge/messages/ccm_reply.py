"""A management point's reply to CCM_POST (protocol.md §1.7).

1. No body: the client is not known, or it failed.
2. One part with the text `NoReply`: the message was taken in.
3. Two parts: a Msg header, and a payload as in requests. Some replies are reported to have three;
   which is not known, so what is readable of the others is read.

No real reply has been captured (protocol.md §12), so more is taken than of a client: with or
without byte order marks, NULs and hooks that say nothing of how the payload is read. It is a copy,
to judge by; the client gets what was sent.
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
"""Of one reply; a heartbeat, which has the most of all requests, has three (protocol.md §1.3)."""

MAX_HOOKS = 16
MAX_HOOK = 64
"""Characters of a name; known ones have under 16 (protocol.md §1.5)."""

_UNREADABLE_HOOKS = frozenset((ENCRYPTED, "compress"))
"""protocol.md §1.5: the first hides the payload, the second is not described anywhere."""

_PADDING = "\ufeff\0\r\n\t "
"""What may stand around a text: a byte order mark, NULs, white space."""


@dataclass(frozen=True, slots=True)
class CcmReply:
    """A reply as read; a copy, for judging only."""

    header_text: str = ""
    documents: tuple[str, ...] = ()
    """Each an XML document."""
    roots: tuple[str, ...] = ()
    """Of each document the local name of its root."""
    parsed_text: tuple[str, ...] = ()
    """Of each document what a reader gets to see (`xml.read_xml`)."""
    hooks: tuple[str, ...] = ()
    """The names of the header's hooks."""
    no_reply: bool = False
    """Whether it is `NoReply` and nothing else."""
    empty: bool = False
    """Whether it has no body at all."""
    unread_parts: int = 0
    """How many parts could not be read, where another one could."""


def read_ccm_reply(content_type: bytes, body: bytes, inflated_limit: int) -> CcmReply | Deny:
    """Read the reply to a CCM_POST. `inflated_limit` in bytes, of all parts together."""
    if not body:
        return CcmReply(empty=True)
    parts = read_multipart(content_type, body)
    if isinstance(parts, Deny):
        return parts
    if len(parts) == 1:
        return _no_reply(parts[0])
    if len(parts) > 3:
        return Deny(Reason.MULTIPART, rules.CCM_REPLY_PARTS, f"{len(parts)} parts, at most three")
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
    # protocol.md §1.7 has the text and not its encoding.
    for encoding in ("utf-16-le", "utf-8"):
        try:
            text = part.body[:64].decode(encoding)
        except UnicodeDecodeError:
            continue
        if len(part.body) <= 64 and text.strip(_PADDING) == "NoReply":
            return CcmReply(no_reply=True)
    return Deny(Reason.MULTIPART, rules.CCM_REPLY_PARTS, "one part, which is not NoReply")


def _header_text(raw: bytes) -> str | Deny:
    if len(raw) > MAX_HEADER:
        return Deny(
            Reason.BODY_TOO_LARGE, rules.CCM_REPLY_HEADER, f"{len(raw)} bytes of Msg header"
        )
    return _text(raw, rules.CCM_REPLY_HEADER)


def _text(raw: bytes, where: rules.Rule) -> str | Deny:
    """UTF-16LE, without what may stand around it."""
    text = decode_utf16(raw, where)
    return text if isinstance(text, Deny) else text.strip(_PADDING)


@dataclass(slots=True)
class _Header:
    """What reading the Msg header collects."""

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
            # Whatever stands in Hooks is one, also under a tag we have not seen yet.
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
        return Deny(Reason.XML, rules.CCM_REPLY_HEADER_ROOT, "the header is not a Msg")
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
    """The documents of a part: each ends with a NUL, or with the part.

    Where Body and Attachment say they are, as in a request, is not gone by: no text is left out.
    """
    inflated: bytes | Deny = raw
    if COMPRESSED in (hook.lower() for hook in hooks):
        inflated = inflate(raw, limit)
    if isinstance(inflated, Deny):
        return inflated
    if len(inflated) > limit:
        return Deny(Reason.INFLATED_TOO_LARGE, rules.CCM_REPLY_LIMIT, f"more than {limit} bytes")
    # The CRLF after the NUL is two bytes long, in requests, and so no text (protocol.md §1.3).
    if inflated.endswith(b"\0\r\n"):
        inflated = inflated[:-2]
    text = _text(inflated, rules.CCM_REPLY_PAYLOAD)
    if isinstance(text, Deny):
        return text
    documents = []
    # One piece more than may be: it is left for XML to refuse, NULs and all.
    for piece in text.split("\0", MAX_DOCUMENTS):
        stripped = piece.strip(_PADDING)
        if not stripped:
            continue
        document = read_document(stripped, rules.CCM_REPLY_PAYLOAD)
        if isinstance(document, Deny):
            return document
        documents.append(document)
    return _Payload(len(inflated), documents)
