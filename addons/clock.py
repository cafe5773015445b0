"""The clock of the bridge, for dates in certificates, bindings and records."""

from __future__ import annotations

import datetime
from collections.abc import Callable

Clock = Callable[[], datetime.datetime]
"""Returns the current time, with a time zone."""


def utc_now() -> datetime.datetime:
    """Return the current time of the system clock."""
    return datetime.datetime.now(datetime.UTC)
