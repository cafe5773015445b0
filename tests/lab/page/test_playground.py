"""The policy playground without a bridge: a policy that is refused changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.lab.page.playground import MAX_POLICY, Playground, control_socket
from ibcm_bridge.lab.page.tools import Explained, Question, Report, Tools

OWN = "version: 1\npublications: [{listen: 127.0.0.1:1}]\n"
EDITED = OWN + "messages: {identity: enforce}\n"


class Bridge:
    """The commands of a bridge: which policies check, and which it reloads."""

    def __init__(self, policy_file: Path) -> None:
        self.policy_file = policy_file
        self.checks = True
        self.reloads = True
        self.in_use = OWN
        self.published: list[dict[str, Any]] = []
        self.changed: list[bool] = []

    def explain(self, _file: Path, _question: Question) -> Explained:
        raise AssertionError

    def check(self, file: Path, source: bytes) -> Report:
        line = f"{file}:2: publications: not for {len(source)} bytes"
        return Report((line, "1 problem; the policy was not loaded"), self.checks)

    def reload(self, _control: Path) -> Report:
        if self.reloads:
            self.in_use = self.policy_file.read_text("utf-8")
        return Report(("the words of reload",), self.reloads)

    def publish(self, event: str, data: dict[str, Any]) -> None:
        assert event == "policy"
        self.published.append(data)


@pytest.fixture
def bridge(tmp_path: Path) -> Bridge:
    file = tmp_path / "bridge.yaml"
    file.write_text(OWN, "utf-8")
    return Bridge(file)


def playground(bridge: Bridge, control: Path | None = Path("control.sock")) -> Playground:
    tools = Tools(bridge.explain, bridge.check, bridge.reload)
    return Playground(
        bridge.policy_file,
        control,
        tools,
        lambda _, run: run(),
        bridge.publish,
        changed=bridge.changed.append,
    )


def test_a_policy_is_applied_and_reset(bridge: Bridge) -> None:
    shown = playground(bridge)
    shown.apply(EDITED)
    assert bridge.in_use == EDITED
    assert shown.shown() == {"text": EDITED, "edited": True}
    assert bridge.published[-1]["good"]
    assert bridge.published[-1]["edited"]
    shown.reset()
    assert bridge.in_use == OWN
    assert shown.shown() == {"text": OWN, "edited": False}
    assert not bridge.published[-1]["edited"]
    assert bridge.changed == [True, False]


def test_a_policy_that_does_not_check_changes_nothing(bridge: Bridge) -> None:
    bridge.checks = False
    playground(bridge).apply(EDITED)
    assert bridge.in_use == bridge.policy_file.read_text("utf-8") == OWN
    (said,) = bridge.published
    # Without the folder, which is the same in each line.
    assert said["lines"][0].startswith("bridge.yaml:2: publications: not for")
    assert not said["good"]


def test_a_policy_that_the_bridge_does_not_reload_changes_nothing(bridge: Bridge) -> None:
    bridge.reloads = False
    playground(bridge).apply(EDITED)
    assert bridge.in_use == bridge.policy_file.read_text("utf-8") == OWN
    assert bridge.published[-1]["lines"] == ["the words of reload"]
    assert not bridge.published[-1]["edited"]
    assert bridge.changed == [False]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (EDITED.replace("127.0.0.1:1", "0.0.0.0:1"), "bridge.yaml:2: publications.0.listen"),
        ("x" * (MAX_POLICY + 1), "the policy has more than 48,000 characters; shorten it"),
        ("[" * 1_001, "the policy has more than 1,000 brackets; remove some"),
        ("\ud800", "bridge.yaml: cannot be read: not UTF-8 text"),
    ],
)
def test_a_policy_that_is_not_checked_gets_a_sentence(bridge: Bridge, text: str, why: str) -> None:
    said = playground(bridge).check(text)
    assert said["lines"][0].startswith(why)
    assert said["lines"][-1] == "1 problem; the policy was not loaded"
    assert not said["good"]
    playground(bridge).apply(text)
    assert bridge.in_use == bridge.policy_file.read_text("utf-8") == OWN


def test_without_a_control_socket_a_policy_is_checked_but_not_applied(bridge: Bridge) -> None:
    shown = playground(bridge, control=None)
    assert shown.check(EDITED)["good"]
    shown.apply(EDITED)
    assert bridge.policy_file.read_text("utf-8") == OWN
    assert "has no control socket" in bridge.published[-1]["lines"][0]


def test_a_control_socket_needs_a_short_path(tmp_path: Path) -> None:
    assert control_socket(tmp_path / ("x" * 100)) is None
