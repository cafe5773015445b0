"""The lines of the log: with times in UTC, or as JSON, or with priorities for journald.

journald has its own times.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import sys
from collections.abc import Mapping
from enum import StrEnum

PRIORITIES: Mapping[int, int] = {
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}
"""Python's levels -> those of syslog(3), which journald reads from `<N>` (sd-daemon(3))."""


class UtcFormatter(logging.Formatter):
    """Times as in the audit."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """Return the time in UTC, with milliseconds."""
        return _time(record)


class JournalFormatter(logging.Formatter):
    """Each line with its priority, and without a time."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record: journald reads each as an entry."""
        return _for_journal(super().format(record), record.levelno)


class JsonFormatter(logging.Formatter):
    """One JSON object per line, in ASCII. `extra={"fields": {...}}` of a record adds members."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record. A traceback is a member."""
        fields = getattr(record, "fields", None)
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **(fields if isinstance(fields, Mapping) else {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
    return moment.isoformat(timespec="milliseconds")


class LogFormat(StrEnum):
    """The values of `--log-format`."""

    TEXT = "text"
    """For people, or for journald."""
    JSON = "json"


_format = LogFormat.TEXT
"""That of the log of this process."""


def say(text: str, level: int = logging.INFO, prefix: str = "ibcm-bridge: ") -> None:
    """Print lines of the command itself, at every level of the log, in its format.

    They have no time: `report` prints those of a bridge that serves.
    """
    if sys.stderr is None:
        return
    if _format is LogFormat.JSON:
        record = logging.LogRecord("ibcm_bridge", level, "", 0, text, None, None)
        print(JsonFormatter().format(record), file=sys.stderr, flush=True)
        return
    lines = "\n".join(f"{prefix}{line}" for line in text.splitlines())
    print(_for_journal(lines, level) if _is_journal() else lines, file=sys.stderr, flush=True)


def report(text: str, level: int = logging.INFO) -> None:
    """Print lines about a running bridge: as `say`, but with a time where other lines have one."""
    if _format is LogFormat.JSON or _is_journal():
        say(text, level)
        return
    timed = UtcFormatter()
    lines = (
        logging.LogRecord("ibcm-bridge", level, "", 0, line, None, None)
        for line in text.splitlines()
    )
    say("\n".join(map(timed.format, lines)), level, prefix="")


def _for_journal(text: str, level: int) -> str:
    # A level between two of the table is that of the lower one.
    known = max((known for known in PRIORITIES if known <= level), default=0)
    return "\n".join(f"<{PRIORITIES.get(known, 7)}>{line}" for line in text.splitlines() or [""])


def log_to_standard_error(level: int, log_format: LogFormat = LogFormat.TEXT) -> None:
    """Log to standard error, which may be connected to journald."""
    global _format  # noqa: PLW0603
    _format = log_format
    handler = logging.StreamHandler(sys.stderr)
    if log_format is LogFormat.JSON:
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(JournalFormatter() if _is_journal() else UtcFormatter())
    logging.basicConfig(level=level, handlers=[handler])


def _is_journal() -> bool:
    """Whether standard error is the stream that systemd names (systemd.exec(5))."""
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False  # closed, or replaced by something without a number
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
