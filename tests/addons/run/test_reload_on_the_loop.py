"""A reload keeps the event loop free: other threads build everything that takes long.

The calls of Python and C functions between two returns to the loop are counted, so the result does
not depend on the machine. 20 ms, the limit of a reload, are about 100,000 calls.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from ipaddress import IPv4Address
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from ibcm_bridge.addons.run import reload
from ibcm_bridge.addons.run.serve import SWITCH_SECONDS
from ibcm_bridge.lab.bridge.process import Listen, free_ports, with_listen_address
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.policy_file import load_policy
from tests.addons.stand_ins.lab import Lab
from tests.addons.stand_ins.running import SOON, Running

MOST_CALLS = 20_000
"""Of one step of the loop: a few milliseconds. A reload has about 500 (measured), and would have
50,000 if the loop built the policy."""

RULE = 'rule r{number} {{ strings: $a = "x{number}" condition: $a }}\n'


class Steps:
    """Counts the calls of each step of an event loop, in its thread."""

    def __init__(self) -> None:
        self.calls = Counter[str]()
        self.longest = 0
        self._now = 0

    async def begin(self) -> None:
        sys.setprofile(self._count)

    async def end(self) -> None:
        sys.setprofile(None)

    def _count(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            self.calls[frame.f_code.co_qualname] += 1
            if frame.f_code is asyncio.Handle._run.__code__:
                self._now = 0
        self._now += event in ("call", "c_call")
        self.longest = max(self.longest, self._now)


def written(lab: Lab, directory: Path) -> Path:
    """Write the shipped policy, with its revocation lists and own rules."""
    lab.pki.write(directory / "pki")
    (directory / "own.yar").write_text("".join(RULE.format(number=n) for n in range(200)), "utf-8")
    first, second, third = free_ports(3)
    listen = Listen(IPv4Address("127.0.0.1"), (first, second, third))
    text = with_listen_address(shipped_policy(), listen) + "rules: [own.yar]\n"
    (path := directory / "bridge.yaml").write_text(text, "utf-8")
    return path


def reloaded(running: Running, path: Path) -> Steps:
    steps = Steps()

    def on_the_loop(work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, running._loop).result(SOON)

    on_the_loop(steps.begin())
    assert running.reload(lambda: load_policy(path)) == ()
    # The first renewals of the new generation belong to the reload.
    on_the_loop(asyncio.sleep(0.1))
    on_the_loop(steps.end())
    return steps


@pytest.mark.parametrize("changed", ["the policy", "the rules"])
def test_a_reload_runs_little_on_the_event_loop(lab: Lab, tmp_path: Path, changed: str) -> None:
    path = written(lab, tmp_path)
    with Running(lab, load_policy(path), check_seconds=3_600) as running:
        file = path if changed == "the policy" else tmp_path / "own.yar"
        file.write_text(file.read_text("utf-8") + "\n", "utf-8")
        steps = reloaded(running, path)
    # It was counted: these run on the loop.
    assert steps.calls["Generation.__init__"] == 1
    assert steps.calls["Bridge.use"] == 1
    for long in ("load_policy", "build_parts", "CompiledRules.__init__", "open_all", "read_list"):
        assert steps.calls[long] == 0, long
    assert 0 < steps.longest < MOST_CALLS


def test_the_loop_waits_shortly_for_a_thread_that_builds(lab: Lab, tmp_path: Path) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    try:
        with Running(lab, load_policy(written(lab, tmp_path)), check_seconds=3_600):
            assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
    finally:
        sys.setswitchinterval(before)


def test_what_takes_long_would_be_counted(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def to_thread(function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    path = written(lab, tmp_path)
    with Running(lab, load_policy(path), check_seconds=3_600) as running:
        monkeypatch.setattr(reload.asyncio, "to_thread", to_thread)
        steps = reloaded(running, path)
    assert steps.calls["load_policy"] == 1
    assert steps.longest > MOST_CALLS
