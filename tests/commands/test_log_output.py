"""The lines of the log, for people and for journald."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibcm_bridge.commands import log_output
from ibcm_bridge.commands.log_output import (
    JournalFormatter,
    JsonFormatter,
    LogFormat,
    UtcFormatter,
    log_to_standard_error,
    report,
    say,
)
from ibcm_bridge.commands.main import main
from ibcm_bridge.commands.run import _report_reload


def record(level: int = logging.WARNING, text: str = "a text") -> logging.LogRecord:
    made = logging.LogRecord("ibcm_bridge.x", level, "x.py", 1, text, None, None)
    made.created = 1_767_323_045.678
    return made


def test_a_time_is_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    line = UtcFormatter().format(record())
    assert line == "2026-01-02T03:04:05.678+00:00 WARNING ibcm_bridge.x: a text"


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.CRITICAL + 5, 2),
        (logging.CRITICAL, 2),
        (logging.ERROR, 3),
        (logging.WARNING, 4),
        (logging.INFO + 5, 6),
        (logging.INFO, 6),
        (logging.DEBUG, 7),
        (5, 7),
    ],
)
def test_each_line_has_its_priority_for_journald(level: int, priority: int) -> None:
    lines = JournalFormatter().format(record(level, "one\ntwo"))
    assert lines == f"<{priority}>ibcm_bridge.x: one\n<{priority}>two"


@contextlib.contextmanager
def root_without_handlers() -> Iterator[logging.Logger]:
    """The root logger. pytest adds its own handlers after the fixtures."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers.clear()
    try:
        yield root
    finally:
        root.handlers[:] = before
        root.setLevel(level)


@pytest.mark.parametrize("connected", [True, False])
def test_standard_error_that_is_journalds_gets_its_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connected: bool
) -> None:
    with (tmp_path / "stderr").open("w") as stream:
        found = os.fstat(stream.fileno())
        number = found.st_ino + (not connected)
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{number}")
        monkeypatch.setattr(sys, "stderr", stream)
        with root_without_handlers() as root:
            log_to_standard_error(logging.WARNING)
            root.error("a text")
    written = (tmp_path / "stderr").read_text()
    assert written.startswith("<3>root: a text\n") is connected
    assert written.endswith("+00:00 ERROR root: a text\n") is not connected


def test_lines_about_the_bridge_have_priorities_for_journald_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "stderr").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        say("one")
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        say("two\nthree", logging.ERROR)
        say("four")
        _report_reload("0123", ["bridge.yaml:3: wrong"])
        _report_reload("4567", [])
    assert (tmp_path / "stderr").read_text().splitlines() == [
        "ibcm-bridge: one",
        "<3>ibcm-bridge: two",
        "<3>ibcm-bridge: three",
        "<6>ibcm-bridge: four",
        "<3>ibcm-bridge: reload: bridge.yaml:3: wrong",
        "<3>ibcm-bridge: reload refused; the policy in use stays 0123",
        "<6>ibcm-bridge: reload done; the policy in use is 4567",
    ]


def test_lines_about_a_running_bridge_have_a_time_as_all_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = datetime.datetime.now(datetime.UTC)
    _report_reload("0123", ["bridge.yaml:3: wrong"])
    report("drained")
    printed = [line.split(" ", 2) for line in capsys.readouterr().err.splitlines()]
    assert [(level, text) for _, level, text in printed] == [
        ("ERROR", "ibcm-bridge: reload: bridge.yaml:3: wrong"),
        ("ERROR", "ibcm-bridge: reload refused; the policy in use stays 0123"),
        ("INFO", "ibcm-bridge: drained"),
    ]
    ended = datetime.datetime.now(datetime.UTC)
    for text, _, _ in printed:
        time = datetime.datetime.fromisoformat(text)
        assert begun - datetime.timedelta(milliseconds=1) <= time <= ended
        assert time.utcoffset() == datetime.timedelta(0)
    monkeypatch.setattr(log_output, "_format", LogFormat.JSON)
    report("drained")
    assert json.loads(capsys.readouterr().err)["message"] == "drained"


@pytest.mark.parametrize("stream", [None, "closed"])
def test_without_standard_error_the_format_is_that_for_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: str | None
) -> None:
    closed = (tmp_path / "stderr").open("w")
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed if stream else None)
    with root_without_handlers() as root:
        log_to_standard_error(logging.WARNING)
        assert isinstance(root.handlers[0].formatter, UtcFormatter)


def test_a_json_line_has_the_time_the_level_and_the_fields() -> None:
    made = record(logging.ERROR, "one\ntwo \x1b")
    made.fields = {"writer": "0a"}
    line = JsonFormatter().format(made)
    assert line.isascii()
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2026-01-02T03:04:05.678+00:00",
        "level": "error",
        "logger": "ibcm_bridge.x",
        "message": "one\ntwo \x1b",
        "writer": "0a",
    }


def test_a_json_line_has_the_traceback() -> None:
    made = record()
    try:
        raise ValueError("a cause")
    except ValueError:
        made.exc_info = sys.exc_info()
    assert json.loads(JsonFormatter().format(made))["exception"].endswith("ValueError: a cause")


def test_every_line_of_run_is_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = tmp_path / "bridge.yaml"
    policy.write_text("listeners: []\nunknown: 1\n")
    try:
        assert main(["run", "--log-format", "json", "--config", str(policy)]) == 1
    finally:
        with root_without_handlers():
            log_to_standard_error(logging.WARNING, LogFormat.TEXT)
    lines = list(map(json.loads, capsys.readouterr().err.splitlines()))
    assert {line["level"] for line in lines} == {"error"}
    assert lines[-1]["message"].endswith("the policy was not loaded")
    assert len(lines) > 1
