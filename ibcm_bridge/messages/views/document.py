"""Views of a management point's responses to GET: policy, lists, certificates (protocol.md §3.3,
§4)."""

from __future__ import annotations

import re

from ibcm_bridge.messages.views.message import show_text
from ibcm_bridge.messages.views.page import Page
from ibcm_bridge.messages.xml import decode_xml

_TITLES = {
    "policy": "Policy",
    "policyxml": "Policy",
    "replyassignments": "Policy assignments",
    "mplist": "Management points",
    "mpcertificates": "Certificates of management points",
    "mpkeyinformation": "Keys of a management point",
}
"""Root element -> title."""

_ENVELOPED = bytes.fromhex("06092a864886f70d010703")
"""The object identifier of CMS EnvelopedData (RFC 5652 §6.1)."""

_HTML = re.compile(r"\s*<(?:!doctype\s+)?html\b", re.IGNORECASE)


def show_response(body: bytes, page: Page) -> str:
    """Add a response to the page, and return its title."""
    if not body:
        return "Empty response of a management point"
    if body[:1] == b"\x30" and _ENVELOPED in body[:64]:
        return f"Encrypted (CMS EnvelopedData), {len(body):,} bytes; only its client can decrypt it"
    text = decode_xml(body)
    if text is None:
        return f"Not readable, {len(body):,} bytes: neither UTF-8 nor UTF-16LE"
    if _HTML.match(text):
        return _web_page(text, page)
    root = show_text(text, page)
    if not root:
        return f"Not readable, {len(body):,} bytes"
    return _TITLES.get(root, f"Document of a management point: {root}")


def _web_page(text: str, page: Page) -> str:
    # protocol.md §1.7: the policy ISAPI returns a web page if it fails.
    for line in text.splitlines():
        if page.full:
            break
        page.line(page.value(line))
    return "Web page instead of a document: the management point reports an error"
