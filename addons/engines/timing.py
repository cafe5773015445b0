"""Measures how long content engines take."""

from __future__ import annotations

from time import monotonic

from ibcm_bridge.inspection.engines import ContentEngine, Scanned


class TimedEngine:
    """An engine, and what is called after each of its scans. A scan that fails counts too."""

    def __init__(self, engine: ContentEngine, scanned: Scanned) -> None:
        self._scan = engine.scan
        self._scanned = scanned
        self.name = engine.name
        self.identity = engine.identity
        self.in_place = engine.in_place

    def scan(self, data: bytes, *, opened: bool = False) -> str | None:
        """Return the name of a match, or None. Raises EngineError."""
        began = monotonic()
        try:
            return self._scan(data, opened=opened)
        finally:
            self._scanned(self.name, monotonic() - began)


class ScanTimes:
    """The times of the scans of one body: name of the engine -> seconds of each scan."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = {}

    def add(self, engine: str, seconds: float) -> None:
        """Add a scan."""
        self._seconds.setdefault(engine, []).append(seconds)

    def taken(self) -> dict[str, tuple[float, ...]]:
        """Return the times since the last call."""
        found, self._seconds = self._seconds, {}
        return {engine: tuple(seconds) for engine, seconds in found.items()}
