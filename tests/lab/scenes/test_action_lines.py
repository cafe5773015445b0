"""The lines of a scene fit a terminal of 80 columns."""

from __future__ import annotations

import json

import pytest

from ibcm_bridge.lab.scenes.action_lines import WIDTH, ActionLines, action_json, wrapped
from ibcm_bridge.lab.scenes.table import SCENES
from ibcm_bridge.lab.simulated.client import ActionResult, Result
from ibcm_bridge.lab.simulated.failure import Failure

SHA = "0123456789abcdef" * 4


def action(response: str, result: Result = Result.GOOD, text: str = "") -> ActionResult:
    return ActionResult(
        "intranet", "eur-mp.corp.example", "whole file, to compare", response, result, 0.0123, text
    )


def test_actions_are_below_their_network_and_site_system() -> None:
    lines = ActionLines()
    assert lines.of(action("200 OK")) == (
        "  intranet, eur-mp.corp.example\n"
        "    whole file, to compare                  12.3 ms  200 OK"
    )
    assert lines.of(action("200 OK", Result.AS_REQUIRED)) == (
        "    whole file, to compare                  12.3 ms  200 OK  (as required)"
    )
    other = ActionResult("", "", "a count", "5", Result.FAILED, 0.0)
    assert lines.of(other) == (
        "  client\n    a count                                          5  FAILED"
    )


@pytest.mark.parametrize(
    "shown",
    [
        action(f"same SHA-256: {SHA}"),
        action("the server's certificate is for another name, " * 5, Result.AS_REQUIRED),
        action("403 Forbidden", Result.FAILED, "This message is not supported. " * 9),
        action(SHA * 3, Result.FELL_BACK),
    ],
    ids=["digest", "sentence", "text", "without spaces"],
)
def test_a_long_response_is_wrapped(shown: ActionResult) -> None:
    written = ActionLines().of(shown)
    assert max(map(len, written.splitlines())) <= WIDTH
    together = "".join(written.split())
    assert "".join(shown.response.split()) in together
    assert "".join(shown.text.split()) in together


@pytest.mark.parametrize("length", range(56, 76))
def test_no_line_ends_within_a_mark(length: int) -> None:
    *_, last = ActionLines().of(action("x" * length, Result.AS_REQUIRED)).splitlines()
    assert last.endswith("(as required)")


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_the_texts_of_a_scene_fit(scene: object) -> None:
    title = f"{scene.title} ({scene.requirement})"  # type: ignore[attr-defined]
    assert len(title) <= WIDTH


def test_an_action_is_one_json_object() -> None:
    failed = ActionResult(
        "internet", "", "request", "x", Result.FAILED, 1 / 3, "", Failure.TIMEOUT, "0123456789ab"
    )
    assert json.loads(action_json("pick", failed)) == {
        "scene": "pick",
        "network": "internet",
        "site_system": "",
        "action": "request",
        "response": "x",
        "result": "failed",
        "seconds": 0.333333,
        "text": "",
        "cause": "no response in time",
        "reference": "0123456789ab",
    }


def test_a_message_is_wrapped_at_spaces() -> None:
    assert wrapped("--netns " * 20).splitlines()[0].endswith("--netns")
