"""The ways to fail, and what must be true after each.

mitmproxy logs an exception in a hook and forwards the request, and it leaves a connection open when
a layer raises (docs/design.md). The tests of this folder make every hook, layer, callback and
engine raise in every possible way. Each time:

1. nothing reaches the site system, not even a new ClientHello;
2. the client is soon refused or its connection closed, and no state remains;
3. the audit records bridge-defect;
4. the next valid client is served.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CoroutineType
from typing import Any, NamedTuple

from ibcm_bridge.lab.protocol.client import Response
from tests.addons.fails_closed.causes import Outcome
from tests.addons.stand_ins.running import SOON, Panic, Running, wait_for


class Way(NamedTuple):
    """A way to fail."""

    error: type[BaseException]
    allows_first: bool = False
    waits_first: bool = False


WAYS: dict[str, Way] = {
    "an exception": Way(RuntimeError),
    "a panic": Way(Panic),
    "a cancellation": Way(asyncio.CancelledError),
    "an exception after a wait": Way(RuntimeError, waits_first=True),
    "a panic after a wait": Way(Panic, waits_first=True),
    "a cancellation after a wait": Way(asyncio.CancelledError, waits_first=True),
    "an exception after it has allowed": Way(RuntimeError, allows_first=True),
    "a panic after it has allowed": Way(Panic, allows_first=True),
    "a cancellation after it has allowed": Way(asyncio.CancelledError, allows_first=True),
    "an exception after it has waited and allowed": Way(RuntimeError, True, True),
    "a cancellation after it has waited and allowed": Way(asyncio.CancelledError, True, True),
}


def failing(way: Way, functions: list[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Return a hook function that fails in this way; `functions` would have allowed."""

    def fail(data: Any) -> None:
        if way.allows_first:
            for function in functions:
                waiting = function(data)
                if isinstance(waiting, CoroutineType):
                    waiting.close()  # `fail_later` has already waited
        raise way.error("made to fail")

    async def fail_later(data: Any) -> None:
        await asyncio.sleep(0)
        fail(data)

    return fail_later if way.waits_first else fail


@contextmanager
def nothing_passes(running: Running, *, handshakes: int = 0, requests: int = 0) -> Iterator[None]:
    """Assert that no more than the allowed handshakes and requests reach the site system."""
    site = running.lab.site
    yield
    left = wait_for(lambda: not running.bridge.connections._records, SOON)
    assert left, "state of the connection is left"
    assert len(site.received()) <= requests
    assert len(site.handshakes()) <= handshakes


def assert_refused(outcome: Outcome) -> None:
    if isinstance(outcome, Response):
        assert outcome.status in (405, 500), outcome


ERRORS = [RuntimeError, Panic, asyncio.CancelledError]
