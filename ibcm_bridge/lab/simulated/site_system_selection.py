"""Selects the site system of a client (CLIENT-MODE, CLIENT-PICK)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from urllib.parse import urlsplit

from ibcm_bridge.lab.simulated.failure import Failure, Unreachable
from ibcm_bridge.lab.simulated.installation import Mode
from ibcm_bridge.lab.simulated.known_site_systems import KnownSiteSystems
from ibcm_bridge.lab.simulated.network import HTTPS, Host


def management_points(known: KnownSiteSystems, mode: Mode, random: Random) -> list[str]:
    """Return the management points to try: intranet first, then Internet in random order."""
    inside = () if mode is Mode.INTERNET_ONLY else known.intranet_management_points
    outside = () if mode is Mode.INTRANET_ONLY else known.internet_management_points
    return [*inside, *in_random_order(outside, random)]


def distribution_points(known: KnownSiteSystems, random: Random) -> list[str]:
    """Return the distribution points with the last requested content, in random order."""
    return in_random_order([urlsplit(url).hostname or "" for url in known.content], random)


def in_random_order(names: Sequence[str], random: Random) -> list[str]:
    """Shuffle the names; bandwidth and location do not matter (CLIENT-PICK)."""
    return random.sample(names, len(names))


class SiteSystemSelection:
    """The site systems that a client has selected in one network; it keeps them.

    `why_not` returns why a host does not respond; None if it does.
    """

    def __init__(
        self, mode: Mode, random: Random, why_not: Callable[[Host], Failure | None]
    ) -> None:
        self._mode = mode
        self._random = random
        self._why_not = why_not
        self._selected: dict[str, Host] = {}

    def host(self, target: str, known: KnownSiteSystems) -> Host:
        """Return the site system for a request target. Unreachable if there is none."""
        directory = target.split("/")[1].lower()
        if directory.startswith("sms_dp_"):
            return self.distribution_point(known)
        if directory == "ccm_incoming" and known.uploads:
            return known.uploads, HTTPS
        return self._select("management point", management_points(known, self._mode, self._random))

    def distribution_point(self, known: KnownSiteSystems) -> Host:
        """Return the distribution point. Unreachable if there is none, or no HTTPS."""
        if any(urlsplit(url).scheme != "https" for url in known.content):
            text = "the client refuses a location that is not https://"
            raise Unreachable(text, Failure.NOT_HTTPS)
        return self._select("distribution point", distribution_points(known, self._random))

    def forget(self, host: Host) -> None:
        """Select another host next time, because this one did not respond."""
        self._selected = {
            role: selected for role, selected in self._selected.items() if selected != host
        }

    def _select(self, role: str, names: Sequence[str]) -> Host:
        if role not in self._selected:
            self._selected[role] = self._first(role, [(name, HTTPS) for name in names])
        return self._selected[role]

    def _first(self, role: str, hosts: Sequence[Host]) -> Host:
        """Return the first host that responds. Unreachable, with the failure that all have."""
        failures: set[Failure] = set()
        for host in hosts:
            if (failure := self._why_not(host)) is None:
                return host
            failures.add(failure)
        same = next(iter(failures), Failure.NO_NAME)
        failure = same if len(failures) < 2 else Failure.SEVERAL
        raise Unreachable(f"no {role} can be reached", failure)
