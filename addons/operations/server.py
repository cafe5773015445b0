"""Serves `/metrics`, `/live` and `/ready` over plain HTTP.

`/live` is 200 if an event loop responds. `/ready` is 503 if this machine should get no traffic.
Problems that all machines share are `degraded`, with 200: otherwise a load balancer would remove
all machines at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any

import tornado.httpserver
import tornado.iostream
import tornado.web

from ibcm_bridge.addons.operations.exposition import exposition
from ibcm_bridge.addons.operations.numbers import Snapshot

logger = logging.getLogger(__name__)

MAX_REQUEST = 16_384
"""Limit for the head and the body of a request in bytes."""

IDLE_SECONDS = 10.0
"""Time for a request, and between requests. A scraper connects again if that has passed."""

PAUSE_SECONDS = 1.0
"""Time until another attempt to accept a connection."""

type State = Callable[[], Snapshot]
"""Returns the present state of all processes."""


class OperationsServer:
    """Serves on sockets that already listen."""

    def __init__(self, sockets: Sequence[socket.socket], state: State) -> None:
        application = tornado.web.Application(
            [(r"/metrics", _Metrics), (r"/live", _Live), (r"/ready", _Ready)],
            default_handler_class=_Unknown,
            log_function=lambda _handler: None,
            state=state,
        )
        self._server = tornado.httpserver.HTTPServer(
            application,
            max_header_size=MAX_REQUEST,
            max_body_size=MAX_REQUEST,
            idle_connection_timeout=IDLE_SECONDS,
            body_timeout=IDLE_SECONDS,
        )
        self._listeners = [_Listener(listening, self._server) for listening in sockets]

    async def stop(self) -> None:
        """Stop listening, and close all connections."""
        for listener in self._listeners:
            listener.close()
        await self._server.close_all_connections()


class _Listener:
    """Accepts connections, and pauses while the system has no file or memory for another one.

    tornado's own listener would try again at once, and log a traceback each time.
    """

    def __init__(self, listening: socket.socket, server: tornado.httpserver.HTTPServer) -> None:
        self._socket, self._server = listening, server
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._listen()

    def close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _listen(self) -> None:
        self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        try:
            connection, address = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another process has accepted it, or the client has closed it
        except OSError:
            self._loop.remove_reader(self._socket)
            self._pause = self._loop.call_later(PAUSE_SECONDS, self._listen)
            return
        self._server.handle_stream(tornado.iostream.IOStream(connection), address)


class _Handler(tornado.web.RequestHandler):
    """Responds with the state. Other methods than GET and HEAD are refused."""

    SUPPORTED_METHODS = ("GET", "HEAD")

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")

    def state(self) -> Snapshot:
        state: Snapshot = self.settings["state"]()
        return state

    def respond(self, status: int, **fields: object) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(fields) + "\n")

    def write_error(self, status_code: int, **_: Any) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code}\n")

    def log_exception(self, kind: Any, error: Any, trace: Any) -> None:
        if not isinstance(error, tornado.web.HTTPError):
            logger.error("defect in the metrics: %s", kind.__name__, exc_info=trace and error)

    def get(self) -> None:
        raise NotImplementedError

    def head(self) -> None:
        self.get()


class _Metrics(_Handler):
    def get(self) -> None:
        body, media_type = exposition(self.state(), self.request.headers.get("Accept", ""))
        self.set_header("Content-Type", media_type)
        self.finish(body)


class _Live(_Handler):
    def get(self) -> None:
        self.respond(200, live=True)


class _Ready(_Handler):
    def get(self) -> None:
        state = self.state()
        self.respond(
            503 if state.not_ready else 200,
            ready=not state.not_ready,
            not_ready=state.not_ready,
            degraded=state.degraded,
        )


class _Unknown(_Handler):
    def get(self) -> None:
        raise tornado.web.HTTPError(404)
