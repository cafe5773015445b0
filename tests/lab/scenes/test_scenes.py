"""The scenes, without a bridge: what must not succeed then succeeds, so the scene fails.

tests/lab/commands/test_client.py plays them with a bridge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import pytest

from ibcm_bridge.commands.main import main
from ibcm_bridge.lab.cases.requirements import REQUIREMENTS
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import root_authority
from ibcm_bridge.lab.protocol.client import ConnectionEnded, LabClient
from ibcm_bridge.lab.protocol.reply_documents import INTRANET
from ibcm_bridge.lab.scenes.inside_outside import INSIDE_OUTSIDE
from ibcm_bridge.lab.scenes.scene import Scene, Stage
from ibcm_bridge.lab.scenes.table import SCENES
from ibcm_bridge.lab.scenes.web_proxy import WebProxy
from ibcm_bridge.lab.simulated.client import ActionResult, Result
from ibcm_bridge.lab.simulated.network import HTTPS
from ibcm_bridge.lab.simulated.running_lab import LabAddresses, RunningLab
from ibcm_bridge.lab.site_systems.published import PLAINTEXT_PORT, TLS_PORT, UPDATE_PORT
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems


@pytest.fixture(scope="module")
def without_bridge() -> Iterator[RunningLab]:
    """A lab in which clients on the Internet reach the site systems directly."""
    pki = LabPki.make(now=datetime.now(UTC))
    nowhere = ("127.0.0.1", 9)
    with SiteSystems(pki) as site:
        bridge = dict.fromkeys((TLS_PORT, UPDATE_PORT, PLAINTEXT_PORT), nowhere)
        lab = RunningLab.at(LabAddresses(bridge, site.addresses, nowhere), pki)
        yield replace(lab, internet=replace(lab.intranet, name="internet", on_internet=True))


def _results(lab: RunningLab, scene: Scene) -> list[ActionResult]:
    with Stage(lab, Random(1)) as stage:
        return list(scene.play(stage))


@pytest.mark.parametrize("scene", INSIDE_OUTSIDE, ids=lambda scene: scene.name)
def test_a_scene_fails_without_a_bridge(scene: Scene, without_bridge: RunningLab) -> None:
    results = _results(without_bridge, scene)
    inside = [action for action in results if action.network == "intranet"]
    outside = [action for action in results if action.network == "internet"][1:]
    assert len(inside) == len(outside) > 0
    assert {action.result for action in inside} == {Result.GOOD}
    assert {action.result for action in outside} == {Result.FAILED}


def test_an_intercepting_proxy_shows_the_response_of_a_server_that_accepts_it(
    without_bridge: RunningLab,
) -> None:
    authority = root_authority("Web proxy", datetime.now(UTC))
    name = INTRANET.management_points[0]
    with WebProxy(without_bridge.internet, authority, names=(name,)) as proxy:
        client = LabClient(
            proxy.address,
            name,
            trust=authority.certificate,
            credential=None,
            connect_to=(name, HTTPS),
        )
        with client:
            response = client.request("GET", "/")
    assert response.status == 200
    assert response.text.startswith(f"{name} responds to the proxy: ")


def test_a_proxy_refuses_a_name_that_it_cannot_resolve(without_bridge: RunningLab) -> None:
    with WebProxy(without_bridge.internet) as proxy:
        client = LabClient(
            proxy.address,
            "nowhere.example",
            trust=without_bridge.internet.trust,
            credential=None,
            connect_to=("nowhere.example", HTTPS),
        )
        with client, pytest.raises(ConnectionEnded, match="the web proxy refuses: 502 Bad Gateway"):
            client.connect()
        assert proxy.tunnels == 0


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_a_scene_names_a_requirement_and_a_sentence(scene: Scene) -> None:
    assert set(scene.requirements) <= set(REQUIREMENTS)
    assert re.fullmatch(r"[a-z-]{4,24}", scene.name)
    assert scene.sentence.endswith(".")


def test_scenes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "client", "--scene", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*SCENES]
    assert max(map(len, lines)) <= 80


def test_an_unknown_scene_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "client", "--scene", "nothing"]) == 2
    assert "no scene nothing; use one of life-cycle, " in capsys.readouterr().err
    assert main(["lab", "client", "--scene", "all", "--count", "2"]) == 2
    assert "use either --scene or --count" in capsys.readouterr().err
