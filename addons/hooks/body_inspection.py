"""Decides on each request body: `inspection` (BRIDGE-INSPECT).

Small bodies are inspected at once, large ones in a worker process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ibcm_bridge.addons.stages import BodyRead
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.inspection.engines import ContentEngine, Scanned
from ibcm_bridge.inspection.reports import Report
from ibcm_bridge.inspection.subject import Subject
from ibcm_bridge.inspection.verdict import Inspected, conclude, inspect_small
from ibcm_bridge.shares import Holder

InspectLarge = Callable[[Subject, Holder], Awaitable[Report | Deny]]


class BodyInspection:
    """Inspects the bodies of authorized requests; large ones by `inspect_large`."""

    def __init__(
        self,
        engines: Sequence[ContentEngine],
        inspect_large: InspectLarge,
        scanned: Scanned | None = None,
    ) -> None:
        """`scanned` is called for each scan of another process."""
        self.engines = engines
        """The engines in use. They may be replaced between two requests."""
        self._inspect_large = inspect_large
        self._scanned = scanned

    def body_read(self, read: BodyRead) -> Inspected | Deny | Awaitable[Inspected | Deny]:
        """Decide on the body."""
        decided = inspect_small(read.authorized, read.body, self.engines, read.part)
        return self._decide_later(read, decided) if isinstance(decided, Subject) else decided

    async def _decide_later(self, read: BodyRead, subject: Subject) -> Inspected | Deny:
        while True:
            engines = self.engines
            report = await self._inspect_large(subject, read.holder)
            if self._scanned is not None and isinstance(report, Report):
                _count_scans(report, engines, self._scanned)
            # If the rules changed meanwhile, inspect the body again with the new ones.
            if engines is self.engines:
                break
        if isinstance(report, Deny):
            return report
        return conclude(read.authorized, read.body, engines, report, read.part)


def _count_scans(report: Report, engines: Sequence[ContentEngine], scanned: Scanned) -> None:
    """Report the scans of the known engines. The names in a report come from another process."""
    for engine in engines:
        for seconds in report.scan_seconds.get(engine.name, ()):
            scanned(engine.name, seconds)
