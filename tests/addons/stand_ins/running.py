"""An in-process bridge for tests that make it fail.

The real `Bridge` and `serve` run in a thread with its own event loop, with the shipped policy and
the lab's site systems. A test may replace hooks and functions at any time, because the bridge looks
them up at each call.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Self

import pytest

from ibcm_bridge.addons.bridge import Bridge
from ibcm_bridge.addons.policy_generation import Generation
from ibcm_bridge.addons.run.reload import PolicySource, Reload
from ibcm_bridge.addons.run.serve import serve
from ibcm_bridge.addons.server.stopping import Stop
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import (
    ConnectionEnded,
    HandshakeRefused,
    LabClient,
    Response,
    _alert,
)
from ibcm_bridge.policy.policy import Policy
from tests.addons.stand_ins.lab import BRIDGED, GOOD, Lab
from tests.whole_lines import whole_lines

SOON = 10.0
"""Limit for a refusal in seconds, sufficient on a busy machine: no client may hang."""


class Panic(BaseException):
    """Like pyo3's PanicException: not an Exception."""


def wait_for[T](condition: Callable[[], T], seconds: float = SOON) -> T:
    """Return the value of `condition` once it is true, or its last value after the timeout."""
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        threading.Event().wait(0.002)
    return value


class Running:
    """A bridge in a separate thread. A context manager."""

    def __init__(self, lab: Lab, policy: Policy, **options: Any) -> None:
        self.lab = lab
        self.policy = policy
        self._options = options
        self.bridge: Bridge
        self.reloads: Reload
        self.reported: list[tuple[str, Sequence[str]]] = []
        """The digest and the problems of each reload."""
        self.replaced: list[Generation] = []
        """Generations that the test has replaced without a reload, to release at the end."""
        self.address = ("", 0)
        self.unhandled: list[str] = []
        self._started: Future[tuple[Any, ...]] = Future()
        # YARA-X requires that engines are made in the thread that uses them.
        self._thread = threading.Thread(target=self._run, name="bridge")
        self._log = _Unhandled(self.unhandled)

    def __enter__(self) -> Self:
        # A scanner that this thread made and dropped must not be left to the bridge's thread.
        gc.collect()
        logging.getLogger().addHandler(self._log)
        self._thread.start()
        self.address, self._loop, self._stop = self._started.result(timeout=3 * SOON)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError):  # It has stopped already.
            self._loop.call_soon_threadsafe(self._stop_at_once)
        self._thread.join(3 * SOON)
        logging.getLogger().removeHandler(self._log)
        assert not self._thread.is_alive(), "the bridge does not stop"
        assert not self.bridge.connections._records, "connections are left"
        capacity = self.bridge.connections.capacity
        held = capacity.memory.held, capacity.anonymous_memory.held
        assert held == (0, 0), "memory was not released"
        assert capacity.slots.held == capacity.handshakes.held == 0, "a slot was not released"
        assert self.bridge.generation.workers.under_way == 0, "a body still waits for inspection"
        assert not self.unhandled, "an exception was not handled"

    def hook(self, name: str, index: int, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Replace one function of a hook. Return the previous one."""
        functions = self.bridge.generation.hooks._by_name[name]
        before, functions[index] = functions[index], function
        return before

    def add_hook(self, name: str, function: Callable[[Any], Any], *, first: bool = False) -> None:
        """Add a function to a hook."""
        self.bridge.generation.hooks._by_name[name].insert(0 if first else 1_000, function)

    def client(
        self, name: str = BRIDGED, credential: LabCredential | None = None, **options: Any
    ) -> LabClient:
        """Return a client; by default one that the bridge accepts."""
        return LabClient(
            self.address,
            name,
            trust=self.lab.pki.root,
            credential=credential or self.lab.computer,
            timeout=SOON,
            **options,
        )

    def anonymous(self, name: str = BRIDGED, **options: Any) -> LabClient:
        """Return a client without a certificate."""
        return LabClient(
            self.address, name, trust=self.lab.pki.root, credential=None, timeout=SOON, **options
        )

    def ask(self, method: str, target: str, name: str = BRIDGED) -> Response | Exception:
        """Send one request on a new connection. Return the response or how it ended."""
        with self.client(name) as client:
            return outcome_of(client, method, target)

    def alert(self, client: LabClient) -> str | None:
        """Return the alert that refuses the handshake, before the client sends anything."""
        try:
            with client:
                assert not client.connect().recv(1)
        except HandshakeRefused as refused:
            return refused.alert
        except ssl.SSLError as error:
            return _alert(error)
        except ConnectionError:
            return None
        return None

    def reload(self, read: Callable[[], Policy]) -> Sequence[str]:
        """Reload what `read` returns. Return the problems."""
        source = PolicySource(lambda _: read(), lambda *outcome: self.reported.append(outcome))
        done = asyncio.run_coroutine_threadsafe(self.reloads.run(source), self._loop)
        return done.result(3 * SOON)

    def assert_serves(self) -> None:
        """Assert that the next valid client is served."""
        reply = self.ask(*GOOD)
        assert isinstance(reply, Response), reply
        assert reply.status == 200

    def audit(self) -> list[dict[str, Any]]:
        """Return the records written so far, except those of the start and the end."""
        assert self.policy.audit_file
        records = map(json.loads, whole_lines(self.policy.audit_file))
        return [record for record in records if not record["event"].startswith("writer-")]

    def reasons(self) -> list[str | None]:
        """Return the reason of each record; None if it is not a refusal."""
        return [record.get("reason") for record in self.audit()]

    def wait_for_reason(self, reason: str) -> dict[str, Any]:
        """Wait for the first record with this reason, and return it."""
        found = wait_for(
            lambda: [record for record in self.audit() if record.get("reason") == reason]
        )
        assert found, f"no {reason} in {self.audit()}"
        return found[0]

    def stop(self) -> None:
        """Begin to stop."""
        self._loop.call_soon_threadsafe(self._stop.ask)

    def stops(self, seconds: float = SOON) -> bool:
        """Wait until it has stopped. Return False if it still runs."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _stop_at_once(self) -> None:
        self._stop.ask()
        self._stop.ask()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            else:
                self.unhandled.append(f"serve: {error!r}")

    async def _serve(self) -> None:
        self.bridge = Bridge(self.policy, **self._options)
        stop, loop = Stop(), asyncio.get_running_loop()
        try:
            await serve(
                self.bridge,
                lambda found: self._started.set_result((found[0], loop, stop)),
                stop,
                started=lambda reload: setattr(self, "reloads", reload),
            )
        finally:
            for generation in self.replaced:
                generation.release()


class _Unhandled(logging.Handler):
    """Collects what asyncio and mitmproxy log about unhandled exceptions."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # The bridge logs "defect in"; asyncio and mitmproxy log these words.
        if any(word in text for word in ("Unhandled", "never retrieved", "crashed", "destroyed")):
            self._found.append(text)


def outcome_of(client: LabClient, method: str, target: str, **more: Any) -> Response | Exception:
    """Send a request. Return the response or how it ended. A timeout fails the test."""
    try:
        return client.request(method, target, **more)
    except (ConnectionEnded, HandshakeRefused) as ended:
        return ended
    except TimeoutError:
        pytest.fail(f"the client was left hanging after {method} {target}")
