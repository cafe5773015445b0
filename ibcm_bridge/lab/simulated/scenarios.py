"""The scenarios of `ibcm-bridge lab client`.

A scenario has a title, a requirement, and the actions of a client.
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
"""Deployment state in the message to a fallback status point (protocol.md 8.1)."""

CUTS = (0.4, 0.7)
"""The fractions of the file at which a download is interrupted, within a range."""


@dataclass(frozen=True)
class Scenario:
    """A series of client actions."""

    title: str
    requirement: str
    play: Callable[[SimulatedClient, RunningLab], Iterator[ActionResult]]


def _life_cycle(client: SimulatedClient, _lab: RunningLab) -> Iterator[ActionResult]:
    yield client.fallback(INSTALLED)
    yield from client.run(*LIFE)


def _updates(client: SimulatedClient, _lab: RunningLab) -> Iterator[ActionResult]:
    yield from client.update()


def _without_microsoft_update(client: SimulatedClient, lab: RunningLab) -> Iterator[ActionResult]:
    client.move(lab.internet.without(wsus.MICROSOFT_UPDATE))
    yield from client.update()
    client.move(lab.internet)


def _cut_off(client: SimulatedClient, lab: RunningLab) -> Iterator[ActionResult]:
    """Lose the connection twice, in the same network."""
    download = Download()
    for cut in CUTS:
        yield from client.download(download, _until(download, cut))
        client.move(lab.internet)
    yield from client.download(download)
    yield client.compare(download)


def _there_and_back(client: SimulatedClient, lab: RunningLab) -> Iterator[ActionResult]:
    """Start on the Internet, continue on the intranet, complete on the Internet."""
    download = Download()
    for cut, network in zip(CUTS, (lab.intranet, lab.internet), strict=True):
        yield from client.download(download, _until(download, cut))
        client.move(network)
        yield from client.run(POLICY_REQUEST)
    yield from client.download(download)
    yield client.compare(download)


def _until(download: Download, fraction: float) -> Callable[[int], bool]:
    return lambda position: download.size is None or position < fraction * download.size


_EACH_MODE = (
    Scenario("Client life cycle on the Internet", "CLIENT-PICK", _life_cycle),
    Scenario("Update scan, and update from Microsoft Update", "CLIENT-UPDATES", _updates),
    Scenario(
        "Update scan without Microsoft Update",
        "CLIENT-UPDATES",
        _without_microsoft_update,
    ),
)

SCENARIOS = {
    Mode.INTERNET_ONLY: (
        *_EACH_MODE,
        Scenario("Download with two lost connections", "CLIENT-RESUME", _cut_off),
    ),
    Mode.BOTH: (
        *_EACH_MODE,
        Scenario(
            "Roaming download: Internet, intranet, Internet",
            "CLIENT-RESUME",
            _there_and_back,
        ),
    ),
}
"""Mode of the installation -> scenarios (CLIENT-MODE)."""
