"""The fields of SOAP requests that attacks on WSUS used: cookies and reported events.

CVE-2025-59287: WSUS deserialized the decrypted authorization cookie of a GetCookie, and the events
of a ReportEventBatch. Only the server can decrypt a cookie, so its size, its number and its first
bytes are checked. The text of an event is checked completely.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.limits import (
    MAX_COOKIE,
    MAX_EVENT_LIST,
    MAX_EVENT_TAG,
    MAX_EVENT_TEXT,
    MAX_EVENTS,
)

COOKIES = frozenset(("cookiedata", "encrypteddata"))
"""[MS-WUSP] sections 2.2.3.4 and 2.2.3.5, in lower case. GetCookie has at most one of each
(2.2.2.2.2), other requests have one EncryptedData."""

TEXTS = COOKIES | {"string"}
"""Elements that contain text and no elements."""


@dataclass(frozen=True, slots=True)
class SoapField:
    """The text of a cookie, or of an element in the events. Names in lower case."""

    name: str
    parent: str
    text: str
    has_elements: bool = False


_LISTS = frozenset(("miscdata", "replacementstrings"))
"""Lists in an event. Their strings may be long."""

# 2.2.2.3.1: "x=value", where x is the tag. Windows 11 agents write whole words as tags.
_TAGGED = re.compile(rf"(?:[!-<>-~]{{1,{MAX_EVENT_TAG}}}=.*)?", re.DOTALL)

_SERVERS_TAG = re.compile(r"synchronization", re.IGNORECASE)
"""The prefix of tags in the events of WSUS's own synchronization. WSUS deserialized their values
(SynchronizationUpdateErrorsKey, CVE-2025-59287). It is inferred that no client sends them."""

_BINARY_FORMATTER = re.compile(rb"\x00.{4}\xff{4}\x01\x00{7}", re.DOTALL)
"""[MS-NRBF] section 2.6.1: the header of a .NET BinaryFormatter stream of version 1.0."""

_MARKS = (
    (re.compile("schemas.microsoft.com/clr/", re.IGNORECASE), "a type of .NET's SoapFormatter"),
    (re.compile(r"AAEAAAD/////"), "a .NET BinaryFormatter stream"),
)
"""Marks of serialized objects; no legitimate request has one anywhere."""

_NAME_START = (
    ":A-Z_a-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u037d\u037f-\u1fff\u200c\u200d"
    "\u2070-\u218f\u2c00-\u2fef\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd\U00010000-\U000effff"
)
"""XML 1.0 section 2.3: the first character of a name."""

_MARKUP = re.compile(f"<[!?/{_NAME_START}]")

_CALLER = "<<PROCESS>>: "
"""The agent's prefix for the program name of a caller without a name. It cannot be XML, which does
not allow `<<` (section 2.4)."""


def check_fields(
    fields: Iterable[SoapField], events: int, views: Iterable[str], where: str
) -> Deny | None:
    """Refuse content that no client sends; `views` are the document and its parsed text."""
    if events > MAX_EVENTS:
        return _deny(
            rules.DOCUMENT_EVENTS.of(where), f"{events} events; at most {MAX_EVENTS} allowed"
        )
    cookies = set()
    for field in fields:
        if field.has_elements and field.name in TEXTS:
            return _deny(
                rules.DOCUMENT_ELEMENT.of(where, field.name), "child elements instead of text"
            )
        if field.name in COOKIES:
            if field.name in cookies:
                return _deny(rules.DOCUMENT_ELEMENT.of(where, field.name), "more than one")
            cookies.add(field.name)
            problem = _cookie(field.text)
        else:
            problem = _event_text(field)
        if problem:
            return _deny(rules.DOCUMENT_ELEMENT.of(where, field.name), problem)
    for view in views:
        for mark, what in _MARKS:
            if mark.search(view):
                return _deny(rules.DOCUMENT_SERIALIZED.of(where), what)
    return None


def _cookie(text: str) -> str:
    """The problem of a cookie; empty without one."""
    # XML Schema part 2 section 3.2.16: base64Binary may contain white space.
    packed = "".join(text.split())
    if len(packed) > -(-MAX_COOKIE // 3) * 4:
        return f"more than {MAX_COOKIE} bytes"
    try:
        data = base64.b64decode(packed, validate=True)
    except (ValueError, binascii.Error):
        return "not base64"
    if len(data) > MAX_COOKIE:
        return f"more than {MAX_COOKIE} bytes"
    return "a .NET BinaryFormatter stream" if _BINARY_FORMATTER.match(data) else ""


def _event_text(field: SoapField) -> str:
    """The problem of an event's text; empty without one."""
    limit = MAX_EVENT_LIST if field.parent in _LISTS else MAX_EVENT_TEXT
    if len(field.text) > limit:
        return f"more than {limit} characters"
    if _MARKUP.search(field.text.replace(_CALLER, "")):
        return "markup in a text"
    if field.parent == "miscdata":
        if not _TAGGED.fullmatch(field.text):
            return f"not a tag of 1 to {MAX_EVENT_TAG} characters, `=` and a value"
        if _SERVERS_TAG.match(field.text):
            return "a tag that only WSUS itself uses"
    return ""


def _deny(rule: rules.Rule, detail: str) -> Deny:
    return Deny(Reason.SOAP_CONTENT, rule, detail)
