"""Decides on each request body: `inspection` (BRIDGE-INSPECT).

Small bodies are decided on at once; a large one is waited for, while a worker process looks at it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ibcm_bridge.addons.stages import BodyRead
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.inspection.body import Inspected, conclude, inspect_small
from ibcm_bridge.inspection.engines import ContentEngine
from ibcm_bridge.inspection.reports import Report
from ibcm_bridge.inspection.subject import Subject

Elsewhere = Callable[[Subject], Awaitable[Report | Deny]]


class BodyInspection:
    """Looks into what an authorized request carries; `elsewhere` does it for large bodies."""

    def __init__(self, engines: Sequence[ContentEngine], elsewhere: Elsewhere) -> None:
        self.engines = engines
        """What is looked with; may be replaced between two requests."""
        self._elsewhere = elsewhere

    def body_read(self, read: BodyRead) -> Inspected | Deny | Awaitable[Inspected | Deny]:
        """Decide on the body."""
        decided = inspect_small(read.authorized, read.body, self.engines, read.part)
        return self._decide_later(read, decided) if isinstance(decided, Subject) else decided

    async def _decide_later(self, read: BodyRead, subject: Subject) -> Inspected | Deny:
        while True:
            engines = self.engines
            report = await self._elsewhere(subject)
            # With other rules meanwhile it is looked at again, by those.
            if engines is self.engines:
                break
        if isinstance(report, Deny):
            return report
        return conclude(read.authorized, read.body, engines, report, read.part)
