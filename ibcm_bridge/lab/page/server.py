"""The HTTP server of the page, on loopback. `guard` controls the access.

    GET  /?token=...           the page
    GET  /files/TOKEN/NAME     its files
    GET  /events?token=...     events, as server-sent events
    GET  /lab                  all cases and faults, and the summary of the lab
    GET  /case/ID              one case, with its preview and its result
    GET  /wire/ID              what passed the wire in this case
    GET  /capture/ID/PATH.pcapng?token=...    the same as a file for Wireshark
    POST /do/send {"cases": [...]}    /do/tls12 {"case"}    /do/life    /do/stop
         /do/fault {"id", "on"}    /do/apply {"text"}    /do/reset
         /do/scenes {"names": [...], "user_policy", "internet_user_policy"}
    GET  /edit/ID              the parts of a case that can be edited
    POST /explain, /try        an edited request: the decision on it, and the same with sending it
    GET  /scenes               the last run of each scene
    GET  /policy               the policy in use; POST {"text"}: the findings of `check` on another

Except for the page, files and events, the token is in a header field, which a form cannot send.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.ioloop import PeriodicCallback
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError

from ibcm_bridge.lab.comparison.verdicts import Grade
from ibcm_bridge.lab.page.case_view import card
from ibcm_bridge.lab.page.controller import CASES, Controller
from ibcm_bridge.lab.page.guard import Guard
from ibcm_bridge.lab.page.handlers import ByAddress, Guarded
from ibcm_bridge.lab.page.scene_runs import scene_cards
from ibcm_bridge.lab.page.streams import Streams, event_text
from ibcm_bridge.lab.page.tour import tour
from ibcm_bridge.lab.page.try_handlers import (
    EditHandler,
    ExplainHandler,
    PolicyHandler,
    ScenesHandler,
    TryHandler,
)
from ibcm_bridge.lab.page.wire_handlers import CaptureHandler, WireHandler
from ibcm_bridge.lab.perimeter.faults import FAULTS
from ibcm_bridge.lab.picture.drawing import css
from ibcm_bridge.lab.simulated.user import ClientSettings

MAX_BODY = 64 * 1024
TRAFFIC_MILLISECONDS = 200
HEARTBEAT_SECONDS = 15.0
"""After this time without an event, a comment is sent, which detects a closed connection."""

MAX_STREAMS = 32

_FILES = {
    "page.css": "text/css; charset=utf-8",
    "picture.css": "text/css; charset=utf-8",
    "edit.js": "text/javascript; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "case_list.js": "text/javascript; charset=utf-8",
    "results.js": "text/javascript; charset=utf-8",
    "policy.js": "text/javascript; charset=utf-8",
    "scenes.js": "text/javascript; charset=utf-8",
    "tour.js": "text/javascript; charset=utf-8",
    "view.js": "text/javascript; charset=utf-8",
    "try.css": "text/css; charset=utf-8",
    "wire.css": "text/css; charset=utf-8",
    "wire.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


_GRADES = [{"grade": grade.value, "mark": grade.mark, "meaning": grade.meaning} for grade in Grade]


class PageServer:
    """The server of the page. `address` is known before `serve` is called."""

    def __init__(self, summary: Mapping[str, Any], loop: asyncio.AbstractEventLoop) -> None:
        self._sockets = bind_sockets(0, "127.0.0.1")
        port = self._sockets[0].getsockname()[1]
        self.guard = Guard.of(port)
        self.address = f"http://127.0.0.1:{port}/?token={self.guard.token}"
        self.streams = Streams(loop)
        self._summary = summary

    async def serve(self, controller: Controller, stopped: asyncio.Event) -> None:
        """Serve the page until `stopped` is set."""
        known = {
            "guard": self.guard,
            "controller": controller,
            "streams": self.streams,
            "summary": self._summary,
        }
        application = Application(
            [
                (r"/", _Index, known),
                (r"/files/([^/]+)/([a-z_.]+)", _File, known),
                (r"/events", _Events, known),
                (r"/lab", _Lab, known),
                (r"/case/([a-z0-9.-]+)", _Case, known),
                (r"/wire/([a-z0-9.-]+)", WireHandler, known),
                (r"/capture/([a-z0-9.-]+)/([a-z0-9.-]+)\.pcapng", CaptureHandler, known),
                (r"/do/([a-z0-9]+)", _Do, known),
                (r"/edit/([a-z0-9.-]+)", EditHandler, known),
                (r"/explain", ExplainHandler, known),
                (r"/try", TryHandler, known),
                (r"/policy", PolicyHandler, known),
                (r"/scenes", ScenesHandler, known),
            ],
            default_handler_class=_NotFound,
            default_handler_args=known,
            log_function=lambda _: None,
        )
        server = HTTPServer(application, max_body_size=MAX_BODY)
        server.add_sockets(self._sockets)
        following = PeriodicCallback(controller.publish_traffic, TRAFFIC_MILLISECONDS)
        following.start()
        try:
            await stopped.wait()
        finally:
            following.stop()
            server.stop()
            self.streams.end()
            await server.close_all_connections()


class _NotFound(Guarded):
    def get(self) -> None:
        raise HTTPError(404)

    post = get


class _Index(ByAddress):
    def get(self) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(_read("index.html").replace("{token}", self.guard.token))


class _File(Guarded):
    def token(self) -> str:
        return self.path_args[0]

    def get(self, _token: str, name: str) -> None:
        if name not in _FILES:
            raise HTTPError(404)
        self.set_header("Content-Type", _FILES[name])
        self.finish(css() if name == "picture.css" else _read(name))


class _Events(ByAddress):
    def prepare(self) -> None:
        super().prepare()
        self._events: asyncio.Queue[str | None] = asyncio.Queue()

    def on_connection_close(self) -> None:
        """End now, not with the next event."""
        self._events.put_nowait(None)

    async def get(self) -> None:
        if len(self.streams.open) >= MAX_STREAMS:
            raise HTTPError(503, log_message="Too many pages are open.")
        events = self._events
        self.set_header("Content-Type", "text/event-stream")
        self.streams.open.add(events)
        try:
            text: str | None = event_text("hello", self.controller.state())
            while text is not None:
                self.write(text)
                await self.flush()
                try:
                    text = await asyncio.wait_for(events.get(), HEARTBEAT_SECONDS)
                except TimeoutError:
                    text = ": heartbeat\n\n"
        except StreamClosedError:
            pass
        finally:
            self.streams.open.discard(events)


class _Lab(Guarded):
    def get(self) -> None:
        faults = [
            {"id": fault.id, "title": fault.title, "explanation": fault.explanation}
            for fault in FAULTS.values()
        ]
        cases = [card(family, case) for family, case in CASES.values()]
        self.json(
            {
                "cases": cases,
                "faults": faults,
                "grades": _GRADES,
                "tour": tour(),
                "scenes": scene_cards(),
                "summary": self.summary,
            }
        )


class _Case(Guarded):
    async def get(self, name: str) -> None:
        if name not in CASES:
            raise HTTPError(404, log_message="Unknown case.")
        # Some bodies take long to create.
        self.json(await asyncio.to_thread(self.controller.case, name))


class _Do(Guarded):
    def post(self, action: str) -> None:
        try:
            given = json.loads(self.request.body or b"{}")
            _ACTIONS[action](self.controller, given)
        except (KeyError, TypeError, ValueError):
            raise HTTPError(400, log_message="Unknown action or wrong parameters.") from None
        self.set_status(202)
        self.json({})


def _send(controller: Controller, given: dict[str, Any]) -> None:
    controller.send([str(case_id) for case_id in given["cases"]])


def _fault(controller: Controller, given: dict[str, Any]) -> None:
    controller.fault(str(given["id"]), given["on"] is True)


def _scenes(controller: Controller, given: dict[str, Any]) -> None:
    settings = ClientSettings(
        user_policy=given.get("user_policy") is not False,
        internet_user_policy=given.get("internet_user_policy") is not False,
    )
    controller.scenes.play([str(name) for name in given["names"]], settings)


def _apply(controller: Controller, given: dict[str, Any]) -> None:
    if not isinstance(given["text"], str):
        raise TypeError("not a text")
    controller.playground.apply(given["text"])


_ACTIONS: dict[str, Callable[[Controller, dict[str, Any]], None]] = {
    "send": _send,
    "fault": _fault,
    "tls12": lambda controller, given: controller.send_with_tls_1_2(str(given["case"])),
    "life": lambda controller, _: controller.run_life_cycle(),
    "scenes": _scenes,
    "apply": _apply,
    "reset": lambda controller, _: controller.playground.reset(),
    "stop": lambda controller, _: controller.stop(),
}


def _read(name: str) -> str:
    return files("ibcm_bridge.lab.page").joinpath(name).read_text("utf-8")
