"""What a site system's reply gives a client: internal names, policy for the intranet.

The policy says whether a reply is refused for the first two (`MessageRules`), or what was found
is only logged. A reply that cannot be read is refused where one of them would be. Nothing
is ever rewritten, because replies may be signed (protocol.md §1.7).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.ccm_reply import CcmReply, read_ccm_reply
from ibcm_bridge.messages.xml import check_xml, decode_xml, read_xml
from ibcm_bridge.policy.bodies import ReplyReading
from ibcm_bridge.policy.message_rules import Enforcement, MessageRules

MAX_REPLY = 4_194_304
"""Bytes of a response that are kept to be read; as a CCM_POST may have."""

MAX_INFLATED = 8_388_608
"""Bytes; some thousand policy assignments. A reply is read at once, so nobody else is served
meanwhile."""

MAX_OBSERVED = 8
"""Names of one kind that are written down for one response."""

MAX_NAME = 253
"""Characters of a host's name (RFC 1035 §2.3.4), and of a policy's id."""

MAX_DETAIL = 400
MAX_FLAGS = 9
"""Digits."""


@dataclass(frozen=True, slots=True)
class ReadReply:
    """A reply as read; a copy, for judging only."""

    documents: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    """The documents, and what a reader gets to see of them where that is another text."""
    unread_parts: int = 0
    message: CcmReply | None = None
    """Of the reply to a CCM_POST."""


@dataclass(frozen=True, slots=True)
class InspectedReply:
    """A reply that may be passed on. Made by `judge_reply` only."""

    observed: tuple[str, ...] = ()
    """What the policy says to write down, bounded."""


def unreadable(rule: rules.Rule, detail: str) -> Deny:
    """In place of a reply that is not there to be read."""
    return Deny(Reason.REPLY_UNREADABLE, rule, detail)


def unreadable_head(status: int, codings: Iterable[bytes]) -> Deny | None:
    """Why nothing can be read after a head with this status and Content-Encoding."""
    if status not in (200, 207):
        # RFC 4918 §13: a PROPFIND is answered with 207.
        # RFC 9110 §15.3.7: 206 has a part, and the rest of a name may be in another one.
        return unreadable(rules.REPLIES_STATUS, f"status {status}")
    if any(coding.strip().lower() not in (b"", b"identity") for coding in codings):
        return unreadable(rules.REPLIES_CONTENT_ENCODING, "a coded body")
    return None


def read_reply(reading: ReplyReading, content_type: bytes, body: bytes) -> ReadReply | Deny:
    """Read a reply of at most MAX_REPLY bytes."""
    if reading is ReplyReading.XML:
        return _read_xml(body)
    message = read_ccm_reply(content_type, body, MAX_INFLATED)
    if isinstance(message, Deny):
        return message
    # Who speaks and to whom stands in the header, and a client looks for nothing else there.
    texts = (*message.documents, *message.parsed_text)
    return ReadReply(message.documents, texts, message.unread_parts, message)


_REPLIES = "replies"
"""What the rules of a document begin with that is no ConfigMgr message."""


def _read_xml(body: bytes) -> ReadReply | Deny:
    if not body:
        return ReadReply()
    text = decode_xml(body)
    if text is None:
        return Deny(Reason.ENCODING, rules.DOCUMENT_XML.of(_REPLIES), "neither UTF-8 nor UTF-16LE")
    parsed_text = read_xml(text, _REPLIES)
    if isinstance(parsed_text, Deny):
        return parsed_text
    return ReadReply((text,), (text, parsed_text))


def judge_reply(reply: ReadReply | Deny, terms: MessageRules) -> InspectedReply | Deny:
    """Whether a reply may be passed on. A Deny in its place says why it could not be read."""
    observed: list[str] = []
    for finding in _found(reply, terms):
        if finding.refused:
            return Deny(finding.reason, finding.rule, ", ".join(finding.texts)[:MAX_DETAIL])
        observed += (f"{finding.reason.value}: {text}" for text in finding.texts)
    return InspectedReply(tuple(observed))


@dataclass(frozen=True, slots=True)
class _Finding:
    """What speaks against a reply, and whether the policy wants it refused for it."""

    reason: Reason
    rule: rules.Rule
    texts: tuple[str, ...]
    refused: bool


def _found(reply: ReadReply | Deny, terms: MessageRules) -> Iterator[_Finding]:
    enforce = Enforcement.ENFORCE
    if isinstance(reply, ReadReply):
        if names := host_names(reply.texts, terms.internal_domains):
            refused = terms.host_names is enforce
            yield _Finding(Reason.REPLY_HOST_NAMES, rules.MESSAGES_HOST_NAMES, names, refused)
        if policies := intranet_only(reply.documents):
            refused = terms.intranet_only is enforce
            yield _Finding(
                Reason.REPLY_INTRANET_ONLY, rules.MESSAGES_INTRANET_ONLY, policies, refused
            )
        if not reply.unread_parts:
            return
        reply = Deny(Reason.MULTIPART, rules.REPLIES_PARTS, f"parts not read: {reply.unread_parts}")
    # Whatever it may hold.
    refused = enforce in (terms.host_names, terms.intranet_only)
    yield _Finding(Reason.REPLY_UNREADABLE, reply.rule, (reply.detail[:MAX_DETAIL],), refused)


# Names of hosts


def host_names(texts: Iterable[str], domains: frozenset[str]) -> tuple[str, ...]:
    """Names of hosts of these domains and below in texts: distinct, in lower case.

    At most MAX_OBSERVED. `<mp>`, which clients put their own name for (protocol.md §3.2), is none,
    and neither is the name of a domain by itself.
    """
    if not domains:
        return ()
    pattern = _names_below(domains)
    found: dict[str, None] = {}
    for text in texts:
        for word in pattern.finditer(text.lower()):
            # What is longer than a name can be has something before it that looks like one.
            name = word[0].rstrip(".")[-MAX_NAME:].lstrip(".-")
            if pattern.fullmatch(name):
                found[name] = None
            if len(found) == MAX_OBSERVED:
                return tuple(found)
    return tuple(found)


@functools.cache
def _names_below(domains: frozenset[str]) -> re.Pattern[str]:
    """Whole words that end with one of the domains; each character is looked at once.

    With the dot by which a name may end (RFC 1034 §3.1).
    """
    ends = [f".{domain}{dot}" for domain in sorted(domains) for dot in ("", ".")]
    ending = "|".join(f"(?<={re.escape(end)})" for end in ends)
    return re.compile(rf"(?<![a-z0-9_.-])[a-z0-9_.-]++(?:{ending})")


# Policy for the intranet

_INTRANET_ONLY = 8
"""protocol.md §3.2; as a name where flags are written so, which is not known."""


def intranet_only(documents: Iterable[str]) -> tuple[str, ...]:
    """At most MAX_OBSERVED ids of the policies that documents assign, flagged IntranetOnly."""
    found: dict[str, None] = {}

    def start(name: str, attributes: Mapping[str, str]) -> None:
        flags = attributes.get("PolicyFlags")
        if (
            flags is not None
            and name == "Policy"
            and _is_intranet_only(flags)
            and len(found) < MAX_OBSERVED
        ):
            found[attributes.get("PolicyID", "")[:MAX_NAME] or "a policy without an id"] = None

    for document in documents:
        if "PolicyFlags" in document:
            check_xml(document.encode(), "replies", start)
    return tuple(found)


def _is_intranet_only(flags: str) -> bool:
    flags = flags.strip()
    if flags.isascii() and flags.isdecimal() and len(flags) <= MAX_FLAGS:
        return bool(int(flags) & _INTRANET_ONLY)
    return "intranetonly" in flags.lower()
