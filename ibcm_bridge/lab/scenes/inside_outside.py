"""The same request on the intranet, where the site system responds, and on the Internet."""

from __future__ import annotations

from collections.abc import Iterator

from ibcm_bridge.lab.cases.case import Case
from ibcm_bridge.lab.cases.requests import Senders
from ibcm_bridge.lab.cases.unsupported import NOT_SUPPORTED
from ibcm_bridge.lab.clients.life_cycle import REGISTRATION
from ibcm_bridge.lab.scenes.refusals import BridgeRefusal
from ibcm_bridge.lab.scenes.scene import Scene, Stage
from ibcm_bridge.lab.simulated.client import ActionResult, SimulatedClient
from ibcm_bridge.lab.simulated.installation import Mode

_CASES = {case.id: case for case in NOT_SUPPORTED}


def _scene(name: str, title: str, requirement: str, sentence: str, *cases: str) -> Scene:
    """Send the request of each case; on the Internet, the bridge decides as in the demo."""
    asked = [_CASES[case] for case in cases]

    def play(stage: Stage) -> Iterator[ActionResult]:
        client = stage.client(Mode.BOTH)
        yield from client.run(REGISTRATION)
        client.move(stage.lab.intranet)
        for case in asked:
            yield _send(client, case)
        client.move(stage.lab.internet)
        for case in asked:
            yield from stage.must_fail(BridgeRefusal.of(case), [_send(client, case)])

    return Scene(name, title, requirement, sentence, play)


def _send(client: SimulatedClient, case: Case) -> ActionResult:
    return client.attempt(_ACTIONS[case.id], case.request(Senders(client.device, client.device)))


_ACTIONS = {
    "site-assignment": "request for the assigned site",
    "boot-media": "keys and unknown computers",
    "boot-media-registration": "registration of boot media",
    "boot-media-identity": "identity of boot media",
    "client-setup": "setup program",
    "client-package": "location of the client package",
    "out-of-band": "out-of-band management",
}
"""Case -> the action of a client."""

INSIDE_OUTSIDE = (
    _scene(
        "site-assignment",
        "Automatic site assignment",
        "NO-SITE-ASSIGNMENT",
        "A client on the Internet cannot find its site by itself; the installation names it.",
        "site-assignment",
    ),
    _scene(
        "boot-media",
        "Operating system deployment from boot media",
        "NO-OSD",
        "Boot media get no keys, no registration and no identity over the Internet, so they get no "
        "policy.",
        "boot-media",
        "boot-media-registration",
        "boot-media-identity",
    ),
    _scene(
        "client-deployment",
        "Client push, and the download of its setup",
        "NO-CLIENT-DEPLOYMENT",
        "The client is not installed or upgraded over the Internet. Client push connects from the "
        "site server to the computer; the setup that it starts then sends these requests.",
        "client-setup",
        "client-package",
    ),
    _scene(
        "wake-up",
        "Waking a computer",
        "NO-WAKE-ON-LAN",
        "A computer on the Internet is not woken. A magic packet does not cross a router; the "
        "message to wake a computer out of band does not cross the bridge.",
        "out-of-band",
    ),
)
