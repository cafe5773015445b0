"""A client's life through the bridge, which holds every client to its GUID and its signatures.

Everything passes, and arrives byte for byte (BRIDGE-IDENTITY); of boot media nothing does (NO-OSD).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.clients.life_cycle import BOOT_MEDIA, LIFE, Step, StepResult, run_steps
from ibcm_bridge.lab.clients.update_scan import SCAN
from ibcm_bridge.lab.protocol.client import LabClient
from ibcm_bridge.lab.protocol.xml_style import STYLES
from ibcm_bridge.lab.site_systems.published import BRIDGED, UPDATE_PORT
from ibcm_bridge.lab.site_systems.registrations import client_guid
from tests.integration.lab import Lab

NAME = "pc1.corp.example"


@pytest.fixture(scope="module")
def change_policy(policy: dict[str, Any]) -> None:
    policy["messages"] = {
        "identity": "enforce",
        "signatures": "enforce",
        "bindings": "bindings.sqlite",
        "host_names": "enforce",
        "intranet_only": "enforce",
    }
    for publication in policy["publications"]:
        if (
            "software-update-point" in publication.get("roles", ())
            and publication["mode"] == "bridge"
        ):
            publication["unlisted_headers"] = "refuse"


@pytest.fixture(scope="module")
def devices(module_lab: Lab) -> dict[str, Device]:
    """The two profiles of protocol.md 11 that are managed, each with another certificate."""
    credentials = module_lab.credentials
    return {
        "the key of TLS": Device.of(credentials.computer, NAME),
        "a key of its own": Device.with_own_key("pc9.corp.example"),
    }


def lived(lab: Lab, device: Device) -> list[StepResult]:
    credential = lab.credentials.other if device.token else lab.credentials.computer
    with lab.client(credential) as client:
        return list(run_steps(client.send, device, LIFE))


PROFILES = pytest.mark.parametrize("profile", ["the key of TLS", "a key of its own"])


@PROFILES
def test_the_life_cycle_of_a_client_is_allowed(
    lab: Lab, devices: dict[str, Device], profile: str
) -> None:
    every = lived(lab, devices[profile])
    check(lab, every)
    guid = client_guid(devices[profile].certificate)
    assert {record["client_guid"] for record in lab.audit() if "client_guid" in record} == {guid}


@pytest.mark.parametrize("xml_style", ["no empty elements", "all variants"])
def test_the_life_cycle_is_allowed_in_each_style_of_xml(
    lab: Lab, devices: dict[str, Device], xml_style: str
) -> None:
    device = replace(devices["the key of TLS"], xml_style=STYLES[xml_style])
    check(lab, lived(lab, device))


@PROFILES
def test_the_life_cycle_continues_after_a_restart_of_the_bridge(
    lab: Lab, devices: dict[str, Device], profile: str
) -> None:
    lived(lab, devices[profile])
    assert lab.bridge.restart() == 0
    with_its_guid = devices[profile].with_guid(client_guid(devices[profile].certificate))
    lab.clear()
    every = lived(lab, with_its_guid)
    check(lab, every)
    signed = {record["signed_with"] for record in lab.audit() if "signed_with" in record}
    assert signed == {"key-in-registration", "registered-key"}


@PROFILES
def test_a_client_scans_for_updates_without_a_certificate(
    lab: Lab, devices: dict[str, Device], profile: str
) -> None:
    """CLIENT-UPDATES, SUP-WSUS."""
    address = lab.bridge.addresses[UPDATE_PORT]
    with LabClient(address, BRIDGED, trust=lab.pki.root, credential=None) as client:
        every = list(run_steps(client.send, devices[profile], SCAN))
    check(lab, every, SCAN)
    assert {received.site_system for received in lab.site.received()} == {"software-update-point"}


def check(lab: Lab, every: list[StepResult], life: tuple[Step, ...] = LIFE) -> None:
    """All went well, and nothing was changed or observed on its way."""
    ended = every[-1]
    assert [exchange.step.name for exchange in every] == [step.name for step in life], (
        ended.response
    )
    assert ended.good, ended.response
    arrived = lab.site.received()
    assert [(received.method, received.target, received.body) for received in arrived] == [
        (exchange.request.method, exchange.request.target, exchange.request.body or b"")
        for exchange in every
    ]
    for sent, received in zip(every, arrived, strict=True):
        assert set(sent.request.headers) <= set(received.headers), sent.step.name
    for record in lab.records(len(every)):
        assert record["verdict"] == "allow"
        assert "observed" not in record


REFUSED_FOR = {
    "policy request": "HTTP-MULTIPART",
    "policy request without certificate": "BRIDGE-AUTH-COMPUTER",
    "policy for the media": "BRIDGE-IDENTITY",
    "policy without certificate": "BRIDGE-AUTH-COMPUTER",
}
"""What is refused for how it is said, before anybody reads that it is of boot media."""


@pytest.mark.parametrize("step", BOOT_MEDIA, ids=lambda step: step.name)
def test_requests_of_boot_media_reach_no_site_system(lab: Lab, step: Step) -> None:
    """NO-OSD."""
    device = Device.of(lab.credentials.computer, NAME)
    with lab.client() as client:
        (one,) = run_steps(client.send, device, (step,))
    assert one.good, one.response
    lab.check_nothing_arrived()
    said = [lab.record()[key] for key in ("verdict", "requirement")]
    assert said == ["deny", REFUSED_FOR.get(step.name, "NO-OSD")]


def test_a_client_without_approval_gets_no_policy(lab: Lab) -> None:
    device = Device.with_own_key("pc8.corp.example")
    lab.site.pending.add(device.name)
    with lab.client(lab.credentials.other) as client:
        *_, last = run_steps(client.send, device, LIFE)
    assert not last.good
    assert last.response.body == b""
