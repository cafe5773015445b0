"""Signals while `run` starts: SIGHUP is noted, SIGUSR1 and SIGUSR2 are ignored."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from ibcm_bridge.commands.early_signals import early_signals
from tests.integration.commands import needs_signals

pytestmark = needs_signals

NAMES = ("SIGHUP", "SIGUSR1", "SIGUSR2")


def actions() -> list[object]:
    return [signal.getsignal(getattr(signal, name)) for name in NAMES]


def test_signals_do_not_end_the_process_and_a_hangup_is_noted() -> None:
    before = actions()
    with early_signals() as hangups:
        assert not hangups.noted()
        for name in ("SIGUSR1", "SIGUSR2"):
            signal.raise_signal(getattr(signal, name))
        assert not hangups.noted()
        signal.raise_signal(signal.SIGHUP)
        assert hangups.noted()
    assert actions() == before


def test_a_program_that_is_started_meanwhile_is_ended_by_a_hangup() -> None:
    raises = "import signal; signal.raise_signal(signal.SIGHUP)"
    with early_signals():
        ended = subprocess.run([sys.executable, "-c", raises], check=False)
    assert ended.returncode == -signal.SIGHUP


def test_a_system_without_these_signals_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = actions()
    for name in NAMES:
        monkeypatch.delattr(signal, name)
    with early_signals() as hangups:
        assert not hangups.noted()
    monkeypatch.undo()
    assert actions() == before
