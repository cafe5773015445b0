"""The base of all layers of the bridge: mitmproxy's layer, with less memory."""

from __future__ import annotations

from typing import Any

from mitmproxy.proxy import events
from mitmproxy.proxy.layer import Layer


class _ShortQueue(list[events.Event]):
    """The events of a layer that waits. An empty deque takes 760 bytes."""

    __slots__ = ()

    def popleft(self) -> events.Event:
        return self.pop(0)


class SmallLayer(Layer):
    """A layer. A connection with its leg has five, and most never store an event."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._paused_event_queue = _ShortQueue()  # type: ignore[assignment]
