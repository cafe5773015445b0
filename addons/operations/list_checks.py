"""The revocation lists of all trusts, checked once for `/ready` and for the gauges."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass

from ibcm_bridge.addons.operations import metrics
from ibcm_bridge.addons.operations.readings import Leg, Reading, reading
from ibcm_bridge.addons.policy_generation import Generation
from ibcm_bridge.addons.tls.current_trust import CurrentTrust
from ibcm_bridge.addons.tls.publication_tls import PublicationTls
from ibcm_bridge.authentication.list_states import ListState, list_states
from ibcm_bridge.authentication.revocation_list import RevocationList


@dataclass(frozen=True, slots=True)
class ListCheck:
    """The lists of one trust, as of one time."""

    publication: str
    leg: Leg
    where: str
    """The policy key that configures the trust."""
    now: datetime.datetime
    held: tuple[RevocationList, ...]
    states: tuple[ListState, ...]

    def problems(self) -> Iterator[str]:
        """Yield each problem, for the operator."""
        for state in self.states:
            for problem in state.problems():
                yield f"{self.where}: {problem}"

    def readings(self) -> Iterator[Reading]:
        """Yield the seconds to the end of each list, and whether each authority has a current one.

        Of lists or authorities with the same name, the worst counts.
        """
        place = self.publication, self.leg.value
        ends = dict[tuple[str, str], datetime.datetime]()
        for crl in self.held:
            key = crl.issuer, "base" if crl.base_number is None else "delta"
            ends[key] = min(crl.ends, ends.get(key, crl.ends))
        for key, end in ends.items():
            seconds = (end - self.now).total_seconds()
            yield reading(metrics.LIST_END, seconds, *place, *key)
        current = dict[str, bool]()
        for state in self.states:
            current[state.issuer] = state.is_current and current.get(state.issuer, True)
        for issuer, is_current in current.items():
            yield reading(metrics.LIST_CURRENT, is_current, *place, issuer)


def check_lists(generation: Generation, now: datetime.datetime) -> list[ListCheck]:
    """Check the lists of each trust of a generation."""
    return [
        ListCheck(
            tls.publication.name,
            leg,
            where,
            now,
            tuple(trust.lists.held.values()),
            tuple(list_states(trust.trust, trust.lists, now)),
        )
        for tls in generation.publication_tls
        for where, leg, trust in _trusts(tls)
    ]


def _trusts(tls: PublicationTls) -> Iterator[tuple[str, Leg, CurrentTrust]]:
    for where, trust in tls.trusts():
        is_client = trust is tls.client_trust
        yield where, Leg.CLIENTS if is_client else Leg.SITE_SYSTEMS, trust
