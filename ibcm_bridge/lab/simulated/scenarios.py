"""What `ibcm-bridge lab client` shows of one client, scene by scene.

A scene has a title, the requirement that it is about, and things that the client does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ibcm_bridge.lab.clients.life_cycle import LIFE, POLICY_REQUEST
from ibcm_bridge.lab.protocol import wsus
from ibcm_bridge.lab.simulated.client import ActionResult, SimulatedClient
from ibcm_bridge.lab.simulated.download import Download
from ibcm_bridge.lab.simulated.installation import Mode
from ibcm_bridge.lab.simulated.running_lab import RunningLab

INSTALLED = 400
"""State of a client's deployment that a fallback status point is told (protocol.md 8.1)."""

CUTS = (0.4, 0.7)
"""Where a download is cut off, as parts of the whole: within a range, not between two."""


@dataclass(frozen=True)
class Scenario:
    """What a client does, in a lab."""

    title: str
    requirement: str
    play: Callable[[SimulatedClient, RunningLab], Iterator[ActionResult]]


def _life(client: SimulatedClient, _lab: RunningLab) -> Iterator[ActionResult]:
    yield client.fallback(INSTALLED)
    yield from client.take(*LIFE)


def _updates(client: SimulatedClient, _lab: RunningLab) -> Iterator[ActionResult]:
    yield from client.update()


def _without_microsoft_update(client: SimulatedClient, lab: RunningLab) -> Iterator[ActionResult]:
    client.move(lab.internet.without(wsus.MICROSOFT_UPDATE))
    yield from client.update()
    client.move(lab.internet)


def _cut_off(client: SimulatedClient, lab: RunningLab) -> Iterator[ActionResult]:
    """A connection that is lost twice; the client stays where it is."""
    download = Download()
    for cut in CUTS:
        yield from client.download(download, _until(download, cut))
        client.move(lab.internet)
    yield from client.download(download)
    yield client.compare(download)


def _there_and_back(client: SimulatedClient, lab: RunningLab) -> Iterator[ActionResult]:
    """Begun on the Internet, gone on with in the intranet, ended on the Internet."""
    download = Download()
    for cut, network in zip(CUTS, (lab.intranet, lab.internet), strict=True):
        yield from client.download(download, _until(download, cut))
        client.move(network)
        yield from client.take(POLICY_REQUEST)
    yield from client.download(download)
    yield client.compare(download)


def _until(download: Download, part: float) -> Callable[[int], bool]:
    return lambda position: download.size is None or position < part * download.size


_EVERY = (
    Scenario("A client's life on the Internet", "CLIENT-PICK", _life),
    Scenario("A scan, and the update from Microsoft Update", "CLIENT-UPDATES", _updates),
    Scenario(
        "The same, where Microsoft Update is out of reach",
        "CLIENT-UPDATES",
        _without_microsoft_update,
    ),
)

SCENARIOS = {
    Mode.INTERNET_ONLY: (
        *_EVERY,
        Scenario("A download whose connection is lost, twice", "CLIENT-RESUME", _cut_off),
    ),
    Mode.BOTH: (
        *_EVERY,
        Scenario(
            "A download, on the Internet, inside, and outside again",
            "CLIENT-RESUME",
            _there_and_back,
        ),
    ),
}
"""By how a client was installed (CLIENT-MODE)."""
