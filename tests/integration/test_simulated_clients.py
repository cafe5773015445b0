"""Simulated clients through a bridge process, and on the intranet.

CLIENT-MODE, CLIENT-PICK, CLIENT-RESUME, CLIENT-UPDATES.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import pytest

from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.clients.life_cycle import LIFE, MANAGEMENT_POINTS, POLICY_REQUEST, REGISTRATION
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from ibcm_bridge.lab.pki.certificates import computer_of
from ibcm_bridge.lab.protocol import wsus
from ibcm_bridge.lab.protocol.content import content
from ibcm_bridge.lab.protocol.reply_documents import INTRANET, PUBLISHED
from ibcm_bridge.lab.scenes.scene import Stage
from ibcm_bridge.lab.scenes.usual import USUAL
from ibcm_bridge.lab.simulated.client import ActionResult, Result, SimulatedClient
from ibcm_bridge.lab.simulated.download import PART, Download
from ibcm_bridge.lab.simulated.fleet import MAKING, Fleet
from ibcm_bridge.lab.simulated.installation import Installation, Mode
from ibcm_bridge.lab.simulated.known_site_systems import KnownSiteSystems
from ibcm_bridge.lab.simulated.running_lab import INSTALLATION_OPTIONS, RunningLab
from ibcm_bridge.lab.site_systems.records import ReceivedRequest

SIZE = 8 * 1024 * 1024
BRIDGE = "bridge.perimeter.example"
"""The name in the bridge's client certificate."""

type New = Callable[..., SimulatedClient]


@pytest.fixture(scope="module")
def perimeter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Perimeter]:
    with Perimeter(tmp_path_factory.mktemp("lab")) as perimeter:
        yield perimeter


@pytest.fixture
def lab(perimeter: Perimeter) -> RunningLab:
    perimeter.site.clear()
    return RunningLab.of(perimeter)


@pytest.fixture
def new(lab: RunningLab, request: pytest.FixtureRequest) -> Iterator[New]:
    clients: list[SimulatedClient] = []

    def make(mode: Mode = Mode.BOTH, *, own_key: bool = False, seed: int = 1) -> SimulatedClient:
        name = f"pc{len(clients)}-{abs(hash(request.node.name))}.corp.example"
        clients.append(lab.client(name, mode, Random(seed), own_key=own_key))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def senders(received: tuple[ReceivedRequest, ...]) -> set[str]:
    """Return the common names of the clients that reached the site systems."""
    subjects = (request.certificate_subject or "" for request in received)
    return {subject.partition(",")[0].removeprefix("CN=") for subject in subjects}


def good(*actions: ActionResult) -> list[ActionResult]:
    assert [action for action in actions if action.result is Result.FAILED] == []
    return list(actions)


@pytest.mark.parametrize("own_key", [False, True], ids=["pki", "own key"])
@pytest.mark.parametrize("mode", USUAL)
def test_each_usual_scene_succeeds(lab: RunningLab, mode: Mode, own_key: bool) -> None:
    with Stage(lab, Random(1), own_key, mode) as stage:
        actions = [action for scene in USUAL[mode] for action in good(*scene.play(stage))]
    assert {action.network for action in actions} == (
        {"internet", "intranet"} if mode is Mode.BOTH else {"internet"}
    )
    assert {step.name for step in LIFE} <= {action.action for action in actions}


# CLIENT-MODE


def test_a_client_switches_with_the_network_and_keeps_its_guid(
    lab: RunningLab, perimeter: Perimeter, new: New
) -> None:
    client = new(Mode.BOTH)
    (registered, outside) = good(*client.run(REGISTRATION, POLICY_REQUEST))
    assert registered.site_system == outside.site_system
    assert outside.site_system in PUBLISHED
    assert senders(perimeter.site.received()) == {BRIDGE}
    guid = client.device.guid
    perimeter.site.clear()
    client.move(lab.intranet)
    (inside,) = good(*client.run(POLICY_REQUEST))
    assert inside.site_system == INTRANET.management_points[0]
    assert senders(perimeter.site.received()) == {client.device.name}
    client.move(lab.internet)
    good(*client.run(POLICY_REQUEST))
    assert client.device.guid == guid


def test_an_internet_only_client_tries_no_intranet_management_point(
    lab: RunningLab, perimeter: Perimeter, new: New
) -> None:
    client = new(Mode.INTERNET_ONLY)
    client.move(lab.intranet)
    (action,) = client.run(REGISTRATION)
    assert (action.result, action.site_system) == (Result.FAILED, "")
    assert action.response == "no management point can be reached"
    assert perimeter.site.received() == ()


def test_an_internet_only_client_also_works_inside(
    lab: RunningLab, perimeter: Perimeter, new: New
) -> None:
    """If the intranet resolves and reaches the Internet names, the client uses those."""
    client = new(Mode.INTERNET_ONLY)
    client.move(replace(lab.intranet, hosts={**lab.intranet.hosts, **lab.internet.hosts}))
    actions = good(*client.run(REGISTRATION, POLICY_REQUEST), *client.download(Download()))
    assert {action.network for action in actions} == {"intranet"}
    assert {action.site_system for action in actions} <= set(PUBLISHED)
    assert senders(perimeter.site.received()) == {BRIDGE}


def test_a_client_without_internet_name_learns_it_on_the_intranet(lab: RunningLab) -> None:
    credential = computer_of(lab.authority, "inside.corp.example", datetime.now(UTC))
    installed = Installation(
        Mode.BOTH, KnownSiteSystems(intranet_management_points=INTRANET.management_points)
    )
    device = Device.of(credential, "inside.corp.example")
    client = SimulatedClient(device, credential, installed, lab.internet, Random(1))
    try:
        (action,) = client.run(REGISTRATION)
        assert action.response == "no management point can be reached"
        client.move(lab.intranet)
        good(*client.run(REGISTRATION, MANAGEMENT_POINTS))
        client.move(lab.internet)
        (action,) = good(*client.run(POLICY_REQUEST))
        assert action.site_system in PUBLISHED
    finally:
        client.close()


# CLIENT-PICK


def test_clients_select_any_name_and_keep_it(new: New) -> None:
    selected = set()
    for seed in range(8):
        client = new(Mode.INTERNET_ONLY, seed=seed)
        actions = good(*client.run(REGISTRATION, POLICY_REQUEST, POLICY_REQUEST))
        assert len({action.site_system for action in actions}) == 1
        selected.add(actions[0].site_system)
    assert selected == set(PUBLISHED)


def test_clients_select_the_other_name_if_one_cannot_be_resolved(lab: RunningLab, new: New) -> None:
    for seed in range(4):
        client = new(Mode.INTERNET_ONLY, seed=seed)
        client.move(lab.internet.without(PUBLISHED[0]))
        (action,) = good(*client.run(REGISTRATION))
        assert action.site_system == PUBLISHED[1]


# CLIENT-RESUME


@pytest.mark.parametrize("begun", ["internet", "intranet"])
def test_a_download_resumes_in_the_other_network(
    lab: RunningLab, perimeter: Perimeter, new: New, begun: str
) -> None:
    """The file is the same, and no byte is sent twice, after an interruption within a range."""
    networks = {"internet": lab.internet, "intranet": lab.intranet}
    other = networks.pop("intranet" if begun == "internet" else "internet")
    (first,) = networks.values()
    client, download = new(Mode.BOTH), Download()
    client.move(first)
    good(*client.run(REGISTRATION))
    good(*client.download(download, lambda position: position < 2.3 * PART))
    cut = download.position
    assert cut % PART
    client.move(other)
    perimeter.site.clear()
    *_, action = good(*client.download(download))
    assert action.action == f"download, from byte {cut:,}"
    assert download.whole
    assert not download.restarted
    assert download.sha256 == hashlib.sha256(content(0, SIZE)).hexdigest()
    received = perimeter.site.received()
    ranges = [dict(request.headers)["Range"] for request in received if request.method == "GET"]
    assert ranges[0] == f"bytes={cut}-{cut + PART - 1}"
    through = {BRIDGE} if other is lab.internet else {client.device.name}
    assert senders(perimeter.site.received()) == through


# CLIENT-UPDATES


def test_an_update_comes_from_microsoft_update(perimeter: Perimeter, new: New) -> None:
    client, before = new(Mode.INTERNET_ONLY), len(perimeter.microsoft_update.requested)
    good(*client.run(REGISTRATION))
    *_, last = good(*client.update())
    assert (last.action, last.site_system, last.result) == (
        "update from Microsoft Update",
        wsus.MICROSOFT_UPDATE,
        Result.GOOD,
    )
    assert perimeter.microsoft_update.requested[before:] == (f"/{wsus.FILE}",)
    assert "distribution-point" not in {
        request.site_system for request in perimeter.site.received()
    }


def test_an_update_falls_back_to_a_distribution_point(
    lab: RunningLab, perimeter: Perimeter, new: New
) -> None:
    client = new(Mode.INTERNET_ONLY)
    good(*client.run(REGISTRATION))
    client.move(lab.internet.without(wsus.MICROSOFT_UPDATE))
    *_, tried, _location, last = good(*client.update())
    assert (tried.site_system, tried.result) == (wsus.MICROSOFT_UPDATE, Result.FELL_BACK)
    assert last.site_system in PUBLISHED
    downloads = [
        request
        for request in perimeter.site.received()
        if request.site_system == "distribution-point"
    ]
    assert wsus.CONTENT in downloads[-1].target
    assert senders((downloads[-1],)) == {BRIDGE}


def test_an_intranet_client_does_not_try_microsoft_update(
    lab: RunningLab, perimeter: Perimeter, new: New
) -> None:
    client, before = new(Mode.BOTH), perimeter.microsoft_update.requested
    client.move(lab.intranet)
    good(*client.run(REGISTRATION))
    *_, last = good(*client.update())
    assert last.site_system == INTRANET.distribution_points[0]
    assert perimeter.microsoft_update.requested == before


# Faults


def test_a_client_without_management_point_reports_to_the_fallback_status_point(
    perimeter: Perimeter, new: New
) -> None:
    client = new(Mode.INTERNET_ONLY)
    perimeter.site.take_down("management-point")
    try:
        (action,) = client.run(REGISTRATION)
        assert (action.result, action.response) == (Result.FAILED, "502 Bad Gateway")
        good(client.fallback(101))
    finally:
        perimeter.site.bring_up("management-point")
    (state,) = perimeter.site.received()
    assert (state.site_system, state.target) == ("fallback-status-point", "/SMS_FSP/.sms_fsp")
    good(*client.run(REGISTRATION))


# Many clients


def test_a_fleet_registers_and_polls(lab: RunningLab, perimeter: Perimeter) -> None:
    progress: list[tuple[str, int]] = []
    fleet = Fleet(
        lambda number: lab.client(
            f"crowd{number}.corp.example", Mode.INTERNET_ONLY, Random(number), own_key=False
        ),
        12,
        4,
        lambda phase, done: progress.append((phase, done)),
    )
    try:
        phases = list(fleet.run(2))
    finally:
        fleet.close()
    assert [phase.name for phase in phases] == [MAKING, "registration", "poll 1", "poll 2"]
    for phase in phases:
        assert (phase.clients, phase.failures.total()) == (12, 0)
        assert [done for name, done in progress if name == phase.name] == list(range(1, 13))
        assert phase.waited[0] <= phase.percentile(50) <= phase.percentile(100) == phase.waited[-1]
    assert len(perimeter.site.received()) == 36


def test_a_fleet_counts_failures(lab: RunningLab, perimeter: Perimeter) -> None:
    fleet = Fleet(
        lambda number: lab.client(
            f"unlucky{number}.corp.example", Mode.INTERNET_ONLY, Random(number), own_key=True
        ),
        3,
        2,
        lambda _phase, _done: None,
    )
    perimeter.site.take_down("management-point")
    try:
        _, registration = fleet.run(1)  # no poll, because all registrations fail
    finally:
        perimeter.site.bring_up("management-point")
        fleet.close()
    assert registration.failures == {"502 Bad Gateway": 3}
    assert registration.waited == []


def test_the_installation_options_match_the_published_names(lab: RunningLab) -> None:
    for known in INSTALLATION_OPTIONS.values():
        for name in known.internet_management_points:
            assert (name, 443) in lab.internet.hosts
    assert not {name for name, _ in lab.internet.hosts if name.endswith(".corp.example")}
