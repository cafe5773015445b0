"""Runs a server of the standard library in a thread."""

from __future__ import annotations

import threading
from socketserver import BaseServer
from typing import Self

POLL_SECONDS = 0.05
"""Poll interval for the shutdown; the default is half a second."""


class ServerThread:
    """A context manager. The server listens when it is created, and responds in the context."""

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
