"""`ibcm-bridge reload`, without a running bridge."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ibcm_bridge.commands.main import main

if sys.platform != "linux":
    pytest.skip("a control socket requires Linux", allow_module_level=True)

from ibcm_bridge.addons.run import control_client
from ibcm_bridge.addons.run.control_client import Outcome
from ibcm_bridge.addons.run.control_socket import ControlError

DIGEST = "0123456789abcdef"
type Reply = Callable[[Outcome | Exception], None]


@pytest.fixture
def reply(monkeypatch: pytest.MonkeyPatch) -> Reply:
    """Let the bridge reply this."""

    def set_reply(outcome: Outcome | Exception) -> None:
        def reload_bridge(path: Path) -> Outcome:
            assert path == Path("/run/ibcm-bridge/control.sock")
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(control_client, "reload_bridge", reload_bridge)

    return set_reply


def test_a_policy_that_is_taken(reply: Reply, capsys: pytest.CaptureFixture[str]) -> None:
    reply(Outcome([], DIGEST))
    assert main(["reload"]) == 0
    assert capsys.readouterr() == (f"reload done; the policy in use is {DIGEST}\n", "")


def test_a_policy_that_is_refused(reply: Reply, capsys: pytest.CaptureFixture[str]) -> None:
    reply(Outcome(["bridge.yaml:3: one", "bridge.yaml:9: two"], DIGEST))
    assert main(["reload"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "bridge.yaml:3: one",
        "bridge.yaml:9: two",
        f"2 problems; reload refused; the policy in use stays {DIGEST}",
    ]


def test_no_bridge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "control.sock"
    assert main(["reload", "--control", str(path)]) == 1
    assert capsys.readouterr().err == (
        f"ibcm-bridge: no bridge runs at {path}; start it with run --control PATH, and name the "
        "same path here\n"
    )


def test_a_bridge_that_does_not_reply(reply: Reply, capsys: pytest.CaptureFixture[str]) -> None:
    reply(ControlError("the running bridge did not reply in 150 s"))
    assert main(["reload"]) == 1
    assert capsys.readouterr().err == "ibcm-bridge: the running bridge did not reply in 150 s\n"


def test_it_requires_linux(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert main(["reload"]) == 1
    assert capsys.readouterr().err == (
        "ibcm-bridge: the control socket requires Linux; reload by SIGHUP\n"
    )
