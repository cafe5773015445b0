"""Readable views of ConfigMgr messages: bytes -> text. Sans-IO.

    recognize    the kind of a message, from its request or response
    render       the text: a title, the number of hidden values, then the message

Views decide nothing, and the bridge neither sends nor logs them. Any bytes result in a text of
limited size, in linear time.
"""

from __future__ import annotations

from enum import Enum, auto

from ibcm_bridge.messages.views.document import show_response
from ibcm_bridge.messages.views.message import show_reply, show_request
from ibcm_bridge.messages.views.page import Page

MAX_BODY = 33_554_432
"""Bytes of a body; far more than the bridge accepts for any message."""


class Message(Enum):
    """The kinds of messages that have a view."""

    REQUEST = auto()
    """A CCM_POST request."""
    REPLY = auto()
    """The reply to a CCM_POST request."""
    DOCUMENT = auto()
    """The response to a GET request."""


_RESOURCES = (".sms_aut", ".sms_dcm", ".sms_pol")
"""Resources for which a management point returns a document (protocol.md §4)."""

_MSG = "\ufeff<Msg".encode("utf-16-le")
_SEARCHED_BYTES = 512
"""The first part of a message begins within this number of bytes."""


def recognize(
    method: str, target: str, content_type: bytes, body: bytes, *, status: int | None
) -> Message | None:
    """The kind of a message; None if it has no view here. `status` is None for a request."""
    framed = body.startswith(b"--")
    if method == "CCM_POST" or (framed and _MSG in body[:_SEARCHED_BYTES]):
        if status is None:
            return Message.REQUEST
        # A refusal is a page or a text, which mitmproxy's other views show.
        is_reply = framed or (not body and status == 200) or b"multipart/" in content_type.lower()
        return Message.REPLY if is_reply else None
    path = target.partition("?")[0].lower()
    if method == "GET" and status in (200, 206) and path.startswith("/sms_mp"):
        return Message.DOCUMENT if path.endswith(_RESOURCES) else None
    return None


def render(
    kind: Message, content_type: bytes, body: bytes, *, secrets: bool = False, how_to_see: str = ""
) -> str:
    """The text of a message. `secrets` shows all values; `how_to_see` explains how to enable it."""
    if len(body) > MAX_BODY:
        return f"{len(body):,} bytes, too large for a view"
    page = Page(secrets=secrets)
    if kind is Message.REQUEST:
        title = show_request(content_type, body, page)
    elif kind is Message.REPLY:
        title = show_reply(content_type, body, page)
    else:
        title = show_response(body, page)
    return page.text(title, how_to_see)
