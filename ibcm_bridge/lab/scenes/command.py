"""`ibcm-bridge lab client`, without --count."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import closing
from random import Random

from ibcm_bridge.lab.scenes.action_lines import ActionLines, action_json, wrapped
from ibcm_bridge.lab.scenes.scene import CannotShow, Scene, Stage
from ibcm_bridge.lab.scenes.table import SCENES
from ibcm_bridge.lab.scenes.time_limit import TooLong
from ibcm_bridge.lab.scenes.usual import USUAL
from ibcm_bridge.lab.simulated.client import Result
from ibcm_bridge.lab.simulated.command import ClientOptions, in_running_lab
from ibcm_bridge.lab.simulated.running_lab import RunningLab

ALL, LIST = "all", "list"


def lab_scene(options: ClientOptions) -> int:
    """Play a scene, all, or those of `USUAL`.

    Return 0 if each showed what it should, 2 for a wrong name, else 1.
    """
    name = options.scene
    if name == LIST:
        for scene in SCENES.values():
            print(f"{scene.name:<24}  {scene.title}")
        return 0
    if name not in (None, ALL, *SCENES):
        names = ", ".join((*SCENES, ALL, LIST))
        print(wrapped(f"ibcm-bridge lab: no scene {name}; use one of {names}"), file=sys.stderr)
        return 2
    if name is None:
        return in_running_lab(lambda lab: _play_usual(lab, options))
    scenes = SCENES.values() if name == ALL else [SCENES[name]]
    return in_running_lab(lambda lab: _play(lab, scenes, options))


def _play_usual(lab: RunningLab, options: ClientOptions) -> bool:
    if not options.as_json:
        print(f"A client; {options.client}.\n", flush=True)
    return _play(lab, USUAL[options.mode], options)


def _play(lab: RunningLab, scenes: Iterable[Scene], options: ClientOptions) -> bool:
    random = Random(options.seed)
    not_shown, good = [], True
    for scene in scenes:
        if not options.as_json:
            # A reader of a pipe sees it before the parts of the scene start.
            print(_head(scene), flush=True)
        try:
            good = _play_one(lab, scene, random, options) and good
        except CannotShow as why:
            not_shown.append(scene.name)
            text = f"ibcm-bridge lab: {scene.name} is not shown: {why}"
            print(wrapped(text), file=sys.stderr)
        except TooLong as why:
            good = False
            text = f"ibcm-bridge lab: {scene.name} was ended: {why}"
            print(wrapped(text), file=sys.stderr)
        if not options.as_json:
            print(flush=True)
    if not options.as_json:
        print(wrapped(_verdict(good, not_shown, all_scenes=options.scene == ALL)))
    # One scene that was named and is not shown is a failure; of all scenes, it is reported.
    return good and not (not_shown and options.scene != ALL)


def _head(scene: Scene) -> str:
    lines = [
        wrapped(f"{scene.title} ({', '.join(scene.requirements)})"),
        wrapped(scene.sentence, 2),
    ]
    if scene.drawing:
        lines += ["", textwrap.indent(scene.drawing, "    ")]
    return "\n".join(lines)


def _verdict(good: bool, not_shown: Sequence[str], *, all_scenes: bool) -> str:
    if not good:
        return "There were failures."
    if not not_shown:
        return "Each scene shows what it should."
    others = " Each other scene shows what it should." if all_scenes else ""
    return f"Not shown: {', '.join(not_shown)}.{others}"


def _play_one(lab: RunningLab, scene: Scene, random: Random, options: ClientOptions) -> bool:
    good = True
    own_key = options.profile == "own-key"
    lines = ActionLines()
    with (
        Stage(lab, random, own_key, options.mode, options.settings) as stage,
        closing(scene.actions(stage)) as actions,
    ):
        for action in actions:
            good = good and action.result is not Result.FAILED
            text = action_json(scene.name, action) if options.as_json else lines.of(action)
            print(text, flush=True)
    return good
