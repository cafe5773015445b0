"""Renews revocation lists while the bridge runs: files and folders are watched, URLs fetched.

1. `look` compares names, sizes and times of the files with those of the last time.
2. Where something has changed, all lists are read and verified again, off the event loop.
3. What is newer takes effect at once, for new handshakes and resumed sessions alike; where a list
   is worse than the current one (broken, not signed by a configured authority, older), the current
   one stays, and the log says so, once.
4. A list that is about to end, or has ended, is logged once too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator

from ibcm_bridge.addons.renewal.crl_fetch import Fetch
from ibcm_bridge.addons.renewal.file_watch import FileWatch, Problems
from ibcm_bridge.addons.renewal.renewal import Renewal
from ibcm_bridge.addons.tls.current_trust import CurrentTrust
from ibcm_bridge.authentication.revocation import RenewedLists, renew
from ibcm_bridge.policy.trust import CrlFetch
from ibcm_bridge.policy_file.crl_files import crl_files, read_crl_files

logger = logging.getLogger(__name__)

RETRY_SECONDS = 300.0
"""How soon a fetch that failed is tried again."""


def list_renewals(
    trusts: Iterable[tuple[str, CurrentTrust]], look_seconds: float
) -> Iterator[Renewal]:
    """Keep the lists of these trusts current; each is logged by the name beside it."""
    for where, trust in trusts:
        yield (lists := ListsRenewal(where, trust, look_seconds))
        if (fetch := trust.trust.revocation.fetch) is not None:
            yield FetchedLists(lists, fetch)


class ListsRenewal:
    """The lists of one trust, from files and folders."""

    def __init__(self, where: str, trust: CurrentTrust, look_seconds: float) -> None:
        sources = trust.trust.revocation.sources
        self.where = where
        self.trust = trust
        self._look_seconds = look_seconds
        self._watch = FileWatch(lambda: crl_files(sources), lambda: read_crl_files(sources))
        self._problems = Problems(where, "; what was held is kept")
        self._dates = Problems(where)
        self._first = True
        self._busy = asyncio.Lock()

    async def look(self) -> float:
        """Read again what has changed. Never raises: whatever happens, current lists stay."""
        async with self._busy:
            try:
                await self._renew()
                self._dates.update(sorted(_dates(self.trust)))
            except Exception as error:  # a defect must not stop the renewal of other lists
                self._watch.forget()
                self._problems.update([f"lists could not be read again ({type(error).__name__})"])
        return self._look_seconds

    async def _renew(self) -> None:
        found = await asyncio.to_thread(self._read_again)
        if found is None:
            return
        renewed, problems = found
        self.trust.lists = renewed.lists
        for one in renewed.renewed:
            text = f"{one.describe()} was renewed; it ends on {one.ends:%Y-%m-%d %H:%M}"
            logger.info("%s: %s UTC", self.where, text)
        # What a file had at the start was logged at the start.
        self._problems.update(problems, silently=self._first)
        self._first = False

    def _read_again(self) -> tuple[RenewedLists, list[str]] | None:
        files = self._watch.look()
        if files is None:
            return None
        trust = self.trust
        renewed = renew(trust.lists, trust.trust, files.lists, trust.clock())
        if renewed.early:
            # One that begins later is looked at again until it has begun.
            self._watch.forget()
        return renewed, [*files.problems, *renewed.problems]


class FetchedLists:
    """The lists of one trust that are fetched into a folder, which is watched."""

    def __init__(self, lists: ListsRenewal, fetch: CrlFetch) -> None:
        self._lists = lists
        self._every = fetch.every.total_seconds()
        self._fetches = [
            (Fetch(url, fetch.folder), Problems(f"{lists.where}: {url}", "; the list held is kept"))
            for url in fetch.urls
        ]

    async def look(self) -> float:
        """Fetch all of them, and take what is new."""
        failed = False
        for fetch, problems in self._fetches:
            problem = await fetch.run(self._lists.trust)
            failed = failed or problem is not None
            if problems.update([] if problem is None else [problem]):
                logger.warning("%s: %s can be fetched again", self._lists.where, fetch.url)
        await self._lists.look()
        return min(self._every, RETRY_SECONDS) if failed else self._every


def _dates(trust: CurrentTrust) -> Iterator[str]:
    now, revocation = trust.clock(), trust.trust.revocation
    for one in trust.lists.held.values():
        ends = f"{one.ends:%Y-%m-%d %H:%M} UTC"
        if now > one.ends + revocation.grace:
            yield f"{one.describe()} ended on {ends}: every certificate is refused"
        elif now > one.ends:
            last = f"{one.ends + revocation.grace:%Y-%m-%d %H:%M} UTC"
            yield f"{one.describe()} ended on {ends} and is accepted in its grace, until {last}"
        elif one.ends - now < revocation.warn_before:
            yield f"{one.describe()} ends on {ends}; renew it"
