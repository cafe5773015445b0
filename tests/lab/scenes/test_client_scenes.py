"""The scenes of clients, and each of them with a client that breaks the rule of the scene."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.clients.life_cycle import REGISTRATION
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from ibcm_bridge.lab.pki.certificates import computer_of
from ibcm_bridge.lab.protocol import wsus
from ibcm_bridge.lab.protocol.reply_documents import INTRANET, PUBLISHED
from ibcm_bridge.lab.scenes import web_proxy
from ibcm_bridge.lab.scenes.scene import Stage, changed
from ibcm_bridge.lab.scenes.table import SCENES
from ibcm_bridge.lab.simulated import running_lab, site_system_selection
from ibcm_bridge.lab.simulated.client import ActionResult, Result, SimulatedClient
from ibcm_bridge.lab.simulated.installation import Installation, Mode
from ibcm_bridge.lab.simulated.known_site_systems import KnownSiteSystems
from ibcm_bridge.lab.simulated.network import Host, Network
from ibcm_bridge.lab.simulated.running_lab import RunningLab
from ibcm_bridge.lab.simulated.site_system_selection import SiteSystemSelection
from ibcm_bridge.lab.site_systems.published import USER_CERTIFICATES

type Break = Callable[[pytest.MonkeyPatch], None]

SEED = 4
"""With it, the client of `life-cycle` selects another management point than its upload."""


def played(lab: RunningLab, name: str, *, own_key: bool = False) -> list[ActionResult]:
    with Stage(lab, Random(SEED), own_key) as stage:
        return list(SCENES[name].play(stage))


def failures(actions: list[ActionResult]) -> list[str]:
    return [action.action for action in actions if action.result is Result.FAILED]


# Clients that break a rule


def tries_microsoft_update_always(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SimulatedClient, "_tries_microsoft_update", True)


def tries_microsoft_update_on_the_internet(patch: pytest.MonkeyPatch) -> None:
    on_internet = property(lambda self: self.device.on_internet)
    patch.setattr(SimulatedClient, "_tries_microsoft_update", on_internet)


def tries_the_intranet_in_each_mode(patch: pytest.MonkeyPatch) -> None:
    def management_points(known: KnownSiteSystems, *_: object) -> list[str]:
        return [*known.intranet_management_points, *known.internet_management_points]

    patch.setattr(site_system_selection, "management_points", management_points)


def keeps_its_mode(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SimulatedClient, "install", lambda *_: None)


def loses_its_certificate(patch: pytest.MonkeyPatch) -> None:
    install = SimulatedClient.install

    def other(computer: SimulatedClient, installed: Installation) -> None:
        name = computer.device.name
        computer.device = Device.with_own_key(name)
        install(computer, installed)

    patch.setattr(SimulatedClient, "install", other)


def selects_for_each_request(patch: pytest.MonkeyPatch) -> None:
    select = SiteSystemSelection._select

    def again(selection: SiteSystemSelection, role: str, names: list[str]) -> Host:
        selection._selected.clear()
        return select(selection, role, names)

    patch.setattr(SiteSystemSelection, "_select", again)


def uploads_where_it_asked(patch: pytest.MonkeyPatch) -> None:
    host = SiteSystemSelection.host

    def asked(selection: SiteSystemSelection, target: str, known: KnownSiteSystems) -> Host:
        return host(selection, target, replace(known, uploads=""))

    patch.setattr(SiteSystemSelection, "host", asked)


def uses_the_web_proxy(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Network, "direct", lambda network: network)


def presents_a_computer_certificate(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(running_lab, "user_of", computer_of)


def ignores_the_web_proxy(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(web_proxy, "_behind", lambda network, _proxy: replace(network, name="web proxy"))


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("microsoft-update", "Microsoft Update is no longer in DNS"),
        ("missing-name", "public DNS now has no management point"),
        ("client-connections", "is not in DNS"),
    ],
)
def test_a_line_precedes_each_change_of_the_network(
    lab: RunningLab, monkeypatch: pytest.MonkeyPatch, name: str, line: str
) -> None:
    def is_change(action: ActionResult) -> bool:
        return action == changed(action.network, action.action)

    shown: list[ActionResult] = []
    unexplained: list[str] = []
    move = SimulatedClient.move

    def moved(client: SimulatedClient, network: Network) -> None:
        # A network of the same name as before, with other hosts or another resolver.
        if shown and network.name == client.network.name and not is_change(shown[-1]):
            unexplained.append(shown[-1].action)
        move(client, network)

    monkeypatch.setattr(SimulatedClient, "move", moved)
    with Stage(lab, Random(SEED)) as stage:
        for action in SCENES[name].play(stage):
            shown.append(action)
    assert line in "\n".join(action.action for action in shown)
    assert unexplained == []


@pytest.mark.parametrize(
    ("name", "broken", "failed"),
    [
        ("intranet-client", tries_microsoft_update_always, "update from Microsoft Update"),
        (
            "intranet-client",
            tries_microsoft_update_on_the_internet,
            "requests to Microsoft Update",
        ),
        ("reinstallation", tries_the_intranet_in_each_mode, "policy request"),
        ("reinstallation", keeps_its_mode, "policy request"),
        ("reinstallation", loses_its_certificate, "client GUID"),
        ("internet-only-inside", tries_the_intranet_in_each_mode, "registration"),
        ("life-cycle", selects_for_each_request, "management points"),
        ("life-cycle", uploads_where_it_asked, "upload: session"),
        ("mobile-device", uses_the_web_proxy, "registration of the device"),
        ("mobile-device", uses_the_web_proxy, "tunnels that the web proxy opened"),
        ("mobile-device", presents_a_computer_certificate, "registration"),
        ("mobile-device", ignores_the_web_proxy, "registration of the device"),
        ("web-proxy", ignores_the_web_proxy, "tunnels that the web proxy opened"),
    ],
)
def test_a_scene_fails_with_a_client_that_breaks_its_rule(
    lab: RunningLab, monkeypatch: pytest.MonkeyPatch, name: str, broken: Break, failed: str
) -> None:
    broken(monkeypatch)
    assert failed in failures(played(lab, name))


@pytest.mark.parametrize("own_key", [False, True], ids=["pki", "own key"])
@pytest.mark.parametrize(
    "name", ["intranet-client", "reinstallation", "life-cycle", "mobile-device", "web-proxy"]
)
def test_a_scene_shows_what_it_should(lab: RunningLab, name: str, own_key: bool) -> None:
    assert failures(played(lab, name, own_key=own_key)) == []


def test_an_upload_goes_where_the_reply_names(lab: RunningLab) -> None:
    actions = played(lab, "life-cycle")
    places = {action.action: action.site_system for action in actions}
    assert places["upload: session"] == places["upload: close"] == PUBLISHED[0]
    assert places["registration"] == places["registration renewal"] == PUBLISHED[1]


def test_a_mobile_device_is_a_user_for_the_bridge(lab: RunningLab, perimeter: Perimeter) -> None:
    """BRIDGE-AUTH-USER: the audit has the name of a user, and no request through the proxy."""
    before = len(perimeter.bridge.audit_file.read_text("utf-8").splitlines())
    played(lab, "mobile-device")
    deadline = time.monotonic() + 30
    records: list[dict[str, str]] = []
    while len(records) < 3:  # the bridge writes the last one after its response
        assert time.monotonic() < deadline
        time.sleep(0.05)
        audit = perimeter.bridge.audit_file.read_text("utf-8").splitlines(keepends=True)[before:]
        whole = [json.loads(line) for line in audit if line.endswith("\n")]
        records = [record for record in whole if record["event"] == "request"]
    computer, *device = records
    assert computer["server_name"] in PUBLISHED
    assert computer["client_name"].startswith("pc-")
    assert [(record["server_name"], record["verdict"]) for record in device] == [
        (USER_CERTIFICATES, "allow")
    ] * 2
    assert all(record["client_name"].startswith("user-") for record in device)


def test_an_intranet_client_still_knows_the_file_of_its_scan(
    lab: RunningLab, perimeter: Perimeter
) -> None:
    """Otherwise it would not try Microsoft Update for another reason."""
    requested = perimeter.microsoft_update.requested
    with Stage(lab, Random(SEED)) as stage:
        computer = stage.client(Mode.BOTH, lab.intranet)
        *_, inside = (*computer.run(REGISTRATION), *computer.update())
        assert inside.site_system == INTRANET.distribution_points[0]
        assert perimeter.microsoft_update.requested == requested
        computer.move(lab.internet.without(PUBLISHED[0]).without(PUBLISHED[1]))
        *_, outside = computer.update()
    assert (outside.site_system, outside.result) == (wsus.MICROSOFT_UPDATE, Result.GOOD)
