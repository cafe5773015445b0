"""What the page has the lab do: one thing after another, in a thread, and told as it goes.

1. Whatever is to be done waits in a queue; `stop` empties it.
2. A thread takes one after another. What happened is published as (event, data), and kept, so that
   a page that is opened later knows it too.
3. The audit is followed by whoever asks `traffic` for what is new in it: a client that is not the
   page's (curl, a real one) is seen as well.
"""

from __future__ import annotations

import logging
import queue
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
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
from ibcm_bridge.lab.page import case_view
from ibcm_bridge.lab.page.request_preview import RequestPreview
from ibcm_bridge.lab.page.traffic import traffic_line
from ibcm_bridge.lab.perimeter.faults import FAULTS
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from ibcm_bridge.lab.protocol.client import ConnectionEnded, HandshakeRefused, LabClient, Request

logger = logging.getLogger(__name__)

KEPT_LINES = 60

type Publish = Callable[[str, dict[str, Any]], None]

CASES: dict[str, tuple[str, Case]] = {
    case.id: (family, case) for family, cases in FAMILIES.items() for case in cases
}


def _tunnel(request: Request) -> Destination:
    """A tunnel leads to one site system; a bridge's name, to all that are published under it."""
    return DP_TUNNEL if request.target.startswith("/SMS_DP_") else MP_TUNNEL


_LIFE_WAYS: dict[str, Callable[[Request], Destination]] = {
    "bridge": lambda _: BRIDGE,
    "tunnel": _tunnel,
}


class _Work(NamedTuple):
    what: str
    run: Callable[[], None]


class Controller:
    """Does what the buttons say. A context manager: its thread ends with it."""

    def __init__(self, perimeter: Perimeter, preview: RequestPreview, publish: Publish) -> None:
        self._perimeter = perimeter
        self._preview = preview
        self._publish = publish
        self._queue: queue.Queue[_Work | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._summaries: dict[str, dict[str, Any]] = {}
        self._details: dict[str, dict[str, Any]] = {}
        self._on: list[str] = []
        self._wanted: dict[str, bool] = {}
        """Of faults, what the switches say; they are not all done yet."""
        self._life: list[dict[str, Any]] = []
        self._doing = ""
        self._lines: deque[dict[str, Any]] = deque(maxlen=KEPT_LINES)
        self._seen = 0

    def __enter__(self) -> Controller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._queue.put(None)
        self._thread.join()

    # What the buttons say

    def send(self, ids: list[str]) -> None:
        """Send these cases. KeyError where one is not known, and then none."""
        for family, case in [CASES[case_id] for case_id in ids]:
            self._queue.put(_Work(case.id, partial(self._send, family, case)))
        self._tell_state()

    def run_steps(self) -> None:
        """A client's life, both ways."""
        self._queue.put(_Work("life", self._live))
        self._tell_state()

    def fault(self, name: str, on: bool) -> None:
        """Put a fault on or off. KeyError where there is none such."""
        if name not in FAULTS:
            raise KeyError(name)
        self._wanted[name] = on
        self._queue.put(_Work(name, partial(self._switch, name, on)))
        self._tell_state()

    def stop(self) -> None:
        """Forget what waits; what is being done is finished."""
        while True:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                break
        self._wanted = dict.fromkeys(self._on, True)
        self._tell_state()

    # What there is to show

    def state(self) -> dict[str, Any]:
        """For a page that comes anew."""
        return {
            **self._now(),
            "results": dict(self._summaries),
            "traffic": list(self._lines),
            "life": list(self._life),
        }

    def case(self, name: str) -> dict[str, Any]:
        """A case, before it was sent and, if it was, after. KeyError where there is none such."""
        family, case = CASES[name]
        return {
            **case_view.card(family, case),
            "prepared": self._preview.case(case),
            "result": self._details.get(name),
        }

    def traffic(self) -> None:
        """Publish what is new in the audit."""
        records = self._perimeter.bridge.audit()
        for record in records[self._seen :]:
            line = traffic_line(record)
            self._lines.append(line)
            self._publish("traffic", line)
        self._seen = len(records)

    # In the thread

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            self._doing = work.what
            self._tell_state()
            try:
                work.run()
            except Exception as error:  # the lab goes on; who looks at the page is told
                logger.debug("%s", work.what, exc_info=True)
                self._publish("trouble", {"what": work.what, "why": str(error) or repr(error)})
            self._doing = ""
            self._tell_state()

    def _send(self, family: str, case: Case) -> None:
        result = self._perimeter.comparison.result(case)
        faults = [FAULTS[fault_id].title for fault_id in self._on]
        self._details[case.id] = case_view.details(family, result, faults)
        self._summaries[case.id] = case_view.summary(result, faults)
        self._publish("result", self._summaries[case.id])

    def _switch(self, name: str, on: bool) -> None:
        try:
            if on != (name in self._on):
                FAULTS[name].change(self._perimeter, on)
                (self._on.append if on else self._on.remove)(name)
        finally:
            self._wanted[name] = name in self._on

    def _live(self) -> None:
        self._life.clear()
        self._publish("life", {"begins": True})
        for name, way in _LIFE_WAYS.items():
            for step in self._steps(way):
                event = {"way": name, **step}
                self._life.append(event)
                self._publish("life", event)

    def _steps(self, way: Callable[[Request], Destination]) -> Iterator[dict[str, Any]]:
        """The steps of a client's life that were taken; the last may say why it was the last."""
        credential = self._perimeter.clients[ClientCertificate.COMPUTER]
        assert credential is not None
        device = Device.of(credential, "pc1.corp.example")
        comparison = self._perimeter.comparison

        def connect(to: Destination) -> LabClient:
            return comparison.client(to, credential)

        taken = 0
        try:
            with ConnectionsByName(way, connect) as client:
                for result in run_steps(client.send, device, LIFE):
                    request = f"{result.request.method} {result.request.target}"
                    answer = f"{result.response.status} {result.response.reason}"
                    taken += 1
                    yield _step(result.step.name, request, answer, result.good)
        except (HandshakeRefused, ConnectionEnded, ssl.SSLError, OSError) as ended:
            yield _step(LIFE[taken].name, "", str(ended), False)

    def _now(self) -> dict[str, Any]:
        waiting = self._queue.qsize()
        faults = [name for name, on in self._wanted.items() if on]
        return {"doing": self._doing, "waiting": waiting, "faults": faults}

    def _tell_state(self) -> None:
        self._publish("state", self._now())


def _step(name: str, request: str, answer: str, good: bool) -> dict[str, Any]:
    return {"step": name, "request": request, "answer": answer, "good": good}
