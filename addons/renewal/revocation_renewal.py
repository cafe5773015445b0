"""Renews revocation lists while the bridge runs: files and folders are watched, URLs fetched.

1. `look` compares names, sizes and times of the files with those of the last time.
2. Where something has changed, all lists are read and verified again, off the event loop.
3. What is newer takes effect at once, for new handshakes and resumed sessions alike; where a list
   is worse than the one held (broken, not signed by a configured authority, older), the one held
   stays, and the log says so, once.
4. A list that is about to end, or has ended, is said once too.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Iterator, Sequence

from ibcm_bridge.addons.renewal.crl_fetch import Fetch
from ibcm_bridge.addons.tls.current_trust import CurrentTrust
from ibcm_bridge.authentication.revocation import Lists, RenewedLists, renew
from ibcm_bridge.policy_file.crl_files import CrlFiles, Stamp, read_crl_files, stamp

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""How soon a renewed file is noticed."""

RETRY_SECONDS = 300.0
"""How soon a fetch that failed is tried again."""


class RevocationRenewal:
    """Keeps the lists of all trusts of a bridge current."""

    def __init__(
        self, held: Sequence[tuple[str, CurrentTrust]], look_seconds: float = LOOK_SECONDS
    ) -> None:
        self._watches = [_Watch(where, one) for where, one in held]
        self._look_seconds = look_seconds

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for watch in self._watches:
                tasks.create_task(self._watch(watch))
                if watch.held.trust.revocation.fetch is not None:
                    tasks.create_task(self._fetch(watch))

    async def _watch(self, watch: _Watch) -> None:
        while True:
            await watch.look()
            await asyncio.sleep(self._look_seconds)

    async def _fetch(self, watch: _Watch) -> None:
        fetch = watch.held.trust.revocation.fetch
        assert fetch is not None
        fetches = [Fetch(url, fetch.folder) for url in fetch.urls]
        while True:
            failed = False
            for one in fetches:
                problem = await one.run(watch.held)
                failed = failed or problem is not None
                watch.say_fetched(one.url, problem)
            await watch.look()
            every = fetch.every.total_seconds()
            await asyncio.sleep(min(every, RETRY_SECONDS) if failed else every)


class _Watch:
    """One trust and what was last seen of its sources."""

    def __init__(self, where: str, held: CurrentTrust) -> None:
        self.where = where
        self.held = held
        self._stamp: Stamp | None = None
        self._said: set[str] = set()
        self._dates_said: set[str] = set()
        self._failed: dict[str, str] = {}
        self._busy = asyncio.Lock()

    async def look(self) -> None:
        """Read again what has changed. Never raises: whatever happens, the lists held stay."""
        async with self._busy:
            try:
                seen, renewal, problems = await asyncio.to_thread(
                    _read_again, self.held, self._stamp
                )
                first, self._stamp = self._stamp is None, seen
                if renewal is not None:
                    self.held.lists = renewal.lists
                    for one in renewal.renewed:
                        text = f"{one.describe()} was renewed; it ends on {one.ends:%Y-%m-%d %H:%M}"
                        logger.info("%s: %s UTC", self.where, text)
                    # What a file had at the start was said at the start.
                    self._say_new(problems, silently=first)
                self._say_dates()
            except Exception as error:  # a defect must not stop the renewal of other lists
                self._stamp = None
                self._say_new([f"lists could not be read again ({type(error).__name__})"])

    def say_fetched(self, url: str, problem: str | None) -> None:
        """Say what is wrong with a URL, once until it has worked again."""
        if problem is None:
            if self._failed.pop(url, None) is not None:
                logger.warning("%s: %s can be fetched again", self.where, url)
        elif self._failed.get(url) != problem:
            self._failed[url] = problem
            logger.warning("%s: %s: %s; the list held is kept", self.where, url, problem)

    def _say_new(self, problems: Sequence[str], *, silently: bool = False) -> None:
        for problem in problems:
            if problem not in self._said and not silently:
                logger.warning("%s: %s; what was held is kept", self.where, problem)
        self._said = set(problems)

    def _say_dates(self) -> None:
        texts = set(_dates(self.held, self.held.clock()))
        for text in sorted(texts - self._dates_said):
            logger.warning("%s: %s", self.where, text)
        self._dates_said = texts


def _read_again(
    held: CurrentTrust, before: Stamp | None
) -> tuple[Stamp | None, RenewedLists | None, list[str]]:
    sources = held.trust.revocation.sources
    seen = stamp(sources)
    if seen == before:
        return seen, None, []
    files: CrlFiles = read_crl_files(sources)
    renewal = renew(held.lists, held.trust, files.lists, held.clock())
    # One that begins later is looked at again until it has begun.
    return None if renewal.early else seen, renewal, [*files.problems, *renewal.problems]


def _dates(held: CurrentTrust, now: datetime.datetime) -> Iterator[str]:
    lists: Lists = held.lists
    revocation = held.trust.revocation
    for one in lists.held.values():
        ends = f"{one.ends:%Y-%m-%d %H:%M} UTC"
        if now > one.ends + revocation.grace:
            yield f"{one.describe()} ended on {ends}: every certificate is refused"
        elif now > one.ends:
            last = f"{one.ends + revocation.grace:%Y-%m-%d %H:%M} UTC"
            yield f"{one.describe()} ended on {ends} and is accepted in its grace, until {last}"
        elif one.ends - now < revocation.warn_before:
            yield f"{one.describe()} ends on {ends}; renew it"


async def stopped(task: asyncio.Task[None]) -> None:
    """End a renewal. One that has failed stops nobody else from stopping."""
    task.cancel()
    (ended,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(ended, Exception):
        logger.error("the renewal of revocation lists had ended: %s", type(ended).__name__)
