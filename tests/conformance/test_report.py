"""The commands of a report that send a request again."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from ibcm_bridge.conformance.collection import all_checks
from ibcm_bridge.conformance.exchange import Exchange, Pieces, Place
from ibcm_bridge.conformance.judgement import Judgement, Outcome
from ibcm_bridge.conformance.kit import Client, Kit, make_kit, now
from ibcm_bridge.conformance.reproduction import reproduction, write_requests
from ibcm_bridge.conformance.results import Hang
from ibcm_bridge.conformance.runner import Result
from ibcm_bridge.conformance.serving import CHECKED, serving
from ibcm_bridge.lab.protocol.client import ConnectionEnded
from ibcm_bridge.lab.site_systems.stand_ins import STAND_INS
from tests.needs import demand

REPORT = (
    b"POST /SMS_FSP/.sms_fsp HTTP/1.1\r\nHost: fsp\r\nContent-Length: 1\r\n"
    b"Connection: close\r\n\r\nx"
)


def failed(exchange: Exchange) -> Result:
    check = all_checks()["limits::stalled_head_without_tls"]
    return Result(check, Judgement(Outcome.FAIL, "refused"), (exchange,), 1.0)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    return make_kit(tmp_path_factory.mktemp("report") / "kit", None, now())[0]


@pytest.mark.parametrize("tls", [True, False])
def test_bytes_go_out_again_as_they_did(tls: bool, kit: Kit) -> None:
    place = Place("fsp", ("192.0.2.1", 8080))
    exchange = Exchange(
        b"x", "fallback-status-point", place, Client.NONE, ConnectionEnded("end"), (), tls=tls
    )
    command = reproduction(failed(exchange), kit)
    assert ("openssl s_client" in command, "curl -sS telnet://" in command) == (tls, not tls)
    assert "; sleep 2) |" in command
    hang = reproduction(failed(replace(exchange, result=Hang(30.0))), kit)
    assert "; sleep 30) |" in hang
    slowly = Pieces((100, 1, 1, 1), 5.0)
    hang = reproduction(failed(replace(exchange, result=Hang(30.0), slowly=slowly)), kit)
    assert "head -c 100 " in hang
    assert "sleep 5; tail -c +$i" in hang
    assert "; sleep 15) |" in hang


def test_the_command_without_tls_works(tmp_path: Path) -> None:
    demand("curl")
    with serving(IPv4Address("127.0.0.1"), tmp_path / "kit", fixed_ports=False) as site:
        kit, _ = make_kit(tmp_path / "kit", None, now())
        to = "fallback-status-point"
        place = Place("fsp", tuple(site.addresses[to]))
        exchange = Exchange(REPORT, to, place, Client.NONE, ConnectionEnded("end"), (), tls=False)
        result = failed(exchange)
        write_requests(result, kit)
        command = reproduction(result, kit)
        done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=30, check=False)
        assert done.stdout.startswith(b"HTTP/1.1 200 ")
        assert [request.method for request in site.received()] == ["POST"]


def test_serve_prints_the_site_systems_of_a_proxy() -> None:
    assert set(CHECKED) < set(STAND_INS)
    assert "impostor" not in CHECKED
