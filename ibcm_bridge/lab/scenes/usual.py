"""The scenes that `ibcm-bridge lab client` plays without --scene, in the mode of the client."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ibcm_bridge.lab.clients.life_cycle import (
    CONTENT_STEPS,
    LIFE,
    POLICY_REQUEST,
    REGISTRATION,
    UPLOAD_STEPS,
)
from ibcm_bridge.lab.protocol import wsus
from ibcm_bridge.lab.protocol.reply_documents import PUBLISHED
from ibcm_bridge.lab.scenes.scene import Scene, Stage, changed, must_use
from ibcm_bridge.lab.simulated.client import ActionResult
from ibcm_bridge.lab.simulated.download import Download
from ibcm_bridge.lab.simulated.installation import Mode

INSTALLED = 400
"""Deployment state in the message to a fallback status point (protocol.md 8.1)."""

_AT_DISTRIBUTION_POINTS = frozenset(step.name for step in CONTENT_STEPS)
_UPLOADS = frozenset(step.name for step in UPLOAD_STEPS)

CUTS = (0.4, 0.7)
"""The fractions of the file at which a download is interrupted, within a range."""


def _life_cycle(stage: Stage) -> Iterator[ActionResult]:
    client = stage.client(stage.mode)
    yield client.fallback(INSTALLED)
    selected: tuple[str, ...] = PUBLISHED
    for action in client.run(*LIFE):
        if action.action in _AT_DISTRIBUTION_POINTS:
            yield from must_use(PUBLISHED, [action])
        elif action.action in _UPLOADS:
            yield from must_use((client.known.uploads,), [action])
        else:
            yield from must_use(selected, [action])
            if action.action == REGISTRATION.name:
                selected = (action.site_system,)


def _microsoft_update(stage: Stage) -> Iterator[ActionResult]:
    client = stage.client(stage.mode)
    yield from client.run(REGISTRATION)
    yield from client.update()
    yield changed(client.network.name, "Microsoft Update is no longer in DNS")
    client.move(stage.lab.internet.without(wsus.MICROSOFT_UPDATE))
    yield from client.update()


def _lost_connection(stage: Stage) -> Iterator[ActionResult]:
    """Lose the connection twice, in the same network."""
    client = stage.client(Mode.INTERNET_ONLY)
    yield from client.run(REGISTRATION)
    download = Download()
    for cut in CUTS:
        yield from client.download(download, _until(download, cut))
        client.move(stage.lab.internet)
    yield from client.download(download)
    yield client.compare(download)


def _roaming_download(stage: Stage) -> Iterator[ActionResult]:
    """Start on the Internet, continue on the intranet, complete on the Internet."""
    client = stage.client(Mode.BOTH)
    yield from client.run(REGISTRATION)
    download = Download()
    for cut, network in zip(CUTS, (stage.lab.intranet, stage.lab.internet), strict=True):
        yield from client.download(download, _until(download, cut))
        client.move(network)
        yield from client.run(POLICY_REQUEST)
    yield from client.download(download)
    yield client.compare(download)


def _until(download: Download, fraction: float) -> Callable[[int], bool]:
    return lambda position: download.size is None or position < fraction * download.size


_LIFE_CYCLE = Scene(
    "life-cycle",
    "A client on the Internet",
    "CLIENT-PICK",
    "It selects an Internet management point at random and keeps it, except for an upload: that "
    "goes to the one that the reply names. Content comes from a distribution point.",
    _life_cycle,
)
_MICROSOFT_UPDATE = Scene(
    "microsoft-update",
    "Updates on the Internet",
    "CLIENT-UPDATES",
    "The client scans at the Internet software update point. It downloads from Microsoft "
    "Update first, and from a distribution point only if that fails.",
    _microsoft_update,
)
_LOST_CONNECTION = Scene(
    "lost-connection",
    "A download that loses its connection",
    "CLIENT-RESUME",
    "It continues at the byte where it stopped. Its SHA-256 is that of an uninterrupted download.",
    _lost_connection,
)
_ROAMING_DOWNLOAD = Scene(
    "roaming-download",
    "A download across networks",
    "CLIENT-RESUME",
    "A download that starts on the Internet resumes on the intranet, and the reverse.",
    _roaming_download,
    other_requirements=("CLIENT-MODE",),
)

USUAL: Mapping[Mode, tuple[Scene, ...]] = {
    Mode.INTERNET_ONLY: (_LIFE_CYCLE, _MICROSOFT_UPDATE, _LOST_CONNECTION),
    Mode.BOTH: (_LIFE_CYCLE, _MICROSOFT_UPDATE, _ROAMING_DOWNLOAD),
}
"""Mode of the client -> scenes (CLIENT-MODE)."""

USUAL_SCENES = (_LIFE_CYCLE, _MICROSOFT_UPDATE, _LOST_CONNECTION, _ROAMING_DOWNLOAD)
