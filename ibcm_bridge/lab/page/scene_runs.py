"""The scenes on the page: a list, and the actions of a scene as they happen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from random import Random
from typing import Any

from ibcm_bridge.lab.page.case_view import cited
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from ibcm_bridge.lab.scenes.scene import CannotShow, Scene, Stage
from ibcm_bridge.lab.scenes.table import SCENES
from ibcm_bridge.lab.scenes.time_limit import TooLong
from ibcm_bridge.lab.simulated.client import ActionResult, Result
from ibcm_bridge.lab.simulated.running_lab import RunningLab
from ibcm_bridge.lab.simulated.user import BOTH_ON, ClientSettings

type Enqueue = Callable[[str, Callable[[], None]], None]
type Publish = Callable[[str, dict[str, Any]], None]

GOOD = "The scene shows what it should."
FAILED = "There were failures."
STOPPED = "The scene was stopped."

_GRADES = {
    Result.GOOD: ("right", "✓"),
    Result.FELL_BACK: ("right", "✓"),
    Result.AS_REQUIRED: ("right", "✓"),
    Result.FAILED: ("wrong", "✗"),
}


TITLES = frozenset(scene.title for scene in SCENES.values())
"""The names of the actions that play a scene."""


def scene_cards() -> list[dict[str, Any]]:
    """Return the scenes in their order."""
    return [
        {
            "name": scene.name,
            "title": scene.title,
            "requirements": [cited(requirement) for requirement in scene.requirements],
            "sentence": scene.sentence,
            "drawing": scene.drawing,
        }
        for scene in SCENES.values()
    ]


class SceneRuns:
    """Plays scenes in the thread of actions, and keeps the last actions of each."""

    def __init__(
        self,
        perimeter: Perimeter,
        enqueue: Enqueue,
        publish: Publish,
        changes: Callable[[], Iterable[str]],
    ) -> None:
        """`changes` returns a sentence for each change of the lab that can fail a scene."""
        self._perimeter = perimeter
        self._changes = changes
        self._enqueue = enqueue
        self._publish = publish
        self._stopped = threading.Event()
        """For the scenes that are in the queue, and the one that plays."""
        self._runs: dict[str, dict[str, Any]] = {}

    def play(self, names: Sequence[str], settings: ClientSettings = BOTH_ON) -> None:
        """Play these scenes. KeyError if one is unknown; then none is played."""
        for scene in [SCENES[name] for name in names]:
            self._enqueue(scene.title, partial(self._play, scene, settings, self._stopped))

    def stop(self) -> None:
        """End the running scene after its current action. One in the queue does not begin."""
        self._stopped.set()
        self._stopped = threading.Event()

    def shown(self) -> dict[str, dict[str, Any]]:
        """Return the last run of each scene."""
        return dict(self._runs)

    def _play(self, scene: Scene, settings: ClientSettings, stopped: threading.Event) -> None:
        if stopped.is_set():
            return
        run: dict[str, Any] = {"name": scene.name, "actions": [], "end": ""}
        self._runs[scene.name] = run
        self._publish("scene", {"name": scene.name, "begins": True})
        end = ""
        try:
            end = self._actions(scene, settings, stopped, run)
        except CannotShow as why:
            end = f"This lab does not show it: {why}."
        except TooLong as why:
            end = f"The scene was ended: {why}."
        except Exception as error:
            end = f"The scene ended with an error: {str(error) or repr(error)}."
            raise
        finally:
            run["end"] = end
            self._publish("scene", {"name": scene.name, "end": end})

    def _actions(
        self,
        scene: Scene,
        settings: ClientSettings,
        stopped: threading.Event,
        run: dict[str, Any],
    ) -> str:
        """Play the scene; return how it ended."""
        good = True
        lab = RunningLab.of(self._perimeter)
        # Closing the iterator ends what the scene has started.
        stage = Stage(lab, Random(), settings=settings)
        with stage, closing(scene.actions(stage)) as actions:
            for action in actions:
                good = good and action.result is not Result.FAILED
                shown = action_view(action)
                run["actions"].append(shown)
                self._publish("scene", {"name": scene.name, "action": shown})
                if stopped.is_set():
                    return STOPPED
        return GOOD if good else " ".join((FAILED, *self._changes()))


def action_view(action: ActionResult) -> dict[str, Any]:
    """Return an action as JSON data."""
    grade, mark = _GRADES[action.result]
    words = {Result.FELL_BACK: "fell back", Result.AS_REQUIRED: "as required"}
    return {
        "network": action.network,
        "site_system": action.site_system,
        "action": action.action,
        "response": action.response,
        "grade": grade,
        "mark": mark,
        "word": words.get(action.result, "failed" if grade == "wrong" else ""),
        "milliseconds": round(action.seconds * 1000, 1),
        "text": action.text,
    }
