"""deploy/haproxy: a real HAProxy in front of two bridges, which are killed and replaced."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import Request, Response
from ibcm_bridge.lab.protocol.uploads import SESSION, Upload
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.reading import until
from tests.needs import demand, program
from tests.repository.two_bridges import FRONT, HAPROXY, MP_LIST, NAMES, Bridge, Load, TwoBridges

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="HAProxy has loopback addresses")

EXPLAINED = {"overloaded", "engine-unavailable"}
"""On a busy machine: the response has Retry-After, and the client tries again."""


@pytest.fixture(scope="module")
def pki() -> LabPki:
    return LabPki.make(now=datetime.now(UTC))


@pytest.fixture(scope="module")
def devices(pki: LabPki) -> tuple[tuple[LabCredential, Device], ...]:
    names = [f"pc{number}.corp.example" for number in range(2)]
    credentials = [pki.computer(name) for name in names]
    return tuple(
        (credential, Device.of(credential, name))
        for credential, name in zip(credentials, names, strict=True)
    )


@pytest.fixture
def two(tmp_path: Path, pki: LabPki) -> Iterator[TwoBridges]:
    demand("haproxy")
    with SiteSystems(pki) as site, TwoBridges(tmp_path, pki, site) as two:
        yield two
    said = "".join(bridge.said() for bridge in two.bridges.values())
    assert "Traceback" not in said, said


# The files


def check(configuration: str, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "haproxy.cfg"
    file.write_text(configuration, "utf-8")
    command = [program("haproxy"), "-c", "-f", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.needs("haproxy")
def test_haproxy_accepts_the_configuration_without_a_warning(tmp_path: Path) -> None:
    shipped = (HAPROXY / "haproxy.cfg").read_text("utf-8")
    done = check(shipped, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert check(shipped.replace("balance leastconn", "balance most"), tmp_path).returncode


def test_the_policy_has_the_addresses_of_the_configuration() -> None:
    configuration = (HAPROXY / "haproxy.cfg").read_text("utf-8")
    policy = yaml.safe_load((HAPROXY / "bridge.yaml").read_text("utf-8"))
    servers = re.findall(r"^    server bridge-1 (\S+)$", configuration, re.MULTILINE)
    assert [entry["listen"] for entry in policy["publications"]] == servers
    (check_port,) = re.findall(r"check port (\d+)", configuration)
    host, _, port = policy["operations"]["listen"].partition(":")
    assert (host, port) == (servers[0].partition(":")[0], check_port)
    (source,) = re.findall(r" source (\S+)", configuration)
    assert {bind.partition(":")[0] for bind in re.findall(r"bind (\S+)", configuration)} == {source}
    for address in servers:
        assert policy["listeners"][address]["proxy_protocol"]["from"] == [source]


# As they run


def requests_of(two: TwoBridges) -> dict[str, int]:
    """The requests that each bridge has recorded."""
    return {name: len(bridge.audit()) for name, bridge in two.bridges.items()}


def wait_for_records(two: TwoBridges, requests: dict[str, int]) -> None:
    """A record is written after its response, so a client may be ahead of it."""
    until(lambda: requests_of(two) == requests, str(requests), 60)


def check_records(two: TwoBridges) -> None:
    """Each client has its own address, and no request was refused."""
    for bridge in two.bridges.values():
        for record in bridge.audit():
            assert record["client_address"].startswith("127.0.0."), record
            assert record["via"].startswith(f"{FRONT}:"), record
            assert record["verdict"] == "allow" or record["reason"] in EXPLAINED, record


def wait_for_requests(bridge: Bridge) -> None:
    before = len(bridge.audit())
    until(lambda: len(bridge.audit()) > before, "requests at the new process", 60)


def test_bridges_are_replaced_one_after_the_other_and_no_client_notices(
    two: TwoBridges, devices: tuple[tuple[LabCredential, Device], ...]
) -> None:
    load = Load(two, devices)
    with load.running():
        for name in NAMES:
            bridge = two.bridges[name]
            two.set_state(name, "drain")
            two.wait_for(name, "DRAIN")
            load.goes_on()
            assert bridge.end(signal.SIGTERM) == 0
            assert "ibcm-bridge: drained" in bridge.said()
            bridge.start()
            two.set_state(name, "ready")
            two.wait_for(name, "UP")
            wait_for_requests(bridge)
    assert load.failures == []
    assert all(requests_of(two).values())
    check_records(two)
    check_uploads(two)


def check_uploads(two: TwoBridges) -> None:
    """Every upload has arrived whole, although its packets came through both bridges."""
    assert two.site.uploads.files
    for data in two.site.uploads.files.values():
        text = zlib.decompress(data).decode("utf-16-le")
        assert "<Report" in text[:100]
        assert text.endswith("</Report>")


def test_after_a_kill_no_new_connection_is_refused(
    two: TwoBridges, devices: tuple[tuple[LabCredential, Device], ...]
) -> None:
    load = Load(two, devices)
    with load.running():
        for name in NAMES:
            bridge = two.bridges[name]
            bridge.end(signal.SIGKILL)
            # Its sockets are closed now, not when the signal is sent.
            killed_at = time.monotonic()
            load.goes_on()
            # Those that were open at the killed bridge were cut, and no other.
            assert [failure for failure in load.failures if failure[0] > killed_at] == []
            load.failures.clear()
            bridge.start()
            two.wait_for(name, "UP")
    assert load.failures == []
    check_records(two)


def test_an_upload_goes_on_at_the_other_bridge_after_a_kill(
    two: TwoBridges, devices: tuple[tuple[LabCredential, Device], ...]
) -> None:
    (credential, _), *_ = devices
    data = zlib.compress(("<Report>" + "<x>1</x>" * 20_000 + "</Report>").encode("utf-16-le"), 0)
    upload = Upload("/CCM_Incoming/killed.msg", data)
    session = ""

    def send(request: Request) -> Response:
        nonlocal session
        fields = [(key, session if value == SESSION else value) for key, value in request.headers]
        with two.client(credential) as client:
            response = client.send(replace(request, headers=tuple(fields)))
        assert response.status == 200, response
        session = response.header("BITS-Session-Id") or session
        return response

    first, second = upload.fragments(2)
    two.set_state("bridge-2", "drain")
    send(upload.create())
    send(first)
    wait_for_records(two, {"bridge-1": 2, "bridge-2": 0})
    two.set_state("bridge-2", "ready")
    two.bridges["bridge-1"].end(signal.SIGKILL)
    send(second)
    send(upload.close())
    wait_for_records(two, {"bridge-1": 2, "bridge-2": 2})
    assert [*two.site.uploads.files.values()] == [data]


def test_a_bridge_that_does_not_respond_to_the_check_gets_no_new_connection(
    two: TwoBridges, devices: tuple[tuple[LabCredential, Device], ...]
) -> None:
    (credential, _), *_ = devices
    frozen = two.bridges["bridge-1"]
    frozen.send(signal.SIGSTOP)
    try:
        two.wait_for("bridge-1", "DOWN")
        for _ in range(4):
            with two.client(credential) as client:
                assert client.request("GET", MP_LIST).status == 200
    finally:
        frozen.send(signal.SIGCONT)
    until(lambda: len(two.bridges["bridge-2"].audit()) == 4, "four records", 60)
    two.wait_for("bridge-1", "UP")


def test_a_source_with_very_many_connections_is_refused_by_haproxy(
    two: TwoBridges, devices: tuple[tuple[LabCredential, Device], ...]
) -> None:
    (credential, _), *_ = devices
    with two.client(credential) as client:
        assert client.request("GET", MP_LIST).status == 200
        table = two.command("show table sources")
        # Not the bridges' limit: one entry for the source, with its open connection.
        assert re.search(r"key=::ffff:127\.0\.0\.\d+ .*conn_cur=1\b", table), table
