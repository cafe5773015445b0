"""A server of the standard library in a thread of its own, for as long as a context lasts."""

from __future__ import annotations

import threading
from socketserver import BaseServer
from typing import Self

POLL_SECONDS = 0.05
"""How long the thread may take to notice that its server ends; by default half a second."""


class ServerThread:
    """A context manager. The server listens from the beginning, and responds within."""

    def __init__(self, server: BaseServer) -> None:
        self._serving = server
        self._thread = threading.Thread(
            target=server.serve_forever, args=(POLL_SECONDS,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._serving.shutdown()
        self._serving.server_close()
        self._thread.join()
