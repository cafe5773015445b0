"""The scenes of users, through a bridge, with real KDCs.

What the site system and the bridge recorded is compared with what the scene shows. Then the site
system accepts everybody: the scene must fail.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

import pytest

from ibcm_bridge.lab.cases.case import ClientCertificate
from ibcm_bridge.lab.domain.controller import Controller
from ibcm_bridge.lab.domain.domain import Domain
from ibcm_bridge.lab.domain.files import DomainFiles, applied
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from ibcm_bridge.lab.scenes.scene import CannotShow, Scene, Stage
from ibcm_bridge.lab.scenes.users import USERS
from ibcm_bridge.lab.simulated.client import ActionResult, Result
from ibcm_bridge.lab.simulated.network import HTTPS
from ibcm_bridge.lab.simulated.running_lab import DOMAIN, RunningLab
from ibcm_bridge.lab.simulated.user import BOTH_ON, ClientSettings
from ibcm_bridge.lab.site_systems import site_systems
from ibcm_bridge.lab.site_systems.published import SIGN_IN
from ibcm_bridge.lab.site_systems.records import ReceivedRequest
from ibcm_bridge.lab.site_systems.user_authentication import AnyUserAccepted

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="drives Debian's packages"),
    pytest.mark.needs("krb5kdc", "kdb5_util", "kadmin.local", "kinit", "klist", "kvno", "setpriv"),
    pytest.mark.needs("gssapi"),
]

SCENES = {scene.name: scene for scene in USERS}
USER_REQUEST, USER_POLICY = "user policy request", "user policy"


@pytest.fixture(scope="module")
def perimeter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Perimeter]:
    directory = tmp_path_factory.mktemp("lab")
    with (
        applied(DomainFiles(directory / DOMAIN).environment),
        Perimeter(directory) as perimeter,
    ):
        yield perimeter


def played(
    perimeter: Perimeter, name: str, settings: ClientSettings = BOTH_ON
) -> list[ActionResult]:
    perimeter.site.clear()
    with Stage(RunningLab.of(perimeter), Random(1), settings=settings) as stage:
        return list(SCENES[name].play(stage))


def users(perimeter: Perimeter) -> list[ReceivedRequest]:
    """The requests that reached a directory with Windows authentication."""
    return [
        request for request in perimeter.site.received() if "windowsauth" in request.target.lower()
    ]


@pytest.mark.parametrize("scene", USERS, ids=lambda scene: scene.name)
def test_a_scene_shows_what_it_should(perimeter: Perimeter, scene: Scene) -> None:
    results = played(perimeter, scene.name)
    assert [action for action in results if action.result is Result.FAILED] == []
    assert results[-1].action == "policy request", "computer policy is always there"
    assert results[-1].result is Result.GOOD
    assert perimeter.bridge.pid
    assert [path.name for path in (perimeter.directory / DOMAIN).iterdir()] == ["lock"]


def test_kerberos_then_ntlm_then_computer_policy_only(perimeter: Perimeter) -> None:
    outside = [
        (action.text, action.response, action.result)
        for action in played(perimeter, "user-sign-in")
        if action.network == "internet" and action.action == USER_REQUEST
    ]
    assert outside == [
        ("alice, with a ticket", "200 OK by Kerberos", Result.GOOD),
        ("bob, with the password", "200 OK by NTLM", Result.GOOD),
        ("bob, with a wrong password", "401 Unauthorized", Result.AS_REQUIRED),
    ]
    received = users(perimeter)
    names = dict.fromkeys(request.user for request in received if request.user)
    assert list(names) == ["alice@CORP.EXAMPLE", "CORP\\bob"]
    # The bridge keeps one leg for each sign-in: each user has own connections.
    legs: dict[int, set[str]] = {}
    for request in received:
        legs.setdefault(request.peer_port, set()).add(request.user)
    assert [sorted(filter(None, found)) for found in legs.values()] == [
        ["alice@CORP.EXAMPLE"],
        ["alice@CORP.EXAMPLE"],
        ["CORP\\bob"],
        [],
    ]
    recorded = [record for record in perimeter.bridge.audit() if record["server_name"] == SIGN_IN]
    assert {record["verdict"] for record in recorded} == {"allow"}


@pytest.mark.parametrize(
    ("settings", "networks"),
    [
        (BOTH_ON, {"intranet", "internet"}),
        (ClientSettings(internet_user_policy=False), {"intranet"}),
        (ClientSettings(user_policy=False), set[str]()),
    ],
    ids=["on", "internet-off", "off"],
)
def test_the_settings_decide_where_a_user_gets_policy(
    perimeter: Perimeter, settings: ClientSettings, networks: set[str]
) -> None:
    results = played(perimeter, "user-sign-in", settings)
    assert Result.FAILED not in {action.result for action in results}
    policies = [action for action in results if action.action == USER_POLICY]
    assert {action.network for action in policies} == networks
    # Nothing was sent where the client must not request it.
    assert bool(users(perimeter)) == bool(networks)
    refused = [action for action in results if action.response.startswith("not requested; Enable")]
    assert bool(refused) == (settings != BOTH_ON)
    assert results[-1].response == "200 OK"


def test_the_ticket_goes_through_both_realms(perimeter: Perimeter) -> None:
    results = played(perimeter, "one-way-trust")
    path = [action.response for action in results if action.action.startswith("ticket ")][:3]
    assert path == [
        "krbtgt/CORP.EXAMPLE@CORP.EXAMPLE",
        "krbtgt/PERIMETER.EXAMPLE@CORP.EXAMPLE",
        f"HTTP/{SIGN_IN}@PERIMETER.EXAMPLE",
    ]
    assert {request.user for request in users(perimeter)} == {"", "alice@CORP.EXAMPLE"}


@pytest.mark.parametrize(
    ("name", "changes", "line"),
    [
        ("user-sign-in", Controller.stop, "on the Internet, no domain controller is in reach"),
        ("read-only-dc", Controller.stop, "the firewall now blocks the writable domain controller"),
        ("one-way-trust", Domain.end_trust, "PERIMETER.EXAMPLE no longer trusts CORP.EXAMPLE"),
    ],
)
def test_a_line_precedes_a_change_of_the_domain(
    perimeter: Perimeter,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    changes: Callable[..., None],
    line: str,
) -> None:
    shown: list[str] = []
    preceding: list[str] = []

    def recorded(*arguments: object) -> None:
        preceding.append(shown[-1])
        changes(*arguments)

    owner = Controller if changes is Controller.stop else Domain
    monkeypatch.setattr(owner, changes.__name__, recorded)
    with Stage(RunningLab.of(perimeter), Random(1)) as stage:
        for action in SCENES[name].play(stage):
            shown.append(action.action)
    assert preceding[0] == line


@pytest.mark.parametrize("name", ["user-sign-in", "read-only-dc", "one-way-trust"])
def test_a_scene_fails_if_the_site_system_accepts_everybody(
    perimeter: Perimeter, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(site_systems, "verified_users", AnyUserAccepted)
    assert Result.FAILED in {action.result for action in played(perimeter, name)}


def test_without_a_scene_no_user_is_accepted(perimeter: Perimeter) -> None:
    computer = perimeter.clients[ClientCertificate.COMPUTER]
    with RunningLab.of(perimeter).internet.client((SIGN_IN, HTTPS), computer) as client:
        response = client.request(
            "GET", "/SMS_MP_WindowsAuth/.sms_pol?x", {"Authorization": "Negotiate eA=="}
        )
    assert response.status == 401


def test_a_second_scene_waits_for_the_first(perimeter: Perimeter) -> None:
    lab = RunningLab.of(perimeter)
    with Stage(lab, Random(1)) as first, Stage(lab, Random(2)) as second:
        first.domain()
        with pytest.raises(CannotShow, match="another scene uses the lab's domain"):
            second.domain()


def test_a_lab_without_a_folder_shows_no_domain(perimeter: Perimeter) -> None:
    lab = replace(RunningLab.of(perimeter), domain=None)
    with Stage(lab, Random(1)) as stage, pytest.raises(CannotShow, match="ibcm-bridge lab up"):
        stage.domain()


def test_an_interrupted_scene_leaves_no_domain(perimeter: Perimeter) -> None:
    directory = perimeter.directory / DOMAIN
    before = dict(os.environ)
    with Stage(RunningLab.of(perimeter), Random(1)) as stage:
        actions = SCENES["one-way-trust"].play(stage)
        while next(actions).network != "domain":
            pass
        assert (directory / "krb5.conf").exists()
        # Here Ctrl-C leaves the scene.
    assert [path.name for path in directory.iterdir()] == ["lock"]
    assert dict(os.environ) == before


@pytest.mark.parametrize("scene", USERS, ids=lambda scene: scene.name)
def test_a_drawing_fits_a_terminal(scene: Scene) -> None:
    assert max([0, *map(len, scene.drawing.splitlines())]) <= 76
    assert scene.drawing.isascii()
