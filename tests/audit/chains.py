"""Audit lines of writers, as the bridge makes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ibcm_bridge.audit import record as audit
from ibcm_bridge.audit.chain import Chain, Point
from ibcm_bridge.audit.verification import Verification, Verified

NOW = "2026-01-02T03:04:05.678+00:00"
FIRST, SECOND = "0123456789abcdef", "fedcba9876543210"


class Writer:
    """A process that writes an audit."""

    def __init__(self, name: str = FIRST) -> None:
        self.chain = Chain(name)

    def line(self, event: audit.Event, **fields: audit.Value) -> bytes:
        """Return the next line."""
        record: audit.Record = {audit.TIME: NOW, audit.EVENT: event.value, **fields}
        line = audit.line(record, self.chain.members())
        self.chain = self.chain.after(line)
        return line.encode("ascii")

    def lines(self, requests: int, *, ended: bool = True) -> list[bytes]:
        """Return the lines from the start: that of the start, of requests, and of the end."""
        return [*self.begin(requests), *([self.line(audit.Event.WRITER_ENDED)] if ended else [])]

    def begin(self, requests: int) -> Iterator[bytes]:
        yield self.line(audit.Event.WRITER_STARTED)
        for number in range(requests):
            yield self.line(audit.Event.REQUEST, reference=f"{number:012x}", verdict="allow")


def verified(*files: Iterable[bytes], points: Iterable[Point] = ()) -> Verified:
    """Verify files, whose names are 1, 2 and so on."""
    verification = Verification(points)
    for number, lines in enumerate(files, 1):
        verification.begin_file(str(number))
        for line in lines:
            verification.add(line)
    return verification.result()


def problems(found: Verified) -> list[str]:
    """The problems as texts."""
    return [
        f"{problem.place}: {problem.text}" if problem.place else problem.text
        for problem in found.all_problems
    ]
