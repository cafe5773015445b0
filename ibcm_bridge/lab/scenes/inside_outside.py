"""The same request on the intranet, where the site system responds, and on the Internet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ibcm_bridge.lab.cases import messages, requests
from ibcm_bridge.lab.cases.requests import MakeRequest, Senders
from ibcm_bridge.lab.clients.life_cycle import REGISTRATION
from ibcm_bridge.lab.scenes.scene import Scene, Stage, must_fail
from ibcm_bridge.lab.simulated.client import ActionResult, SimulatedClient
from ibcm_bridge.lab.simulated.installation import Mode


def _scene(
    name: str, title: str, requirement: str, sentence: str, asked: Mapping[str, MakeRequest]
) -> Scene:
    def play(stage: Stage) -> Iterator[ActionResult]:
        client = stage.client(Mode.BOTH)
        yield from client.run(REGISTRATION)
        client.move(stage.lab.intranet)
        yield from _each(client, asked)
        client.move(stage.lab.internet)
        yield from must_fail(_each(client, asked))

    return Scene(name, title, requirement, sentence, play)


def _each(client: SimulatedClient, asked: Mapping[str, MakeRequest]) -> Iterator[ActionResult]:
    for action, make in asked.items():
        yield client.attempt(action, make(Senders(client.device, client.device)))


INSIDE_OUTSIDE = (
    _scene(
        "site-assignment",
        "Automatic site assignment",
        "NO-SITE-ASSIGNMENT",
        "A client on the Internet cannot find its site by itself; the installation names it.",
        {"request for the assigned site": messages.site_assignment},
    ),
    _scene(
        "boot-media",
        "Operating system deployment from boot media",
        "NO-OSD",
        "Boot media get no policy and no image over the Internet.",
        {
            "keys and unknown computers": requests.plain(
                "GET", "/SMS_MP/.sms_aut?MPKEYINFORMATIONMEDIA"
            ),
            "registration of boot media": messages.boot_media_registration,
            "identity of boot media": messages.boot_media_identity,
        },
    ),
    _scene(
        "client-deployment",
        "Client push, and the download of its setup",
        "NO-CLIENT-DEPLOYMENT",
        "The client is not installed or upgraded over the Internet. Client push connects from the "
        "site server to the computer; the setup that it starts then sends these requests.",
        {
            "setup program": requests.plain("GET", "/CCM_Client/ccmsetup.exe"),
            "location of the client package": messages.client_package,
        },
    ),
    _scene(
        "wake-up",
        "Waking a computer",
        "NO-WAKE-ON-LAN",
        "A computer on the Internet is not woken. A magic packet does not cross a router; the "
        "message to wake a computer out of band does not cross the bridge.",
        {"out-of-band management": messages.out_of_band},
    ),
)
