"""Bodies from a web page: fields, JSON and XML in UTF-8."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.inspection.subject import Content, Subject, Views
from ibcm_bridge.messages.xml import UTF_8, read_xml
from ibcm_bridge.request.head import content_type_parts

MAX_PIECES = 20_000
"""Escapes of a form, or brackets, braces and commas of its JSON. Decoding one takes as long as a
hundred bytes of text. ASP.NET limits a form to 1,000 fields (aspnet:MaxHttpCollectionKeys), and
JSON to 1,000 members (aspnet:MaxJsonDeserializerMembers)."""

_NOT_AN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def read_form(subject: Subject, _limit: int) -> Content | Deny:
    """Parse a body by its media type."""
    if not subject.body:
        return Content({})
    media_type, parameters = content_type_parts(subject.content_type)
    if parameters not in (b"", b"charset=utf-8"):
        return Deny(
            Reason.MEDIA_TYPE,
            rules.BODY_CHARSET.of(subject.body_rule.name),
            "a media type parameter other than charset=utf-8",
        )
    return _FORMS[media_type](subject)


def utf_8(subject: Subject) -> str | Deny:
    """Decode a body."""
    try:
        return subject.body.decode("utf-8")
    except UnicodeDecodeError:
        return Deny(Reason.ENCODING, subject.where, "not UTF-8")


def parsed_text_view(text: str) -> Views:
    """The view of the text that a parser returned, unless it is empty."""
    return {"parsed-text": text.encode()} if text else {}


def _xml(subject: Subject) -> Content | Deny:
    text = utf_8(subject)
    parsed_text = text if isinstance(text, Deny) else read_xml(text, subject.where, UTF_8)
    if isinstance(parsed_text, Deny):
        return parsed_text
    views = {"sent": subject.body, **parsed_text_view(parsed_text)}
    return Content(views, documents=(subject.body,))


def _urlencoded(subject: Subject) -> Content | Deny:
    if _NOT_AN_ESCAPE.search(subject.body):
        # Decoders differ on it, and browsers escape a percent sign.
        return _malformed(subject, "a percent sign without two hexadecimal digits")
    if subject.body.count(b"%") > MAX_PIECES:
        return _malformed(subject, f"more than {MAX_PIECES} escapes")
    decoded = unquote_to_bytes(subject.body.replace(b"+", b" "))
    return Content({"sent": subject.body, "decoded": decoded})


def _malformed(subject: Subject, detail: str) -> Deny:
    return Deny(Reason.ENCODING, rules.BODY_ESCAPES.of(subject.body_rule.name), detail)


def _json(subject: Subject) -> Content | Deny:
    rule = rules.BODY_JSON.of(subject.body_rule.name)
    if sum(map(subject.body.count, (b"[", b"{", b","))) > MAX_PIECES:
        return Deny(Reason.ENCODING, rule, f"more than {MAX_PIECES} values")
    try:
        # Objects become lists, so that no value of a duplicate name is lost.
        value = json.loads(subject.body.decode("utf-8"), object_pairs_hook=_flat)
    except UnicodeDecodeError:
        return Deny(Reason.ENCODING, rule, "not UTF-8")
    except (ValueError, RecursionError):
        return Deny(Reason.ENCODING, rule, "not JSON, or nested too deeply")
    strings, waiting = [], [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            strings.append(item)
        elif isinstance(item, list):
            waiting += item
    # An empty line, because a value may have line breaks in it.
    decoded = "\n\n".join(strings).encode("utf-8", "surrogatepass")
    return Content({"sent": subject.body, "decoded": decoded})


def _flat(pairs: list[tuple[str, object]]) -> list[object]:
    return [item for pair in pairs for item in pair]


_FORMS: dict[bytes, Callable[[Subject], Content | Deny]] = {
    b"application/x-www-form-urlencoded": _urlencoded,
    b"application/json": _json,
    b"application/soap+xml": _xml,
    b"text/xml": _xml,
}
"""Media type -> reader. Authorization has refused other media types."""
