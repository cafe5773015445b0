"""The guard around the hooks of a connection never raises in a layer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ibcm_bridge.addons.events import Defect, ReplyShownHook, TunnelEndedHook
from ibcm_bridge.addons.server.guarded_hooks import MUST_RERAISE, ConnectionHooks
from ibcm_bridge.addons.server.hook_dispatch import Hooks
from ibcm_bridge.addons.stages import WaitFor
from ibcm_bridge.decisions.denial import Deny
from tests.addons.stand_ins.running import Panic

REFUSED_BY_LAYER = ReplyShownHook(None)  # type: ignore[arg-type]
ABORTED = TunnelEndedHook(None)  # type: ignore[arg-type]


class Guarded:
    """Hooks that all call the same function."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.aborted = 0
        self.defects: list[Defect] = []

        class Addon:
            reply_shown = tunnel_ended = staticmethod(function)
            defect = staticmethod(self.defects.append)

        self.hooks = ConnectionHooks(Hooks([Addon()]), None, self._abort)  # type: ignore[arg-type]

    def _abort(self) -> None:
        self.aborted += 1


def raising(error: type[BaseException]) -> Callable[[Any], Any]:
    def function(_: object) -> None:
        raise error

    return function


def raising_later(error: type[BaseException]) -> Callable[[Any], Any]:
    async def function(_: object) -> None:
        await asyncio.sleep(0)
        raise error

    return function


@pytest.mark.parametrize("error", [RuntimeError, Panic])
def test_a_layer_that_can_refuse_gets_a_deny(error: type[BaseException]) -> None:
    guarded = Guarded(raising(error))
    assert isinstance(guarded.hooks.call(REFUSED_BY_LAYER), Deny)
    assert not guarded.aborted
    assert [defect.refused for defect in guarded.defects] == [True]
    guarded.hooks.raise_interrupt()


@pytest.mark.parametrize("error", [RuntimeError, Panic])
def test_another_layer_stops_and_its_connection_is_aborted(error: type[BaseException]) -> None:
    guarded = Guarded(raising(error))
    wait = guarded.hooks.call(ABORTED)
    assert isinstance(wait, WaitFor)
    assert wait.result is None
    assert guarded.aborted == 1
    guarded.hooks.raise_interrupt()


@pytest.mark.parametrize("error", MUST_RERAISE)
@pytest.mark.parametrize("hook", [REFUSED_BY_LAYER, ABORTED])
def test_an_interrupt_is_raised_after_the_layer_and_only_once(
    hook: Any, error: type[BaseException]
) -> None:
    guarded = Guarded(raising(error))
    assert isinstance(guarded.hooks.call(hook), WaitFor)
    assert guarded.aborted == 1
    assert len(guarded.defects) == 1
    with pytest.raises(error):
        guarded.hooks.raise_interrupt()
    guarded.hooks.raise_interrupt()


@pytest.mark.parametrize("error", [RuntimeError, Panic, asyncio.CancelledError])
def test_a_hook_that_fails_after_a_wait_is_refused_too(error: type[BaseException]) -> None:
    async def wait_for_it() -> None:
        guarded = Guarded(raising_later(error))
        wait = guarded.hooks.call(REFUSED_BY_LAYER)
        assert isinstance(wait, WaitFor)
        assert not guarded.defects
        if error in MUST_RERAISE:
            with pytest.raises(error):
                await guarded.hooks.wait(wait)
        else:
            assert isinstance(await guarded.hooks.wait(wait), Deny)
        assert guarded.aborted == int(error in MUST_RERAISE)

    asyncio.run(wait_for_it())


def test_a_watched_hook_that_ends_at_once_needs_no_wait() -> None:
    guarded = Guarded(lambda _: None)
    assert guarded.hooks.has("reply_shown")
    assert not guarded.hooks.has("request")
    assert guarded.hooks.call(REFUSED_BY_LAYER) is None
