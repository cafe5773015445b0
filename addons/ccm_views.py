"""Shows ConfigMgr messages in mitmproxy: mitmdump -s .../ccm_views.py (docs/operating.md).

It works in any mitmproxy, without a running bridge. `ibcm_bridge.messages.views` makes the views;
this addon registers them in mitmproxy.
"""

from __future__ import annotations

from mitmproxy import contentviews, ctx
from mitmproxy.addonmanager import Loader
from mitmproxy.contentviews import Contentview, Metadata, SyntaxHighlight
from mitmproxy.http import HTTPFlow, Request, Response

from ibcm_bridge.messages.views import Message, recognize, render

OPTION = "ccm_secrets"
HOW_TO_SEE = f"to see them: --set {OPTION}=true"


class ConfigMgrView(Contentview):
    """Shows CCM_POST requests, their replies, and documents of a management point."""

    @property
    def name(self) -> str:
        """The name by which a user selects the view."""
        return "ConfigMgr"

    @property
    def syntax_highlight(self) -> SyntaxHighlight:
        """None. mitmproxy 12.2 highlights XML in quadratic time: 30 s for 256 KB."""
        return "none"

    def prettify(self, data: bytes, metadata: Metadata) -> str:
        """Return the message as text."""
        kind = _kind(data, metadata)
        if kind is None:
            return "Not a ConfigMgr message (by method, path and first bytes)."
        secrets = getattr(ctx.options, OPTION, False) is True
        content_type = _content_type(metadata)
        try:
            return render(kind, content_type, data, secrets=secrets, how_to_see=HOW_TO_SEE)
        except Exception as error:
            # After an exception mitmproxy would show the raw message, with its secrets.
            return f"This view failed: {type(error).__name__}. Select another view."

    def render_priority(self, data: bytes, metadata: Metadata) -> float:
        """Return a priority above mitmproxy's views (1) for messages, otherwise a negative one."""
        return -1 if _kind(data, metadata) is None else 2


class CcmViews:
    """The addon: it provides the view while loaded, and the option that shows secrets."""

    def __init__(self) -> None:
        self._view = ConfigMgrView()

    def load(self, loader: Loader) -> None:
        """Add the option and the view."""
        loader.add_option(
            OPTION,
            bool,
            False,
            "Show passwords, other secrets, signatures and keys in ConfigMgr messages.",
        )
        contentviews.add(self._view)

    def done(self) -> None:
        """Remove the view, unless another view has replaced it."""
        views = contentviews.registry
        name = self._view.name.lower()
        if views.get(name) is self._view:
            # mitmproxy has a function to add a view, but none to remove one.
            del views._by_name[name]
            views.on_change.send(self._view)


def _kind(data: bytes, metadata: Metadata) -> Message | None:
    message = metadata.http_message
    request = message if isinstance(message, Request) else None
    if request is None and isinstance(metadata.flow, HTTPFlow):
        request = metadata.flow.request
    method, target = (request.method, request.path) if request else ("", "")
    status = message.status_code if isinstance(message, Response) else None
    return recognize(method, target, _content_type(metadata), data, status=status)


def _content_type(metadata: Metadata) -> bytes:
    """Return the whole field. `metadata.content_type` lacks the boundary."""
    if metadata.http_message is None:
        return b""
    fields = metadata.http_message.headers.fields
    return next((value for name, value in fields if name.lower() == b"content-type"), b"")


addons = [CcmViews()]
