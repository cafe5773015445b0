"""What passed the wire in the last run of each case, in memory, up to a limit."""

from __future__ import annotations

import threading
from enum import StrEnum

from ibcm_bridge.lab.capture.recording import Wire
from ibcm_bridge.lab.comparison.outcomes import NO_TUNNEL

MAX_CASE = 1_048_576
"""Bytes that are recorded of a path of a case; the rest of a longer download is not."""

MAX_ALL = 33_554_432
"""Bytes that are kept. All cases need about 12 MB."""


class Path(StrEnum):
    """A path of a case."""

    BRIDGE = "bridge"
    TUNNEL = "tunnel"
    TUNNEL_TLS_1_2 = "tunnel-tls1.2"


class Missing(Exception):
    """There is no capture; the text says why."""


NOT_SENT = "There is no capture: nothing was sent yet. Send the case first."
NOT_KEPT = f"This capture is no longer kept: the limit is {MAX_ALL >> 20} MiB. Send the case again."
NOT_RECORDED = "There is no capture: lab up --netns records nothing. Omit --netns."


class Captures:
    """The wires of the cases. All methods are thread-safe."""

    def __init__(self) -> None:
        self._wires: dict[tuple[str, Path], Wire] = {}
        """The oldest first."""
        self._missing: dict[tuple[str, Path], str] = {}
        """Why a case that was sent has no wire."""
        self._lock = threading.Lock()

    def keep(self, case: str, path: Path, wire: Wire | None, *, sent: bool = True) -> None:
        """Keep the wire of a case instead of an earlier one; drop the oldest ones.

        `sent`: whether the case has this path at all.
        """
        key = case, path
        with self._lock:
            self._wires.pop(key, None)
            self._missing.pop(key, None)
            if wire is None:
                self._missing[key] = NOT_RECORDED if sent else NO_TUNNEL
                return
            self._wires[key] = wire
            left = sum(kept.size for kept in self._wires.values()) - MAX_ALL
            for old in list(self._wires):
                if left > 0:
                    left -= self._wires.pop(old).size
                    self._missing[old] = NOT_KEPT

    def wire(self, case: str, path: Path) -> Wire:
        """Return what passed the wire. Missing if that is not known."""
        with self._lock:
            if (case, path) in self._wires:
                return self._wires[case, path]
            raise Missing(self._missing.get((case, path), NOT_SENT))
