"""Scenes on the page: played in the order of the queue, and stopped at any time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from ibcm_bridge.lab.page import scene_runs
from ibcm_bridge.lab.page.scene_runs import FAILED, GOOD, STOPPED, SceneRuns
from ibcm_bridge.lab.scenes.scene import Scene, Stage, said
from ibcm_bridge.lab.scenes.time_limit import TimeLimit
from ibcm_bridge.lab.simulated.client import ActionResult, Result


class Page:
    """A queue whose actions the test runs, and the scene `two`, which has two actions."""

    def __init__(self) -> None:
        self.queue: list[Callable[[], None]] = []
        self.ended = False
        self.first = Result.GOOD
        self.changes: list[str] = []
        perimeter: Any = None
        self.scenes = SceneRuns(
            perimeter,
            lambda _, run: self.queue.append(run),
            lambda *_: None,
            lambda: self.changes,
        )

    def play(self, _: Stage) -> Iterator[ActionResult]:
        try:
            yield said("first", "", self.first)
            yield said("second", "", Result.GOOD)
        finally:
            self.ended = True

    def shown(self) -> tuple[list[str], str]:
        run = self.scenes.shown().get("two", {"actions": [], "end": ""})
        return [action["action"] for action in run["actions"]], run["end"]


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    page = Page()
    scene = Scene("two", "Two actions", "CLIENT-PICK", "", page.play)
    monkeypatch.setattr(scene_runs, "SCENES", {"two": scene})
    lab = SimpleNamespace(audit=None)
    monkeypatch.setattr(scene_runs, "RunningLab", SimpleNamespace(of=lambda _: lab))
    return page


def test_a_scene_is_played_to_its_end(page: Page) -> None:
    page.scenes.play(["two"])
    page.queue.pop()()
    assert page.shown() == (["first", "second"], GOOD)


def test_a_scene_that_fails_in_a_changed_lab_says_so(page: Page) -> None:
    page.first = Result.FAILED
    page.scenes.play(["two"])
    page.queue.pop()()
    assert page.shown()[1] == FAILED
    page.changes = ["A fault is on: Expired CRLs; switch it off in Faults."]
    page.scenes.play(["two"])
    page.queue.pop()()
    assert page.shown()[1] == f"{FAILED} {page.changes[0]}"


def test_a_scene_that_takes_too_long_says_so(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    lab: Any = SimpleNamespace(audit=None)
    limit = TimeLimit(0.0, clock=iter(range(9)).__next__)
    monkeypatch.setattr(scene_runs, "Stage", lambda *_, **__: Stage(lab, Random(1), limit=limit))
    page.scenes.play(["two"])
    page.queue.pop()()
    assert page.shown() == (
        ["first"],
        "The scene was ended: it took longer than 0 seconds; play it again when the machine is "
        "less busy.",
    )
    assert page.ended


def test_a_stopped_scene_ends_after_its_action(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = scene_runs.action_view

    def stop_while_shown(action: ActionResult) -> dict[str, Any]:
        page.scenes.stop()
        return shown(action)

    monkeypatch.setattr(scene_runs, "action_view", stop_while_shown)
    page.scenes.play(["two"])
    page.queue.pop()()
    assert page.shown() == (["first"], STOPPED)
    assert page.ended


def test_a_scene_that_was_stopped_before_it_begins_does_not_begin(page: Page) -> None:
    """The thread has taken it from the queue: a lab that ends would wait for the whole scene."""
    page.scenes.play(["two"])
    page.scenes.stop()
    page.queue.pop()()
    assert page.shown() == ([], "")


def test_a_scene_after_a_stop_is_played(page: Page) -> None:
    page.scenes.stop()
    page.scenes.play(["two"])
    page.queue.pop()()
    assert page.shown() == (["first", "second"], GOOD)
