"""Views of CCM_POST and its replies (protocol.md §1.3-§1.7).

The bridge's own parsers are used. For a message that they refuse, the view has the reason, and the
header if it can be parsed.
"""

from __future__ import annotations

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.messages.ccm import read_ccm_request
from ibcm_bridge.messages.ccm_reply import CcmReply, read_ccm_reply
from ibcm_bridge.messages.limits import MAX_HEADER
from ibcm_bridge.messages.multipart import read_multipart
from ibcm_bridge.messages.views.header import show_header
from ibcm_bridge.messages.views.markup import show_document
from ibcm_bridge.messages.views.page import Page
from ibcm_bridge.messages.views.tables import show_table
from ibcm_bridge.messages.views.tree import read_tree


def show_request(content_type: bytes, body: bytes, page: Page) -> str:
    """Add a CCM_POST to the page, and return its title."""
    message = read_ccm_request(content_type, body, page.inflated)
    if isinstance(message, Deny):
        return _unreadable("CCM_POST", message, content_type, body, page)
    show_header(message.header.text, page)
    if message.encrypted:
        page.line()
        page.line(
            f"The payload is encrypted (hook `encrypt`), {len(message.payload.body):,} bytes. Only "
            "the site can decrypt it."
        )
    _show_documents([document.text for document in message.documents], page)
    return f"CCM_POST for {page.value(message.header.target_endpoint) or 'no endpoint'}"


def show_reply(content_type: bytes, body: bytes, page: Page) -> str:
    """Add the reply to a CCM_POST to the page, and return its title."""
    reply = read_ccm_reply(content_type, body, page.inflated)
    if isinstance(reply, Deny):
        return _unreadable("reply to CCM_POST", reply, content_type, body, page)
    if reply.empty:
        return "Empty reply to CCM_POST: the client is unknown, or the management point failed"
    if reply.no_reply:
        return "NoReply: the message was accepted, without a reply document"
    show_header(reply.header_text, page)
    _show_documents(reply.documents, page)
    return _reply_title(reply)


def _reply_title(reply: CcmReply) -> str:
    roots = ", ".join(reply.roots) or "no document"
    unread = f"; unreadable parts: {reply.unread_parts}" if reply.unread_parts else ""
    return f"Reply to CCM_POST: {roots}{unread}"


def _show_documents(documents: tuple[str, ...] | list[str], page: Page) -> None:
    for number, text in enumerate(documents, 1):
        if page.full:
            return
        page.line()
        page.line(f"Document {number} of {len(documents)}, {len(text):,} characters")
        page.line()
        show_text(text, page)


def show_text(text: str, page: Page) -> str:
    """Add an XML document and its table. Return its root element; empty if it is not XML."""
    tree = read_tree(text, page)
    if isinstance(tree, Deny):
        page.line(f"Not XML: {tree.detail}")
        return ""
    show_table(tree.root, page)
    show_document(tree, page)
    return tree.root.local


def _unreadable(what: str, why: Deny, content_type: bytes, body: bytes, page: Page) -> str:
    """Add the header of a refused message if it has one. Return a title with the reason."""
    parts = read_multipart(content_type, body)
    if not isinstance(parts, Deny) and len(parts) > 1 and len(parts[0].body) <= MAX_HEADER:
        text = parts[0].body.decode("utf-16-le", "replace")
        if text.startswith(("\ufeff<", "<")):
            show_header(text, page)
            page.line()
            sizes = ", ".join(f"{len(part.body):,}" for part in parts[1:])
            page.line(f"The parts after the header are not shown; bytes: {sizes}")
    return f"Unreadable {what}: {why.detail} ({why.reason.value}, {why.rule})"
