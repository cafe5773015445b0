"""Decides on each request body: `inspection` (BRIDGE-INSPECT).

Small bodies are inspected at once, large ones in a worker process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ibcm_bridge.addons.stages import BodyRead
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.inspection.engines import ContentEngine
from ibcm_bridge.inspection.reports import Report
from ibcm_bridge.inspection.subject import Subject
from ibcm_bridge.inspection.verdict import Inspected, conclude, inspect_small
from ibcm_bridge.shares import Holder

InspectLarge = Callable[[Subject, Holder], Awaitable[Report | Deny]]


class BodyInspection:
    """Inspects the bodies of authorized requests; large ones by `inspect_large`."""

    def __init__(self, engines: Sequence[ContentEngine], inspect_large: InspectLarge) -> None:
        self.engines = engines
        """The engines in use. They may be replaced between two requests."""
        self._inspect_large = inspect_large

    def body_read(self, read: BodyRead) -> Inspected | Deny | Awaitable[Inspected | Deny]:
        """Decide on the body."""
        decided = inspect_small(read.authorized, read.body, self.engines, read.part)
        return self._decide_later(read, decided) if isinstance(decided, Subject) else decided

    async def _decide_later(self, read: BodyRead, subject: Subject) -> Inspected | Deny:
        while True:
            engines = self.engines
            report = await self._inspect_large(subject, read.holder)
            # If the rules changed meanwhile, inspect the body again with the new ones.
            if engines is self.engines:
                break
        if isinstance(report, Deny):
            return report
        return conclude(read.authorized, read.body, engines, report, read.part)
