"""The site systems of two more sites: EUR and SEC (`protocol.other_sites`).

A scene starts them when it needs them. The bridge of the lab publishes those of EUR all the time.
A server of EUR has two roles, management point and distribution point.
"""

from __future__ import annotations

from collections.abc import Mapping

from ibcm_bridge.lab.protocol.content import ServerResponse
from ibcm_bridge.lab.protocol.other_sites import BOTH, BOTH_INSIDE, INTERNET_ONLY, SECONDARY
from ibcm_bridge.lab.site_systems.server_request import ServerRequest
from ibcm_bridge.lab.site_systems.stand_ins import (
    WINDOWS_DIRECTORIES,
    ClientAuthentication,
    Site,
    StandIn,
    distribution_point,
    management_point,
)

SLOW = 0.05
"""Seconds before each response of the slow site system."""


def _two_roles(request: ServerRequest, site: Site) -> ServerResponse:
    respond = distribution_point if "sms_dp_" in request.directory else management_point
    return respond(request, site)


def _server(role: str, port: int, *names: str, delay: float = 0.0) -> StandIn:
    return StandIn(
        role,
        port,
        names,
        ClientAuthentication.PER_DIRECTORY,
        _two_roles,
        users=WINDOWS_DIRECTORIES,
        delay=delay,
    )


ONLY_INTERNET, BOTH_NETWORKS, SECONDARY_SITE = "eur-internet-only", "eur-both", "secondary-site"

SECOND_SITE: Mapping[str, StandIn] = {
    stand_in.role: stand_in
    for stand_in in (
        _server(ONLY_INTERNET, 9451, INTERNET_ONLY, delay=SLOW),
        _server(BOTH_NETWORKS, 9452, BOTH, BOTH_INSIDE),
    )
}
"""Role -> server of EUR. The names are those of its certificate."""

SECONDARY_SITES: Mapping[str, StandIn] = {
    SECONDARY_SITE: _server(SECONDARY_SITE, 9453, SECONDARY),
}
"""Role -> server of SEC."""

ON_DEMAND: Mapping[str, StandIn] = {**SECOND_SITE, **SECONDARY_SITES}
