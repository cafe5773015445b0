"""Which site system a client takes (CLIENT-MODE, CLIENT-PICK)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from urllib.parse import urlsplit

from ibcm_bridge.lab.simulated.installation import Mode
from ibcm_bridge.lab.simulated.known_site_systems import KnownSiteSystems
from ibcm_bridge.lab.simulated.network import HTTPS, Host, Unreachable


def management_points(known: KnownSiteSystems, mode: Mode, random: Random) -> list[str]:
    """Those to try, in turn: of the intranet first, if at all; of the Internet in any order."""
    inside = () if mode is Mode.INTERNET_ONLY else known.intranet_management_points
    return [*inside, *in_any_order(known.internet_management_points, random)]


def distribution_points(known: KnownSiteSystems, random: Random) -> list[str]:
    """Those that have the content that was asked for last, in any order."""
    return in_any_order([urlsplit(url).hostname or "" for url in known.content], random)


def in_any_order(names: Sequence[str], random: Random) -> list[str]:
    """CLIENT-PICK: neither bandwidth nor place matters."""
    return random.sample(names, len(names))


class SiteSystemSelection:
    """What a client has picked in one network: it stays with that.

    `reached` says whether somebody answers under a name.
    """

    def __init__(self, mode: Mode, random: Random, reached: Callable[[Host], bool]) -> None:
        self._mode = mode
        self._random = random
        self._reached = reached
        self._selected: dict[str, Host] = {}

    def host(self, target: str, known: KnownSiteSystems) -> Host:
        """Who gets a request for this target. Unreachable where there is nobody."""
        directory = target.split("/")[1].lower()
        if directory.startswith("sms_dp_"):
            return self.distribution_point(known)
        if directory == "ccm_incoming" and known.uploads:
            return known.uploads, HTTPS
        return self._select("management point", management_points(known, self._mode, self._random))

    def distribution_point(self, known: KnownSiteSystems) -> Host:
        """Unreachable where there is none."""
        return self._select("distribution point", distribution_points(known, self._random))

    def forget(self, host: Host) -> None:
        """It does not answer: look for another next time."""
        self._selected = {
            role: selected for role, selected in self._selected.items() if selected != host
        }

    def _select(self, role: str, names: Sequence[str]) -> Host:
        if role not in self._selected:
            hosts = ((name, HTTPS) for name in names)
            found = next((host for host in hosts if self._reached(host)), None)
            if found is None:
                raise Unreachable(f"no {role} can be reached")
            self._selected[role] = found
        return self._selected[role]
