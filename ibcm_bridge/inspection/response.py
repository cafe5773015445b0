"""Inspect bodies of responses for internal host names and intranet-only policies.

Here, as in the rules `replies.*`, a reply is any inspected body: a ConfigMgr reply, an MP list or a
PROPFIND result. For each check, the policy (`MessagePolicy`) decides whether a reply is refused or
only observed. If either is enforced, a reply that cannot be parsed is refused. Replies are never
changed, because they may be signed (protocol.md §1.7).
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
from ibcm_bridge.policy.message_policy import Enforcement, MessagePolicy

MAX_REPLY = 4_194_304
"""Bytes of a response that are kept for the inspection: the same limit as for a CCM_POST."""

MAX_INFLATED = 8_388_608
"""Bytes, enough for thousands of policy assignments. Other clients wait while a reply is parsed."""

MAX_OBSERVED = 8
"""Names of each kind that are recorded per response."""

MAX_NAME = 253
"""Characters of a host name (RFC 1035 §2.3.4), and of a policy's id."""

MAX_DETAIL = 400
MAX_FLAGS = 9
"""Digits."""


@dataclass(frozen=True, slots=True)
class ReadReply:
    """A parsed reply; a copy, for checks only."""

    documents: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    """The documents, and the text that an XML parser returns for them."""
    unread_parts: int = 0
    message: CcmReply | None = None
    """The reply to a CCM_POST; None for other requests."""


@dataclass(frozen=True, slots=True)
class InspectedReply:
    """A reply that may be forwarded. Made by `judge_reply` only."""

    observed: tuple[str, ...] = ()
    """The findings that the policy does not enforce, limited."""
    message: CcmReply | None = None
    """The parsed reply, if it is the reply to a CCM_POST and could be read."""


def unreadable(rule: rules.Rule, detail: str) -> Deny:
    """The stand-in for a reply that cannot be inspected."""
    return Deny(Reason.REPLY_UNREADABLE, rule, detail)


def unreadable_head(status: int, codings: Iterable[bytes]) -> Deny | None:
    """The reason why a body after this status and Content-Encoding cannot be inspected, or None."""
    if status not in (200, 207):
        # RFC 4918 §13: the response to a PROPFIND is a 207.
        # RFC 9110 §15.3.7: a 206 is partial, so it may contain only a part of a name.
        return unreadable(rules.REPLIES_STATUS, f"status {status}")
    if has_coding(codings):
        return unreadable(rules.REPLIES_CONTENT_ENCODING, "the body has a Content-Encoding")
    return None


def has_coding(codings: Iterable[bytes]) -> bool:
    """Return whether a body with these values of Content-Encoding is encoded."""
    return any(coding.strip().lower() not in (b"", b"identity") for coding in codings)


def read_reply(reading: ReplyReading, content_type: bytes, body: bytes) -> ReadReply | Deny:
    """Parse a reply of at most MAX_REPLY bytes."""
    if reading is ReplyReading.XML:
        return _read_xml(body)
    message = read_ccm_reply(content_type, body, MAX_INFLATED)
    if isinstance(message, Deny):
        return message
    # The header is not inspected: it has only the addresses of the message.
    texts = (*message.documents, *message.parsed_text)
    return ReadReply(message.documents, texts, message.unread_parts, message)


_REPLIES = "replies"
"""The prefix of rules for documents that are not ConfigMgr messages."""


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


def judge_reply(reply: ReadReply | Deny, terms: MessagePolicy) -> InspectedReply | Deny:
    """Decide whether a reply may be forwarded. A Deny stands for a reply that cannot be parsed."""
    observed: list[str] = []
    for finding in _found(reply, terms):
        if finding.refused:
            return Deny(finding.reason, finding.rule, ", ".join(finding.texts)[:MAX_DETAIL])
        observed += (f"{finding.reason.value}: {text}" for text in finding.texts)
    message = reply.message if isinstance(reply, ReadReply) else None
    return InspectedReply(tuple(observed), message)


@dataclass(frozen=True, slots=True)
class _Finding:
    """A problem of a reply, and whether the policy refuses it."""

    reason: Reason
    rule: rules.Rule
    texts: tuple[str, ...]
    refused: bool


def _found(reply: ReadReply | Deny, terms: MessagePolicy) -> Iterator[_Finding]:
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
        reply = Deny(
            Reason.MULTIPART, rules.REPLIES_PARTS, f"unreadable parts: {reply.unread_parts}"
        )
    # It could contain either.
    refused = enforce in (terms.host_names, terms.intranet_only)
    yield _Finding(Reason.REPLY_UNREADABLE, reply.rule, (reply.detail[:MAX_DETAIL],), refused)


# Host names


def host_names(texts: Iterable[str], domains: frozenset[str]) -> tuple[str, ...]:
    """The distinct host names in these domains, in lower case; at most MAX_OBSERVED.

    The placeholder `<mp>` (protocol.md §3.2) and the domain names themselves are not included.
    """
    if not domains:
        return ()
    pattern = _names_below(domains)
    found: dict[str, None] = {}
    for text in texts:
        for word in pattern.finditer(text.lower()):
            # In a longer match, other text directly precedes the name.
            name = word[0].rstrip(".")[-MAX_NAME:].lstrip(".-")
            if pattern.fullmatch(name):
                found[name] = None
            if len(found) == MAX_OBSERVED:
                return tuple(found)
    return tuple(found)


@functools.cache
def _names_below(domains: frozenset[str]) -> re.Pattern[str]:
    """A pattern for words that end with one of the domains, in linear time.

    A name may have a trailing dot (RFC 1034 §3.1).
    """
    ends = [f".{domain}{dot}" for domain in sorted(domains) for dot in ("", ".")]
    ending = "|".join(f"(?<={re.escape(end)})" for end in ends)
    return re.compile(rf"(?<![a-z0-9_.-])[a-z0-9_.-]++(?:{ending})")


# Intranet-only policies

_INTRANET_ONLY = 8
"""protocol.md §3.2. The name is also accepted, because the notation of flags is not known."""


def intranet_only(documents: Iterable[str]) -> tuple[str, ...]:
    """The ids of assigned policies with the flag IntranetOnly, at most MAX_OBSERVED."""
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
