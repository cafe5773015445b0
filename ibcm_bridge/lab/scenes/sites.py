"""Two sites, and site systems for the Internet only or for both networks.

The site systems of the second site run only while a scene needs them. The bridge of the lab
publishes them all the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from statistics import median

from ibcm_bridge.lab.clients.life_cycle import MANAGEMENT_POINTS, POLICY_REQUEST, REGISTRATION
from ibcm_bridge.lab.namespaces import Namespace
from ibcm_bridge.lab.protocol.other_sites import (
    BOTH,
    BOTH_INSIDE,
    EUR,
    INTERNET_ONLY,
    SEC,
    SECOND_PUBLISHED,
    SECONDARY,
)
from ibcm_bridge.lab.protocol.reply_documents import INTRANET, PUBLISHED, SiteNames
from ibcm_bridge.lab.scenes.scene import (
    CannotShow,
    Scene,
    Stage,
    changed,
    installation,
    must_use,
    said,
)
from ibcm_bridge.lab.simulated.client import ActionResult, Result
from ibcm_bridge.lab.simulated.download import Download
from ibcm_bridge.lab.simulated.failure import Failure
from ibcm_bridge.lab.simulated.installation import Installation, Mode
from ibcm_bridge.lab.simulated.known_site_systems import KnownSiteSystems
from ibcm_bridge.lab.simulated.network import HTTPS
from ibcm_bridge.lab.simulated.running_lab import INSTALLATION_OPTIONS, RunningLab
from ibcm_bridge.lab.site_systems.cloud_distribution_point import CloudContent
from ibcm_bridge.lab.site_systems.second_site import ONLY_INTERNET, SECOND_SITE, SECONDARY_SITES
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.lab.site_systems.stand_ins import StandIn

_CHOICES = 40
_LEAST = 8
"""With two site systems, one of them is selected less often in 0.004 % of all runs."""

_WRONG_NAME = "eur1.corp.example"
"""A name of the intranet for the site system that has none."""

EUR_CLIENT = KnownSiteSystems(
    internet_management_points=SECOND_PUBLISHED, intranet_management_points=(BOTH_INSIDE,)
)


@contextmanager
def site_systems(
    lab: RunningLab,
    stand_ins: Mapping[str, StandIn],
    names: SiteNames,
    cloud: CloudContent | None = None,
) -> Iterator[SiteSystems]:
    """Run these site systems. CannotShow if this lab has no addresses for them."""
    if not lab.on_demand:
        raise CannotShow("a lab in containers has one site; start the lab with: ibcm-bridge lab up")
    ports = {role: lab.on_demand[role][1] for role in stand_ins}
    address = next(lab.on_demand[role][0] for role in stand_ins)
    try:
        site = SiteSystems(
            lab.pki,
            stand_ins=stand_ins,
            names=names,
            cloud=cloud,
            ports=ports,
            namespace=Namespace(lab.intranet.namespace.name, address),
        )
    except OSError as error:
        raise CannotShow(
            f"{error.strerror}; if another scene uses it, wait for the end of that scene"
        ) from error
    with site:
        yield site


def _second_site(stage: Stage) -> Iterator[ActionResult]:
    with site_systems(stage.lab, SECOND_SITE, EUR):
        client = stage.installed(
            Installation(Mode.BOTH, EUR_CLIENT, site="EUR"), stage.lab.intranet
        )
        yield from must_use((BOTH_INSIDE,), client.run(REGISTRATION))
        *location, download = client.download(Download())
        yield from must_use((BOTH_INSIDE,), location)
        yield from must_use(INTRANET.distribution_points, [download])
        client.move(stage.lab.internet)
        yield client.connect(PUBLISHED[0])  # it could reach this one
        yield from must_use(SECOND_PUBLISHED, client.run(POLICY_REQUEST))
        yield from must_use(SECOND_PUBLISHED, client.download(Download()))
        client.close()


def _slow_site_system(stage: Stage) -> Iterator[ActionResult]:
    with site_systems(stage.lab, SECOND_SITE, EUR):
        client = stage.installed(Installation(Mode.INTERNET_ONLY, EUR_CLIENT, site="EUR"))
        yield from client.run(REGISTRATION)
        seconds: dict[str, list[float]] = {name: [] for name in SECOND_PUBLISHED}
        for _ in range(_CHOICES):
            stage.limit.check()
            client.move(stage.lab.internet)
            for action in client.run(POLICY_REQUEST):
                if action.result is Result.GOOD:
                    seconds[action.site_system].append(action.seconds)
                else:
                    yield action
        for name, took in seconds.items():
            text = f"{1000 * median(took):.0f} ms for a response (median)" if took else ""
            result = Result.GOOD if len(took) >= _LEAST else Result.FAILED
            yield said(f"selected {len(took)} of {_CHOICES} times", text, result, name)
        client.close()


def _client_connections(stage: Stage) -> Iterator[ActionResult]:
    lab = stage.lab
    with site_systems(lab, SECOND_SITE, EUR):
        client = stage.installed(Installation(Mode.BOTH, EUR_CLIENT, site="EUR"), lab.intranet)
        yield from must_use(
            (BOTH_INSIDE,), client.run(REGISTRATION, POLICY_REQUEST, MANAGEMENT_POINTS)
        )
        named = ", ".join(client.known.intranet_management_points)
        only_both = client.known.intranet_management_points == (BOTH_INSIDE,)
        yield said("management points for the intranet", named, _good(only_both), BOTH_INSIDE)
        other_name = {(_WRONG_NAME, HTTPS): lab.on_demand[ONLY_INTERNET]}
        yield changed(lab.intranet.name, f"{_WRONG_NAME} is in DNS now")
        client.move(replace(lab.intranet, hosts={**lab.intranet.hosts, **other_name}))
        yield from stage.must_fail(Failure.OTHER_NAME, [client.connect(_WRONG_NAME)])
        for name, other in ((BOTH, INTERNET_ONLY), (INTERNET_ONLY, BOTH)):
            yield changed(lab.internet.name, f"{other} is not in DNS")
            client.move(lab.internet.without(other))
            yield from must_use((name,), client.run(POLICY_REQUEST))
        client.close()


def _secondary_site(stage: Stage) -> Iterator[ActionResult]:
    lab = stage.lab
    options = INSTALLATION_OPTIONS[Mode.BOTH]
    refused = installation(
        lambda: Installation(Mode.BOTH, options, site="SEC"), "for the secondary site"
    )
    yield from stage.must_fail(Failure.SECONDARY_SITE, [refused])
    with site_systems(lab, SECONDARY_SITES, SEC):
        knows = replace(options, intranet_management_points=(SECONDARY,))
        client = stage.installed(Installation(Mode.BOTH, knows), lab.intranet)
        yield from must_use((SECONDARY,), client.run(REGISTRATION, POLICY_REQUEST))
        client.move(lab.internet)
        yield from stage.must_fail(Failure.NAME_NOT_FOUND, [client.connect(SECONDARY)])
        yield from must_use(PUBLISHED, client.run(REGISTRATION, MANAGEMENT_POINTS))
        named = client.known.internet_management_points
        yield said(
            "management points for the Internet", ", ".join(named), _good(named == PUBLISHED)
        )
        client.close()


def _good(condition: bool) -> Result:
    return Result.GOOD if condition else Result.FAILED


SITES = (
    Scene(
        "second-site",
        "A client of another site",
        "CLIENT-PICK",
        "On the intranet, a client roams to the distribution point of the site that it visits. On "
        "the Internet it does not roam: it uses the Internet site systems of its own site only.",
        _second_site,
    ),
    Scene(
        "slow-site-system",
        "One of two Internet site systems is slow",
        "CLIENT-PICK",
        "A client selects one of them at random, and the slow one as often as the other.",
        _slow_site_system,
    ),
    Scene(
        "client-connections",
        "Site systems for the Internet only, or both networks",
        "CLIENT-MODE",
        "A site system accepts clients of the Internet only, or of both networks. The one for the "
        "Internet only has no name on the intranet, so clients of the intranet cannot use it.",
        _client_connections,
    ),
    Scene(
        "secondary-site",
        "A secondary site",
        "ROLE-PRIMARY",
        "A secondary site serves clients of the intranet. It accepts no clients from the Internet, "
        "and has no name there.",
        _secondary_site,
    ),
)
