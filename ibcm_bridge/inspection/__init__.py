"""Is there malicious content in this body? (BRIDGE-INSPECT)

`inspect` takes what `authorization` allowed and the whole body, and is the only maker of
`Approved`. One function per kind of body, chosen by the role's table; each yields the *views* that
the content engines then look at. A body that cannot be read is refused, never waved through.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ibcm_bridge.decisions import Approved, Authorized, Deny, Reason
from ibcm_bridge.inspection.engines import ContentEngine, EngineError
from ibcm_bridge.messages.ccm import CcmRequest, read_ccm_request
from ibcm_bridge.messages.xml import character_data, check_xml, has_element, root_element
from ibcm_bridge.roles import Inspection, RefusedMessage

Views = dict[str, bytes]
"""Name of a view -> its bytes."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a body holds: the views to look at, and the endpoint that a message is for."""

    views: Views
    endpoint: str = ""


def inspect(
    authorized: Authorized, body: bytes, engines: Sequence[ContentEngine]
) -> Approved | Deny:
    """Look into a body, every view with every engine."""
    announced = authorized.head.length or 0
    if len(body) != announced:
        # The framing said otherwise: forwarding would let the next parser split it elsewhere.
        return Deny(Reason.BODY_INCOMPLETE, "bodies.length", f"{len(body)} of {announced} bytes")
    content = _READERS[authorized.body_rule.inspection](authorized, body)
    if isinstance(content, Deny):
        return content
    for name, data in content.views.items():
        for engine in engines:
            try:
                finding = engine.scan(data)
            except EngineError as failure:
                return Deny(Reason.ENGINE_UNAVAILABLE, f"engines.{engine.name}", str(failure))
            if finding is not None:
                return Deny(
                    Reason.MALICIOUS_CONTENT, f"engines.{engine.name}", f"{finding} in {name}"
                )
    looked_at = tuple(f"{name}:{len(data)}" for name, data in content.views.items())
    return Approved(authorized, body, looked_at, content.endpoint)


def _no_body(_authorized: Authorized, body: bytes) -> Content | Deny:
    if body:
        return Deny(Reason.BODY_TOO_LARGE, "bodies.none", "a body where none belongs")
    return Content({})


def _not_inspectable(authorized: Authorized, _body: bytes) -> Content | Deny:
    return Deny(
        Reason.BODY_NOT_INSPECTABLE,
        f"bodies.{authorized.body_rule.name}",
        "this kind of body cannot be inspected yet, so it is not sent on",
    )


def _xml(_authorized: Authorized, body: bytes) -> Content | Deny:
    if not body:
        # RFC 4918 §9.1: a PROPFIND without a body asks for all properties.
        return Content({})
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return Deny(Reason.ENCODING, "bodies.xml", "not UTF-8")
    refusal = check_xml(text.encode(), "bodies.xml")
    return refusal if refusal is not None else Content({"sent": body, **_as_read(text)})


def _xml_text(_authorized: Authorized, body: bytes) -> Content | Deny:
    """XML that may be UTF-16, as Windows writes it (with or without a mark), or UTF-8."""
    encoding = "utf-8-sig"
    if body.startswith(b"\xff\xfe") or body[1:2] == b"\0":
        encoding = "utf-16-le"
    try:
        text = body.decode(encoding).removeprefix("\ufeff").rstrip("\0")
    except UnicodeDecodeError:
        return Deny(Reason.ENCODING, "bodies.state-message", "neither UTF-8 nor UTF-16LE")
    # A declaration of UTF-16 would be refused in what is now UTF-8, and says nothing new.
    text = re.sub(r"""(^<\?xml[^>]*?)\sencoding=["']utf-16(le)?["']""", r"\1", text, flags=re.I)
    refusal = check_xml(text.encode(), "bodies.state-message")
    if refusal is not None:
        return refusal
    return Content({"sent": body, "text": text.encode(), **_as_read(text)})


def _scanned(_authorized: Authorized, body: bytes) -> Content | Deny:
    """What has no form that is known here: looked at as it is."""
    return Content({"sent": body} if body else {})


def _ccm_message(authorized: Authorized, body: bytes) -> Content | Deny:
    message = read_ccm_request(
        authorized.head.value(b"content-type") or b"",
        body,
        authorized.body_rule.inflated_limit,
    )
    if isinstance(message, Deny):
        return message
    refusal = _refused_message(authorized.body_rule.refused_messages, message)
    if refusal is not None:
        return refusal
    # Signatures are mostly ASCII and the inflated bytes are UTF-16, so the text is looked at too.
    views = {
        "sent": body,
        "header": message.header_text.encode(),
        "inflated": message.inflated,
        "text": "\n".join(message.documents).encode(),
        **_as_read(message.header_text, *message.documents),
    }
    return Content(views, message.target_endpoint)


def _refused_message(rows: Sequence[RefusedMessage], message: CcmRequest) -> Deny | None:
    """What has no business on the Internet (protocol.md §2.4)."""
    endpoint, reply_to = message.target_endpoint.lower(), message.reply_to.lower()
    roots = [root_element(one).lower() for one in message.documents]
    for row in rows:
        if row.endpoint not in ("", endpoint) or row.reply_to not in ("", reply_to):
            continue
        about = [
            document
            for root, document in zip(roots, message.documents, strict=True)
            if row.root in ("", root) and (not row.element or has_element(document, row.element))
        ]
        if about or not (row.root or row.element):
            named = row.endpoint or row.reply_to or row.element or row.root
            return Deny(
                Reason.MESSAGE, "bodies.ccm-message.refused_messages", named, row.requirement
            )
    return None


def _as_read(*documents: str) -> Views:
    """What a reader of the XML gets to see, where that is not what stands in it.

    `&#88;`, a comment or a CDATA section in the middle would hide a text from the other views.
    """
    hidden = [one for one in documents if "&" in one or "<!" in one or "<?" in one[1:]]
    return {"as-read": b"\n".join(map(character_data, hidden))} if hidden else {}


_READERS: dict[Inspection, Callable[[Authorized, bytes], Content | Deny]] = {
    Inspection.NO_BODY: _no_body,
    Inspection.CCM_MESSAGE: _ccm_message,
    Inspection.XML: _xml,
    Inspection.XML_TEXT: _xml_text,
    Inspection.SCANNED: _scanned,
    Inspection.NOT_INSPECTABLE: _not_inspectable,
}
