"""What a management point answers to GET: policy, lists, certificates (protocol.md §3.3, §4)."""

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
"""Root -> what it is; another root stands for itself."""

_ENVELOPED = bytes.fromhex("06092a864886f70d010703")
"""The object identifier of CMS EnvelopedData (RFC 5652 §6.1)."""

_HTML = re.compile(r"\s*<(?:!doctype\s+)?html\b", re.IGNORECASE)


def show_response(body: bytes, page: Page) -> str:
    """Add a response to the page; its title."""
    if not body:
        return "Empty answer of a management point"
    if body[:1] == b"\x30" and _ENVELOPED in body[:64]:
        return f"Encrypted (CMS EnvelopedData), {len(body):,} bytes: only its client can read it"
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
    # protocol.md §1.7: what the policy ISAPI answers when it fails.
    for line in text.splitlines():
        if page.full:
            break
        page.line(page.value(line))
    return "A web page in place of a document; a management point that fails answers so"
