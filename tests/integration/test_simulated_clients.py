"""Simulated clients through a bridge of its own process, and in the intranet.

CLIENT-MODE, CLIENT-PICK, CLIENT-RESUME, CLIENT-UPDATES.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
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
from ibcm_bridge.lab.simulated.client import ActionResult, Result, SimulatedClient
from ibcm_bridge.lab.simulated.download import PART, Download
from ibcm_bridge.lab.simulated.fleet import MAKING, Fleet
from ibcm_bridge.lab.simulated.installation import Installation, Mode
from ibcm_bridge.lab.simulated.known_site_systems import KnownSiteSystems
from ibcm_bridge.lab.simulated.running_lab import KNOWS, RunningLab
from ibcm_bridge.lab.simulated.scenarios import SCENARIOS
from ibcm_bridge.lab.site_systems.records import ReceivedRequest

SIZE = 8 * 1024 * 1024
BRIDGE = "bridge.perimeter.example"
"""What the bridge shows to site systems."""

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
    for one in clients:
        one.close()


def whoever(received: tuple[ReceivedRequest, ...]) -> set[str]:
    """Common names of who came to the site systems."""
    subjects = (one.certificate_subject or "" for one in received)
    return {one.partition(",")[0].removeprefix("CN=") for one in subjects}


def good(*every: ActionResult) -> list[ActionResult]:
    assert [one for one in every if one.result is Result.FAILED] == []
    return list(every)


@pytest.mark.parametrize("own_key", [False, True], ids=["pki", "own key"])
@pytest.mark.parametrize("mode", list(Mode))
def test_every_scene_goes_well(lab: RunningLab, new: New, mode: Mode, own_key: bool) -> None:
    client = new(mode, own_key=own_key)
    every = [action for scenario in SCENARIOS[mode] for action in good(*scenario.play(client, lab))]
    assert {one.network for one in every} == (
        {"internet", "intranet"} if mode is Mode.BOTH else {"internet"}
    )
    assert {one.name for one in LIFE} <= {one.what for one in every}


# CLIENT-MODE


def test_a_client_switches_with_the_network_and_is_known_in_both(
    lab: RunningLab, perimeter: Perimeter, new: New
) -> None:
    client = new(Mode.BOTH)
    (registered, outside) = good(*client.take(REGISTRATION, POLICY_REQUEST))
    assert registered.site_system == outside.site_system
    assert outside.site_system in PUBLISHED
    assert whoever(perimeter.site.received()) == {BRIDGE}
    guid = client.device.guid
    perimeter.site.clear()
    client.move(lab.intranet)
    (inside,) = good(*client.take(POLICY_REQUEST))
    assert inside.site_system == INTRANET.management_points[0]
    assert whoever(perimeter.site.received()) == {client.device.name}
    client.move(lab.internet)
    good(*client.take(POLICY_REQUEST))
    assert client.device.guid == guid


def test_one_that_is_internet_only_finds_nobody_in_the_intranet(
    lab: RunningLab, perimeter: Perimeter, new: New
) -> None:
    client = new(Mode.INTERNET_ONLY)
    client.move(lab.intranet)
    (action,) = client.take(REGISTRATION)
    assert (action.result, action.site_system) == (Result.FAILED, "")
    assert action.answer == "no management point can be reached"
    assert perimeter.site.received() == ()


def test_one_that_was_given_no_name_of_the_internet_learns_it_inside(lab: RunningLab) -> None:
    credential = computer_of(lab.authority, "inside.corp.example", datetime.now(UTC))
    installed = Installation(
        Mode.BOTH, KnownSiteSystems(intranet_management_points=INTRANET.management_points)
    )
    device = Device.of(credential, "inside.corp.example")
    client = SimulatedClient(device, credential, installed, lab.internet, Random(1))
    try:
        (nobody,) = client.take(REGISTRATION)
        assert nobody.answer == "no management point can be reached"
        client.move(lab.intranet)
        good(*client.take(REGISTRATION, MANAGEMENT_POINTS))
        client.move(lab.internet)
        (action,) = good(*client.take(POLICY_REQUEST))
        assert action.site_system in PUBLISHED
    finally:
        client.close()


# CLIENT-PICK


def test_clients_pick_any_of_the_names_and_stay_with_it(new: New) -> None:
    picked = set()
    for seed in range(8):
        client = new(Mode.INTERNET_ONLY, seed=seed)
        action = good(*client.take(REGISTRATION, POLICY_REQUEST, POLICY_REQUEST))
        assert len({one.site_system for one in action}) == 1
        picked.add(action[0].site_system)
    assert picked == set(PUBLISHED)


def test_and_take_the_other_where_one_leads_nowhere(lab: RunningLab, new: New) -> None:
    for seed in range(4):
        client = new(Mode.INTERNET_ONLY, seed=seed)
        client.move(lab.internet.without(PUBLISHED[0]))
        (action,) = good(*client.take(REGISTRATION))
        assert action.site_system == PUBLISHED[1]


# CLIENT-RESUME


@pytest.mark.parametrize("begun", ["internet", "intranet"])
def test_a_download_goes_on_in_the_other_network(
    lab: RunningLab, perimeter: Perimeter, new: New, begun: str
) -> None:
    """Byte for byte the same, and no byte twice, though it was cut off within a range."""
    networks = {"internet": lab.internet, "intranet": lab.intranet}
    other = networks.pop("intranet" if begun == "internet" else "internet")
    (first,) = networks.values()
    client, download = new(Mode.BOTH), Download()
    client.move(first)
    good(*client.take(REGISTRATION))
    good(*client.download(download, lambda position: position < 2.3 * PART))
    cut = download.position
    assert cut % PART
    client.move(other)
    perimeter.site.clear()
    *_, action = good(*client.download(download))
    assert action.what == f"download, from byte {cut:,}"
    assert download.whole
    assert not download.begun_again
    assert download.sha256 == hashlib.sha256(content(0, SIZE)).hexdigest()
    ranges = [
        dict(one.headers)["Range"] for one in perimeter.site.received() if one.method == "GET"
    ]
    assert ranges[0] == f"bytes={cut}-{cut + PART - 1}"
    through = {BRIDGE} if other is lab.internet else {client.device.name}
    assert whoever(perimeter.site.received()) == through


# CLIENT-UPDATES


def test_the_file_of_an_update_comes_from_microsoft_update(perimeter: Perimeter, new: New) -> None:
    client, before = new(Mode.INTERNET_ONLY), len(perimeter.microsoft_update.requested)
    good(*client.take(REGISTRATION))
    *_, last = good(*client.update())
    assert (last.what, last.site_system, last.result) == (
        "update, from Microsoft Update",
        wsus.MICROSOFT_UPDATE,
        Result.GOOD,
    )
    assert perimeter.microsoft_update.requested[before:] == (f"/{wsus.FILE}",)
    assert "distribution-point" not in {one.site_system for one in perimeter.site.received()}


def test_and_from_a_distribution_point_where_that_fails(
    lab: RunningLab, perimeter: Perimeter, new: New
) -> None:
    client = new(Mode.INTERNET_ONLY)
    good(*client.take(REGISTRATION))
    client.move(lab.internet.without(wsus.MICROSOFT_UPDATE))
    *_, tried, _location, last = good(*client.update())
    assert (tried.site_system, tried.result) == (wsus.MICROSOFT_UPDATE, Result.FELL_BACK)
    assert last.site_system in PUBLISHED
    got = [one for one in perimeter.site.received() if one.site_system == "distribution-point"]
    assert wsus.CONTENT in got[-1].target
    assert whoever((got[-1],)) == {BRIDGE}


def test_inside_nobody_tries_microsoft_update(
    lab: RunningLab, perimeter: Perimeter, new: New
) -> None:
    client, before = new(Mode.BOTH), perimeter.microsoft_update.requested
    client.move(lab.intranet)
    good(*client.take(REGISTRATION))
    *_, last = good(*client.update())
    assert last.site_system == INTRANET.distribution_points[0]
    assert perimeter.microsoft_update.requested == before


# When something is down


def test_a_client_that_reaches_no_management_point_says_so_elsewhere(
    perimeter: Perimeter, new: New
) -> None:
    client = new(Mode.INTERNET_ONLY)
    perimeter.site.take_down("management-point")
    try:
        (action,) = client.take(REGISTRATION)
        assert (action.result, action.answer) == (Result.FAILED, "502 Bad Gateway")
        good(client.fallback(101))
    finally:
        perimeter.site.bring_up("management-point")
    (state,) = perimeter.site.received()
    assert (state.site_system, state.target) == ("fallback-status-point", "/SMS_FSP/.sms_fsp")
    good(*client.take(REGISTRATION))


# Many


def test_a_crowd_registers_polls_and_is_counted(lab: RunningLab, perimeter: Perimeter) -> None:
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
    assert [one.name for one in phases] == [MAKING, "registration", "poll 1", "poll 2"]
    for phase in phases:
        assert (phase.clients, phase.failures.total()) == (12, 0)
        assert [done for name, done in progress if name == phase.name] == list(range(1, 13))
        assert phase.waited[0] <= phase.percentile(50) <= phase.percentile(100) == phase.waited[-1]
    assert len(perimeter.site.received()) == 36


def test_and_what_fails_is_counted_too(lab: RunningLab, perimeter: Perimeter) -> None:
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
        _, registration = fleet.run(1)  # and no poll, where nobody is registered
    finally:
        perimeter.site.bring_up("management-point")
        fleet.close()
    assert registration.failures == {"502 Bad Gateway": 3}
    assert registration.waited == []


def test_what_clients_are_given_is_what_the_lab_publishes(lab: RunningLab) -> None:
    for known in KNOWS.values():
        for name in known.internet_management_points:
            assert (name, 443) in lab.internet.hosts
    assert not {name for name, _ in lab.internet.hosts if name.endswith(".corp.example")}
