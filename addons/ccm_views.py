"""ConfigMgr's messages, readable in mitmproxy: mitmdump -s .../ccm_views.py (docs/operating.md).

For any mitmproxy, the bridge need not run. `ibcm_bridge.messages.views` does the reading; this
tells mitmproxy about it, and what the messages are called there.
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
    """CCM_POST, its answers, and what a management point answers to GET."""

    @property
    def name(self) -> str:
        """What it is chosen by."""
        return "ConfigMgr"

    @property
    def syntax_highlight(self) -> SyntaxHighlight:
        """None: that of XML takes mitmproxy 12.2 half a minute for 256 KB, and more as it grows."""
        return "none"

    def prettify(self, data: bytes, metadata: Metadata) -> str:
        """The message as text."""
        kind = _kind(data, metadata)
        if kind is None:
            return "Not a message of ConfigMgr's, by its verb, its path and how it begins."
        secrets = getattr(ctx.options, OPTION, False) is True
        content_type = _content_type(metadata)
        try:
            return render(kind, content_type, data, secrets=secrets, how_to_see=HOW_TO_SEE)
        except Exception as error:
            # mitmproxy would show the message as it is, with every secret in it.
            return f"A defect of this view: {type(error).__name__}. Another view shows the message."

    def render_priority(self, data: bytes, metadata: Metadata) -> float:
        """Before mitmproxy's own views, which have 1, of what is a message; else never."""
        return -1 if _kind(data, metadata) is None else 2


class CcmViews:
    """The addon: a view while it is loaded, and the option that shows secrets."""

    def __init__(self) -> None:
        self._view = ConfigMgrView()

    def load(self, loader: Loader) -> None:
        """Add the view."""
        loader.add_option(
            OPTION,
            bool,
            False,
            "Show passwords, other secrets, signatures and keys in ConfigMgr's messages.",
        )
        contentviews.add(self._view)

    def done(self) -> None:
        """Remove it, unless another one has taken its name since."""
        views = contentviews.registry
        name = self._view.name.lower()
        if views.get(name) is self._view:
            # mitmproxy has a way to add a view and none to remove one.
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
    """The whole field; `metadata.content_type` is without the boundary."""
    if metadata.http_message is None:
        return b""
    fields = metadata.http_message.headers.fields
    return next((value for name, value in fields if name.lower() == b"content-type"), b"")


addons = [CcmViews()]
