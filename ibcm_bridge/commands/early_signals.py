"""The signals of a running bridge, while it still starts.

Their default action ends the process. The event loop, or the parent of the workers, handles them
later.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping


class Hangups:
    """Notes SIGHUP, the request to reload."""

    def __init__(self) -> None:
        self._noted = False

    def note(self, *_: object) -> None:
        """Note one. This is a signal handler, which a program that is started does not inherit."""
        self._noted = True

    def noted(self) -> bool:
        """Whether there was one, which can be later than the read of the policy."""
        return self._noted


@contextlib.contextmanager
def early_signals() -> Iterator[Hangups]:
    """Let SIGHUP, SIGUSR1 and SIGUSR2 not end the process. Windows has none of them."""
    hangups = Hangups()
    actions: Mapping[str, Callable[..., object] | signal.Handlers] = {
        "SIGHUP": hangups.note,
        "SIGUSR1": signal.SIG_IGN,
        "SIGUSR2": signal.SIG_IGN,
    }
    with contextlib.ExitStack() as stack:
        for name, action in actions.items():
            if (number := getattr(signal, name, None)) is not None:
                stack.callback(signal.signal, number, signal.getsignal(number))
                signal.signal(number, action)
        yield hangups
