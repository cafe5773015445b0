"""A scene that takes too long is ended, with one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from ibcm_bridge.lab.scenes import command
from ibcm_bridge.lab.scenes.scene import Scene, Stage, said
from ibcm_bridge.lab.scenes.table import SCENES
from ibcm_bridge.lab.scenes.time_limit import SECONDS, TimeLimit, TooLong
from ibcm_bridge.lab.simulated.client import ActionResult, Result, SimulatedClient
from ibcm_bridge.lab.simulated.command import ClientOptions
from ibcm_bridge.lab.simulated.installation import Mode
from ibcm_bridge.lab.simulated.network import Network
from ibcm_bridge.lab.simulated.running_lab import RunningLab


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ended = 0

    def __call__(self) -> float:
        return self.now

    def slow(self, _: Stage) -> Iterator[ActionResult]:
        """Ten actions; each takes a quarter of the limit."""
        try:
            for number in range(10):
                self.now += SECONDS / 4
                yield said(f"action {number}", "", Result.GOOD)
        finally:
            self.ended += 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


def stage(clock: Clock, lab: RunningLab | None = None) -> Stage:
    no_lab: Any = SimpleNamespace(audit=None)
    return Stage(lab or no_lab, Random(1), limit=TimeLimit(clock=clock))


def scene(clock: Clock) -> Scene:
    return Scene("slow", "A slow scene", "CLIENT-PICK", "It is slow.", clock.slow)


def test_a_slow_scene_ends_with_its_parts(clock: Clock) -> None:
    played: list[ActionResult] = []
    with pytest.raises(TooLong, match="it took longer than 60 seconds; play it again when"):
        played.extend(scene(clock).actions(stage(clock)))
    assert clock.now == SECONDS * 1.25
    assert clock.ended == 1


def test_the_time_of_a_reader_does_not_count(clock: Clock) -> None:
    """As with `lab client --scene all | less`."""
    actions = scene(clock).actions(stage(clock))
    for _ in range(4):
        next(actions)
        clock.now += 10 * SECONDS
    assert clock.ended == 0
    next(actions)
    with pytest.raises(TooLong):
        next(actions)


def test_a_loop_that_yields_nothing_ends(clock: Clock, lab: RunningLab) -> None:
    def loop(stage: Stage) -> Iterator[ActionResult]:
        while True:
            clock.now += SECONDS / 4
            stage.client(Mode.BOTH)
        yield said("never", "", Result.GOOD)

    loops = Scene("loop", "A loop", "CLIENT-PICK", "It does not end.", loop)
    with stage(clock, lab) as limited, pytest.raises(TooLong):
        list(loops.actions(limited))
    assert clock.now == SECONDS * 1.25


def test_a_loop_over_selections_ends(clock: Clock, lab: RunningLab) -> None:
    """It yields no action if each response is good."""
    with stage(clock, lab) as limited:
        actions = SCENES["slow-site-system"].actions(limited)
        assert next(actions).action == "registration"
        move = SimulatedClient.move
        with pytest.MonkeyPatch.context() as patch:

            def moved(client: SimulatedClient, network: Network) -> None:
                clock.now += SECONDS / 4
                move(client, network)

            patch.setattr(SimulatedClient, "move", moved)
            with pytest.raises(TooLong):
                list(actions)
    assert clock.now == SECONDS * 1.25


def test_the_command_fails_with_one_sentence(
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "SCENES", {"slow": scene(clock)})
    monkeypatch.setattr(command, "Stage", lambda *_: stage(clock))
    monkeypatch.setattr(command, "in_running_lab", lambda run: 0 if run(None) else 1)
    for name in ("slow", "all"):
        options = ClientOptions(Mode.BOTH, "pki", 1, 1, 1, as_json=False, scene=name)
        assert command.lab_scene(options) == 1
        shown = capsys.readouterr()
        assert " ".join(shown.err.split()) == (
            "ibcm-bridge lab: slow was ended: it took longer than 60 seconds; play it again when "
            "the machine is less busy"
        )
        assert shown.out.endswith("There were failures.\n")
