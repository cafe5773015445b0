"""ConfigMgr's messages made readable for who looks at traffic: bytes -> text. Sans-IO.

    recognize    which kind of message bytes are, by where they were found
    render       the text: a title, what is not shown, then the message

Nothing is decided here, and nothing of it is sent or logged by the bridge. Whatever the bytes are,
a text comes of them, of bounded size, in time that grows no faster than they do.
"""

from __future__ import annotations

from enum import Enum, auto

from ibcm_bridge.messages.views.document import show_response
from ibcm_bridge.messages.views.message import show_reply, show_request
from ibcm_bridge.messages.views.page import Page

MAX_BODY = 33_554_432
"""Bytes of a body that are looked into; far more than the bridge takes of any message."""


class Message(Enum):
    """What there is a view of."""

    REQUEST = auto()
    """CCM_POST."""
    REPLY = auto()
    """The reply to one."""
    DOCUMENT = auto()
    """The response to a GET."""


_RESOURCES = (".sms_aut", ".sms_dcm", ".sms_pol")
"""What a management point answers with a document (protocol.md §4)."""

_MSG = "\ufeff<Msg".encode("utf-16-le")
_SEARCHED_BYTES = 512
"""Bytes in which the first part of a message begins."""


def recognize(
    method: str, target: str, content_type: bytes, body: bytes, *, status: int | None
) -> Message | None:
    """Which message this is; None where it is another's. `status` is None of a request."""
    framed = body.startswith(b"--")
    if method == "CCM_POST" or (framed and _MSG in body[:_SEARCHED_BYTES]):
        if status is None:
            return Message.REQUEST
        # What refuses a message answers with a page or a text, which others show.
        is_reply = framed or (not body and status == 200) or b"multipart/" in content_type.lower()
        return Message.REPLY if is_reply else None
    path = target.partition("?")[0].lower()
    if method == "GET" and status in (200, 206) and path.startswith("/sms_mp"):
        return Message.DOCUMENT if path.endswith(_RESOURCES) else None
    return None


def render(
    kind: Message, content_type: bytes, body: bytes, *, secrets: bool = False, how_to_see: str = ""
) -> str:
    """The text of a message. `secrets` shows everything; `how_to_see` says how to ask for that."""
    if len(body) > MAX_BODY:
        return f"{len(body):,} bytes: too large for a view"
    page = Page(secrets=secrets)
    if kind is Message.REQUEST:
        title = show_request(content_type, body, page)
    elif kind is Message.REPLY:
        title = show_reply(content_type, body, page)
    else:
        title = show_response(body, page)
    return page.text(title, how_to_see)
