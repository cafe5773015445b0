"""Kinds of clients, and how they were installed (CLIENT-MODE, CLIENT-PICK)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from ibcm_bridge.lab.clients.life_cycle import (
    MANAGEMENT_POINTS,
    POLICY_REQUEST,
    REGISTRATION,
)
from ibcm_bridge.lab.protocol import wsus
from ibcm_bridge.lab.protocol.reply_documents import INTRANET, PUBLISHED
from ibcm_bridge.lab.scenes.scene import (
    CannotShow,
    Scene,
    Stage,
    installation,
    must_use,
    said,
)
from ibcm_bridge.lab.simulated.client import ActionResult, Result
from ibcm_bridge.lab.simulated.download import Download
from ibcm_bridge.lab.simulated.failure import Failure
from ibcm_bridge.lab.simulated.installation import Installation, Mode
from ibcm_bridge.lab.simulated.known_site_systems import KnownSiteSystems
from ibcm_bridge.lab.simulated.running_lab import INSTALLATION_OPTIONS

_INSIDE = (
    *INTRANET.management_points,
    *INTRANET.distribution_points,
    INTRANET.update_point,
)
"""The site systems of the intranet."""

_INTERNET_ONLY = Installation(Mode.INTERNET_ONLY, INSTALLATION_OPTIONS[Mode.BOTH])
"""It names an intranet management point too, which the client must not try."""

_USUAL = (REGISTRATION, POLICY_REQUEST)
_PICKS = 24
"""Clients that select a site system: with two of them, both are selected almost certainly."""


def _intranet_client(stage: Stage) -> Iterator[ActionResult]:
    client = stage.client(Mode.INTRANET_ONLY, stage.lab.intranet)
    yield from must_use(_INSIDE, client.run(*_USUAL))
    yield from must_use(_INSIDE, client.update())
    client.move(stage.lab.internet)
    yield from stage.must_fail(Failure.NAME_NOT_FOUND, client.run(POLICY_REQUEST))
    # It still knows the file of the update, and Microsoft Update could be reached.
    tried = list(client.update())
    yield from stage.must_fail(Failure.NAME_NOT_FOUND, tried)
    requests = sum(action.site_system == wsus.MICROSOFT_UPDATE for action in tried)
    result = Result.FAILED if requests else Result.GOOD
    yield said("requests to Microsoft Update", str(requests), result)


def _workgroup(stage: Stage) -> Iterator[ActionResult]:
    refused = installation(lambda: stage.client(Mode.BOTH, in_domain=False), "for both networks")
    yield from stage.must_fail(Failure.WORKGROUP, [refused])
    yield from stage.client(Mode.INTERNET_ONLY, in_domain=False).run(*_USUAL)


def _internet_only_inside(stage: Stage) -> Iterator[ActionResult]:
    lab = stage.lab
    if lab.internet.namespace.own:
        raise CannotShow(
            "the firewall of --netns has no way from the intranet to the bridge; "
            "start the lab without --netns"
        )
    published = {host: to for host, to in lab.internet.hosts.items() if host[0] in PUBLISHED}
    inside = replace(lab.intranet, hosts={**lab.intranet.hosts, **published})
    client = stage.installed(_INTERNET_ONLY, inside)
    yield from must_use(PUBLISHED, client.run(*_USUAL))
    yield from must_use(PUBLISHED, client.download(Download()))
    client.move(lab.intranet)
    yield from stage.must_fail(Failure.NAME_NOT_FOUND, client.run(POLICY_REQUEST))


def _reinstalled(stage: Stage) -> Iterator[ActionResult]:
    client = stage.client(Mode.BOTH, stage.lab.intranet)
    inside, outside = INTRANET.management_points, PUBLISHED
    yield from must_use(inside, client.run(*_USUAL))
    # Without another installation, the mode stays in each network.
    for network, names in ((stage.lab.internet, outside), (stage.lab.intranet, inside)):
        client.move(network)
        yield from must_use(names, client.run(POLICY_REQUEST))
    guid = client.device.guid
    yield installation(lambda: client.install(_INTERNET_ONLY), "as Internet-only")
    yield from stage.must_fail(Failure.NAME_NOT_FOUND, client.run(POLICY_REQUEST))
    client.move(stage.lab.internet)
    yield from must_use(outside, client.run(*_USUAL))
    same = client.device.guid == guid
    result = Result.GOOD if same else Result.FAILED
    yield said("client GUID", "the same" if same else "another", result)


def _becomes_capable(stage: Stage) -> Iterator[ActionResult]:
    knows = KnownSiteSystems(intranet_management_points=INTRANET.management_points)
    client = stage.installed(Installation(Mode.BOTH, knows), stage.lab.intranet)
    yield from client.run(REGISTRATION)
    client.move(stage.lab.internet)
    yield from stage.must_fail(Failure.NAME_NOT_FOUND, client.run(POLICY_REQUEST))
    client.move(stage.lab.intranet)
    yield from client.run(MANAGEMENT_POINTS)
    client.move(stage.lab.internet)
    yield from client.run(POLICY_REQUEST)


def _pick(stage: Stage) -> Iterator[ActionResult]:
    selected: Counter[str] = Counter()
    for number in range(_PICKS):
        client = stage.client(Mode.INTERNET_ONLY)
        for action in client.run(REGISTRATION):
            selected[action.site_system] += 1
            # The scene begins with the first client; the others are only counted.
            if number == 0 or action.result is Result.FAILED:
                yield action
        client.close()
    for name in PUBLISHED:
        result = Result.GOOD if selected[name] else Result.FAILED
        yield said(f"selected by {selected[name]} of {_PICKS} clients", "", result, name)


CLIENTS = (
    Scene(
        "intranet-client",
        "A client that is not set up for the Internet",
        "CLIENT-UPDATES",
        "It is not managed on the Internet, and never tries Microsoft Update.",
        _intranet_client,
        other_requirements=("CLIENT-MODE",),
    ),
    Scene(
        "workgroup",
        "A workgroup computer",
        "CLIENT-MODE",
        "A computer that is in no domain must be Internet-only.",
        _workgroup,
    ),
    Scene(
        "internet-only-inside",
        "An Internet-only client on the intranet",
        "CLIENT-MODE",
        "It stays managed inside if it can resolve and reach the Internet name. It never tries an "
        "intranet management point.",
        _internet_only_inside,
    ),
    Scene(
        "reinstallation",
        "Another mode by another installation",
        "CLIENT-MODE",
        "The mode is chosen at installation. After an installation as Internet-only, the client "
        "no longer looks for an intranet management point.",
        _reinstalled,
    ),
    Scene(
        "becomes-capable",
        "An intranet client becomes Internet-capable",
        "CLIENT-MODE",
        "A client whose management point names others for the Internet can be managed there "
        "afterwards, without another installation.",
        _becomes_capable,
    ),
    Scene(
        "pick",
        "Two Internet management points",
        "CLIENT-PICK",
        "Each client selects one at random, whatever the bandwidth or location: no roaming.",
        _pick,
    ),
)
