"""The scenes of two sites, through a bridge; and with a site that does not follow its sentence."""

from __future__ import annotations

import socket
from dataclasses import replace
from random import Random

import pytest

from ibcm_bridge.lab.clients.life_cycle import POLICY_REQUEST, REGISTRATION
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from ibcm_bridge.lab.protocol import other_sites
from ibcm_bridge.lab.protocol.other_sites import BOTH, BOTH_INSIDE, EUR, INTERNET_ONLY
from ibcm_bridge.lab.protocol.reply_documents import PUBLISHED
from ibcm_bridge.lab.scenes import sites
from ibcm_bridge.lab.scenes.scene import CannotShow, Stage
from ibcm_bridge.lab.scenes.sites import EUR_CLIENT, site_systems
from ibcm_bridge.lab.scenes.table import SCENES
from ibcm_bridge.lab.simulated.client import ActionResult, Result
from ibcm_bridge.lab.simulated.installation import Installation, Mode
from ibcm_bridge.lab.simulated.running_lab import RunningLab
from ibcm_bridge.lab.site_systems.second_site import BOTH_NETWORKS, ONLY_INTERNET, SECOND_SITE, SLOW


def results(lab: RunningLab, name: str) -> list[ActionResult]:
    with Stage(lab, Random(1)) as stage:
        return list(SCENES[name].play(stage))


def failures(actions: list[ActionResult]) -> list[ActionResult]:
    return [action for action in actions if action.result is Result.FAILED]


@pytest.mark.parametrize("scene", ["second-site", "client-connections", "secondary-site"])
def test_a_scene_shows_its_sentence(lab: RunningLab, scene: str) -> None:
    actions = results(lab, scene)
    assert failures(actions) == []
    assert len(actions) > 4


def test_a_slow_site_system_is_selected_as_often(lab: RunningLab) -> None:
    actions = results(lab, "slow-site-system")
    assert failures(actions) == []
    slow, fast = actions[-2:]
    assert (slow.site_system, fast.site_system) == (INTERNET_ONLY, BOTH)
    milliseconds = [float(action.response.split()[0]) for action in (slow, fast)]
    # On a busy machine, the other one is slower too.
    assert milliseconds[0] >= 1000 * SLOW
    assert milliseconds[0] > milliseconds[1]


def test_a_server_for_both_networks_is_the_same_one(lab: RunningLab, perimeter: Perimeter) -> None:
    with site_systems(lab, SECOND_SITE, EUR) as site, Stage(lab, Random(1)) as stage:
        client = stage.installed(Installation(Mode.BOTH, EUR_CLIENT, site="EUR"), lab.intranet)
        assert failures(list(client.run(REGISTRATION))) == []
        client.move(lab.internet.without(INTERNET_ONLY))
        assert failures(list(client.run(POLICY_REQUEST))) == []
        client.close()
    inside, outside = site.received()
    assert {request.site_system for request in (inside, outside)} == {BOTH_NETWORKS}
    assert client.device.name in (inside.certificate_subject or "")
    assert "bridge.perimeter.example" in (outside.certificate_subject or "")


def test_a_site_that_roams_on_the_internet_fails(
    lab: RunningLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    roams = EUR._replace(internet=EUR.internet._replace(distribution_points=PUBLISHED))
    monkeypatch.setattr(sites, "EUR", roams)
    failed = failures(results(lab, "second-site"))
    assert [action.site_system in PUBLISHED for action in failed] == [True]
    assert failed[0].text == "this must use eur1.internet.example or eur2.internet.example"


def test_a_site_that_names_all_servers_inside_fails(
    lab: RunningLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = ((BOTH_INSIDE, BOTH), ("eur1.corp.example", INTERNET_ONLY))
    monkeypatch.setattr(sites, "EUR", EUR._replace(intranet=EUR.intranet._replace(listed=listed)))
    (failed,) = failures(results(lab, "client-connections"))
    assert failed.response == "eur-mp.corp.example, eur1.corp.example"


def test_the_site_systems_run_only_during_a_scene(lab: RunningLab) -> None:
    address = lab.on_demand[ONLY_INTERNET]
    with Stage(lab, Random(1)) as stage:
        actions = SCENES["second-site"].actions(stage)
        next(actions)
        socket.create_connection(address).close()
        actions.close()  # an interruption
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def test_a_port_in_use_is_one_sentence(lab: RunningLab) -> None:
    with (
        site_systems(lab, SECOND_SITE, EUR),
        pytest.raises(CannotShow, match=r"already in use.*; if another scene uses it, wait"),
    ):
        results(lab, "second-site")
    assert failures(results(lab, "second-site")) == []


def test_a_lab_without_addresses_for_a_second_site_is_one_sentence(lab: RunningLab) -> None:
    with pytest.raises(CannotShow, match="a lab in containers has one site"):
        results(replace(lab, on_demand={}), "second-site")


def test_a_secondary_site_has_no_name_on_the_internet() -> None:
    assert other_sites.SEC.internet.management_points == ()
    assert other_sites.SEC.internet.listed == ()
    with pytest.raises(ValueError, match="SEC is a secondary site"):
        Installation(Mode.INTERNET_ONLY, EUR_CLIENT, site="SEC")
