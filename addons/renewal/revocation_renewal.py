"""Renews revocation lists while the bridge runs: watches files and folders, and fetches URLs.

1. `check` compares names, sizes and modification times of the files with those of the last check.
2. After a change, all lists are read and verified again, off the event loop.
3. A newer list takes effect at once, for new handshakes, resumed sessions and connected clients. A
   list that is broken, older, or not signed by a configured authority does not replace the current
   one; this is logged once.
4. A list that is about to expire or has expired is also logged once.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Iterable, Iterator, Sequence

from ibcm_bridge.addons.renewal.crl_fetch import Fetch
from ibcm_bridge.addons.renewal.file_watch import FileWatch, Problems
from ibcm_bridge.addons.renewal.renewal import Kind, Renewal
from ibcm_bridge.addons.tls.current_trust import CurrentTrust
from ibcm_bridge.authentication.list_states import list_states
from ibcm_bridge.authentication.revocation import RenewedLists, renew
from ibcm_bridge.policy.trust import CrlFetch
from ibcm_bridge.policy_file.crl_files import crl_files, read_crl_files

logger = logging.getLogger(__name__)

_LIST_STAYS = "; the lists in use do not change"

RETRY_SECONDS = 300.0
"""The time to the next attempt after a failed fetch, in seconds."""


def crl_renewals(
    trusts: Iterable[tuple[str, CurrentTrust]], check_seconds: float
) -> Iterator[Renewal]:
    """Yield the renewals for these trusts. Log lines start with the name of the trust."""
    for where, trust in trusts:
        yield (lists := ListsRenewal(where, trust, check_seconds))
        if (fetch := trust.trust.revocation.fetch) is not None:
            yield FetchedLists(lists, fetch)


class ListsRenewal:
    """Renews the lists of one trust from files and folders."""

    kind = Kind.LISTS
    reads_files = True

    def __init__(self, where: str, trust: CurrentTrust, check_seconds: float) -> None:
        sources = trust.trust.revocation.sources
        self.where = where
        self.trust = trust
        self._check_seconds = check_seconds
        self._watch = FileWatch(lambda: crl_files(sources), lambda: read_crl_files(sources))
        self._problems = Problems(where, "; the current lists stay in use")
        self._dates = Problems(where)
        self._first = True
        self._busy = asyncio.Lock()

    async def check(self) -> float:
        """Read changed lists again. Never raises: after a failure the current lists stay."""
        async with self._busy:
            try:
                await self._renew()
                self._dates.update(sorted(_dates(self.trust)))
            except Exception as error:  # a defect must not stop the renewal of other lists
                self._watch.reset()
                self._problems.update([f"cannot read the lists ({type(error).__name__})"])
        return self._check_seconds

    def problems(self) -> Sequence[str]:
        """Return why changed lists are not in use. The start has reported those of the start."""
        return self._problems.current()

    async def _renew(self) -> None:
        found = await asyncio.to_thread(self._read_again)
        if found is None:
            return
        renewed, problems = found
        if renewed.lists != self.trust.lists:
            self.trust.renew(renewed.lists)
        for crl in renewed.renewed:
            text = f"{crl.describe()} was renewed; it expires on {crl.ends:%Y-%m-%d %H:%M}"
            logger.info("%s: %s UTC", self.where, text)
        # The problems of the first read were already logged at the start.
        self._problems.update(problems, silently=self._first)
        self._first = False

    def _read_again(self) -> tuple[RenewedLists, list[str]] | None:
        files = self._watch.read_if_changed()
        if files is None:
            return None
        trust = self.trust
        renewed = renew(trust.lists, trust.trust, files.lists, trust.clock())
        if renewed.early:
            # A list that is not yet valid is read again until it is.
            self._watch.reset()
        return renewed, [*files.problems, *renewed.problems]


class FetchedLists:
    """Fetches the lists of one trust into a folder that `ListsRenewal` watches."""

    kind = Kind.LISTS
    reads_files = False

    def __init__(self, lists: ListsRenewal, fetch: CrlFetch) -> None:
        self._lists = lists
        self._every = fetch.every.total_seconds()
        self._fetches = [
            (Fetch(url, fetch.folder), Problems(f"{lists.where}: {url}", _LIST_STAYS))
            for url in fetch.urls
        ]

    async def check(self) -> float:
        """Fetch all lists, and apply the new ones."""
        failed = False
        for fetch, problems in self._fetches:
            problem = await fetch.run(self._lists.trust)
            failed = failed or problem is not None
            if problems.update([] if problem is None else [problem]):
                logger.warning("%s: %s can be fetched again", self._lists.where, fetch.url)
        await self._lists.check()
        return min(self._every, RETRY_SECONDS) if failed else self._every

    def problems(self) -> Sequence[str]:
        """Return why the last fetches failed."""
        return [text for _, problems in self._fetches for text in problems.current()]


def _dates(trust: CurrentTrust) -> Iterator[str]:
    """Yield the problems of dates. The start and the fetches already report missing lists."""
    now, lists = trust.clock(), trust.lists
    for state in list_states(trust.trust, lists, now):
        yield from (*state.unusable, *state.in_grace)
    for crl in lists.held.values():
        if datetime.timedelta() <= crl.ends - now < trust.trust.revocation.warn_before:
            yield f"{crl.describe()} expires on {crl.ends:%Y-%m-%d %H:%M} UTC; renew it"
