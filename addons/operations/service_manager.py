"""Messages to the service manager (sd_notify(3)), if there is one."""

from __future__ import annotations

import contextlib
import os
import socket

READY = "READY=1"
WATCHDOG = "WATCHDOG=1"


def notify(state: str) -> None:
    """Send a state. Without a service manager, or if it does not listen, do nothing."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if name[:1] not in ("/", "@") or not hasattr(socket, "AF_UNIX"):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        # "@" is an abstract name of Linux, which begins with a null byte.
        sender.sendto(state.encode(), "\0" + name[1:] if name.startswith("@") else name)


def watchdog_seconds() -> float | None:
    """Return the interval at which to send `WATCHDOG`; None if the process is not watched."""
    text, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    if not text.isdecimal() or int(text) == 0 or pid not in (None, str(os.getpid())):
        return None
    return int(text) / 2_000_000


_FIRST = 3
"""The number of the first file that a service manager passes (SD_LISTEN_FDS_START)."""


def passed_files() -> list[tuple[str, int]]:
    """Return the name and the number of each file that was passed (sd_listen_fds(3)).

    Remove the variables, so that no process that is started later takes them for its own.
    """
    pid, count, names = (os.environ.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES"))
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    listed = names.split(":")
    numbers = range(_FIRST, _FIRST + int(count))
    for number in numbers:
        os.set_inheritable(number, False)
    return [
        (listed[place] if place < len(listed) and listed[place] else str(number), number)
        for place, number in enumerate(numbers)
    ]
