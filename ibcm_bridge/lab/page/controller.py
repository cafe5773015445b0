"""Runs the actions of the page in a thread, one at a time, and publishes events.

1. Actions wait in a queue; `stop` empties it.
2. The thread publishes each result as (event, data) and stores it, so that a page that opens later
   also shows it.
3. `publish_traffic` publishes new audit records, also those of other clients (curl, a real one).
"""

from __future__ import annotations

import logging
import queue
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path as FilePath
from typing import Any, NamedTuple

from ibcm_bridge.lab.cases.case import (
    BRIDGE,
    DP_TUNNEL,
    MP_TUNNEL,
    Case,
    ClientCertificate,
    Destination,
)
from ibcm_bridge.lab.cases.table import FAMILIES
from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.clients.life_cycle import LIFE, run_steps
from ibcm_bridge.lab.comparison.comparison import ConnectionsByName
from ibcm_bridge.lab.comparison.outcomes import PlainResult
from ibcm_bridge.lab.page import case_view
from ibcm_bridge.lab.page.captures import Captures, Path
from ibcm_bridge.lab.page.edits import Edits
from ibcm_bridge.lab.page.message_view import message_view
from ibcm_bridge.lab.page.plain_results import PlainResults
from ibcm_bridge.lab.page.playground import Playground
from ibcm_bridge.lab.page.request_preview import RequestPreview
from ibcm_bridge.lab.page.scene_runs import TITLES, SceneRuns
from ibcm_bridge.lab.page.tools import Tools
from ibcm_bridge.lab.page.traffic import traffic_line
from ibcm_bridge.lab.perimeter.faults import FAULTS
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from ibcm_bridge.lab.protocol.client import ConnectionEnded, HandshakeRefused, LabClient, Request

logger = logging.getLogger(__name__)

MAX_LINES = 60

type Publish = Callable[[str, dict[str, Any]], None]

CASES: dict[str, tuple[str, Case]] = {
    case.id: (family, case) for family, cases in FAMILIES.items() for case in cases
}


def _tunnel(request: Request) -> Destination:
    """A tunnel leads to one site system, a bridged name to several."""
    return DP_TUNNEL if request.target.startswith("/SMS_DP_") else MP_TUNNEL


_LIFE_CYCLE_PATHS: dict[str, Callable[[Request], Destination]] = {
    "bridge": lambda _: BRIDGE,
    "tunnel": _tunnel,
}


class _Action(NamedTuple):
    name: str
    run: Callable[[], None]


class PageParts(NamedTuple):
    """What `lab up` hands to the page."""

    tools: Tools
    control: FilePath | None
    """The control socket of the bridge."""
    faults_changed: Callable[[list[str]], None] = lambda _: None
    """Called with the titles of the active faults."""
    policy_changed: Callable[[bool], None] = lambda _: None
    """Called after each reload; True if the policy is another than the lab's."""


class Controller:
    """Runs the actions of the buttons. A context manager: its thread ends with it."""

    def __init__(
        self,
        perimeter: Perimeter,
        preview: RequestPreview,
        publish: Publish,
        parts: PageParts,
    ) -> None:
        self._faults_changed = parts.faults_changed
        self._perimeter = perimeter
        self._preview = preview
        self._publish = publish
        self._plain = PlainResults(perimeter)
        self._queue: queue.Queue[_Action | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._summaries: dict[str, dict[str, Any]] = {}
        self._details: dict[str, dict[str, Any]] = {}
        self._active_faults: list[str] = []
        self._selected_faults: dict[str, bool] = {}
        """Fault -> the state of its switch; changes can still be in the queue."""
        self._life_cycle: list[dict[str, Any]] = []
        self._running = ""
        self._lines: deque[dict[str, Any]] = deque(maxlen=MAX_LINES)
        self._records_read = 0
        self.captures = Captures()
        self.messages: dict[str, dict[str, Any]] = {}
        """Case -> the request that the bridge read."""
        self.edits = Edits(perimeter, parts.tools, self._plain_result, self.enqueue, publish)
        self.scenes = SceneRuns(perimeter, self.enqueue, publish, self._changes)
        self.playground = Playground(
            perimeter.bridge.policy_file,
            parts.control,
            parts.tools,
            self.enqueue,
            publish,
            changed=parts.policy_changed,
        )

    def __enter__(self) -> Controller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._queue.put(None)
        self._thread.join()
        self._plain.__exit__()

    # Actions of the buttons

    def enqueue(self, name: str, run: Callable[[], None]) -> None:
        """Run something in the thread, after the actions before it."""
        self._queue.put(_Action(name, run))
        self._publish_state()

    def send(self, ids: list[str]) -> None:
        """Send these cases. KeyError if a case is unknown; then none is sent."""
        for family, case in [CASES[case_id] for case_id in ids]:
            self._queue.put(_Action(case.id, partial(self._send, family, case)))
        self._publish_state()

    def send_with_tls_1_2(self, name: str) -> None:
        """Send a case through the tunnel with TLS 1.2. KeyError if it is unknown."""
        _, case = CASES[name]
        self.enqueue(name, partial(self._send_with_tls_1_2, case))

    def run_life_cycle(self) -> None:
        """Run the life cycle of a client on both paths."""
        self.enqueue("life_cycle", self._run_life_cycle)

    def fault(self, name: str, on: bool) -> None:
        """Switch a fault on or off. KeyError if it is unknown."""
        if name not in FAULTS:
            raise KeyError(name)
        self._selected_faults[name] = on
        self.enqueue(name, partial(self._switch, name, on))

    def stop(self) -> None:
        """Empty the queue, and end the running scene; another running action is completed."""
        while True:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                break
        self.scenes.stop()
        self._selected_faults = dict.fromkeys(self._active_faults, True)
        self._publish_state()

    # Data for the page

    def state(self) -> dict[str, Any]:
        """Return all data for a page that connects."""
        return {
            **self._now(),
            "results": dict(self._summaries),
            "traffic": list(self._lines),
            "life_cycle": list(self._life_cycle),
            "scenes": self.scenes.shown(),
        }

    def case(self, name: str) -> dict[str, Any]:
        """Return a case with its preview and its last result. KeyError if it is unknown."""
        family, case = CASES[name]
        return {
            **case_view.card(family, case),
            "preview": self._preview.case(case),
            "result": self._details.get(name),
        }

    def publish_traffic(self) -> None:
        """Publish the new audit records."""
        records = self._perimeter.bridge.audit()
        for record in records[self._records_read :]:
            line = traffic_line(record)
            self._lines.append(line)
            self._publish("traffic", line)
        self._records_read = len(records)

    # In the thread

    def _work(self) -> None:
        while (action := self._queue.get()) is not None:
            self._running = action.name
            self._publish_state()
            try:
                action.run()
            except Exception as error:  # shown on the page; the lab continues
                logger.debug("%s", action.name, exc_info=True)
                failure = {"action": action.name, "error": str(error) or repr(error)}
                self._publish("failure", failure)
            self._running = ""
            self._publish_state()

    def _send(self, family: str, case: Case) -> None:
        result = self._perimeter.comparison.result(case)
        result = replace(result, plain=self._plain_result(case))
        for path, outcome in ((Path.BRIDGE, result.bridge), (Path.TUNNEL, result.tunnel)):
            wire = outcome.observation.wire if outcome else None
            self.captures.keep(case.id, path, wire, sent=outcome is not None)
        self.messages[case.id] = message_view(result)
        faults = self._active_titles()
        self._details[case.id] = case_view.details(family, result, faults)
        self._summaries[case.id] = case_view.summary(result, faults)
        self._publish("result", self._summaries[case.id])

    def _plain_result(self, case: Case) -> PlainResult | None:
        edited = self.playground.edited
        return self._plain.result(case, fault=bool(self._active_faults), edited_policy=edited)

    def _send_with_tls_1_2(self, case: Case) -> None:
        wire = self._perimeter.comparison.through_tunnel(case, ssl.TLSVersion.TLSv1_2)
        sent = case.tunnel is not None
        self.captures.keep(case.id, Path.TUNNEL_TLS_1_2, wire, sent=sent)
        self._publish("wire", {"id": case.id})

    def _switch(self, name: str, on: bool) -> None:
        try:
            if on != (name in self._active_faults):
                FAULTS[name].change(self._perimeter, on)
                (self._active_faults.append if on else self._active_faults.remove)(name)
                self._faults_changed(self._active_titles())
        finally:
            self._selected_faults[name] = name in self._active_faults

    def _active_titles(self) -> list[str]:
        return [FAULTS[fault_id].title for fault_id in self._active_faults]

    def _changes(self) -> Iterator[str]:
        """Yield in words how this lab differs from the one that it was at its start."""
        for title in self._active_titles():
            yield f"A fault is on: {title}; switch it off in Faults."
        if self.playground.edited:
            yield "The policy is edited; Reset restores it."

    def _run_life_cycle(self) -> None:
        self._life_cycle.clear()
        self._publish("life_cycle", {"begins": True})
        for name, destination in _LIFE_CYCLE_PATHS.items():
            for step in self._steps(destination):
                event = {"path": name, **step}
                self._life_cycle.append(event)
                self._publish("life_cycle", event)

    def _steps(self, destination: Callable[[Request], Destination]) -> Iterator[dict[str, Any]]:
        """Yield the completed steps of a client's life cycle; the last one can be a failure."""
        credential = self._perimeter.clients[ClientCertificate.COMPUTER]
        assert credential is not None
        device = Device.of(credential, "pc1.corp.example")
        comparison = self._perimeter.comparison

        def connect(to: Destination) -> LabClient:
            return comparison.client(to, credential)

        taken = 0
        try:
            with ConnectionsByName(destination, connect) as client:
                for result in run_steps(client.send, device, LIFE):
                    request = f"{result.request.method} {result.request.target}"
                    response = f"{result.response.status} {result.response.reason}"
                    taken += 1
                    yield _step(result.step.name, request, response, result.good)
        except (HandshakeRefused, ConnectionEnded, ssl.SSLError, OSError) as ended:
            yield _step(LIFE[taken].name, "", str(ended), False)

    def _now(self) -> dict[str, Any]:
        queued = self._queue.qsize()
        faults = [name for name, on in self._selected_faults.items() if on]
        edited = self.playground.edited
        return {
            "running": self._running,
            "queued": queued,
            "stoppable": bool(queued) or self._running in TITLES,
            "faults": faults,
            "edited_policy": edited,
        }

    def _publish_state(self) -> None:
        self._publish("state", self._now())


def _step(name: str, request: str, response: str, good: bool) -> dict[str, Any]:
    return {"step": name, "request": request, "response": response, "good": good}
