"""Downloads: streamed, byte for byte, and in little memory (CLIENT-RESUME; protocol.md §7)."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol.content import CHUNK, content
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.credentials import Credentials
from tests.integration.lab import Lab
from tests.integration.memory import peak_memory, reset_peak
from tests.integration.raw_site_system import Peer, RawSiteSystem

MP_LIST = "/SMS_MP/.sms_aut?MPLIST"
FILE = "/SMS_DP_SMSPKG$/Content_00000000-0000-0000-0000-000000000007.1/sccm?/setup.exe"
SIZE = 300 * 1024 * 1024 + 12_345
GROWTH = 16 * 1024 * 1024
WAYS = {"bridged": "bridge.internet.example", "tunneled": "dp-tunnel.internet.example"}


@pytest.fixture(scope="module")
def site_systems(pki: LabPki, credentials: Credentials) -> Iterator[SiteSystems]:
    with SiteSystems(pki, download_bytes=SIZE) as site:
        yield site


@pytest.fixture(scope="module")
def change_policy(policy: dict[str, Any], raw_site_system: RawSiteSystem) -> None:
    """The management point is raw; the distribution point is the stand-in."""
    host, port = raw_site_system.address
    roles = policy["publications"][0]["roles"]
    roles["management-point"]["connect"] = f"{host}:{port}"


@pytest.fixture(scope="module")
def digest() -> str:
    """Of the whole download, from the stand-in's own noise."""
    sha256 = hashlib.sha256()
    for start in range(0, SIZE, CHUNK):
        sha256.update(content(start, min(start + CHUNK, SIZE)))
    return sha256.hexdigest()


@pytest.mark.parametrize("name", WAYS.values(), ids=WAYS)
def test_a_large_download_is_identical_and_uses_little_memory(
    lab: Lab, name: str, digest: str
) -> None:
    with lab.client(name=name) as client:
        client.request("GET", FILE, {"Range": "bytes=0-9999999"})  # what it costs to begin
    lab.records(1)
    before = reset_peak(lab.bridge.pid)
    with lab.client(name=name) as client:
        reply, received, length = client.download(FILE)
    after = peak_memory(lab.bridge.pid)
    assert (reply.status, length, received) == (200, SIZE, digest)
    record = lab.records(2)[1]
    assert record["verdict"] == "allow"
    assert record["bytes_to_client"] >= SIZE
    if before is None or after is None:
        pytest.skip("the bridge's memory can only be measured on Linux")
    assert after - before < GROWTH


@pytest.mark.parametrize("name", WAYS.values(), ids=WAYS)
def test_several_ranges_are_returned_as_several_parts(lab: Lab, name: str) -> None:
    # BITS asks so for what has changed of a file; parts are not put together or apart on the way.
    with lab.client(name=name) as client:
        reply = client.request("GET", FILE, {"Range": f"bytes=0-9,{CHUNK}-{CHUNK + 9}"})
    assert reply.status == 206
    assert reply.header("Content-Type") == "multipart/byteranges; boundary=lab-part"
    for start in (0, CHUNK):
        assert content(start, start + 10) in reply.body
    assert reply.header("Content-Length") == str(len(reply.body))
    lab.records(1)


def test_curl_downloads_a_range_and_resumes(lab: Lab) -> None:
    half = CHUNK + 77
    end = 3 * CHUNK
    credential = lab.credentials.computer
    first = lab.curl("--range", f"0-{half - 1}", target=FILE, credential=credential)
    second = lab.curl("--range", f"{half}-{end - 1}", target=FILE, credential=credential)
    bodies = [lab.read_responses(run.stdout, ["GET"])[0] for run in (first, second)]
    assert [response.status for response in bodies] == [206, 206]
    assert b"".join(response.body for response in bodies) == content(0, end)
    assert bodies[1].header("Content-Range") == f"bytes {half}-{end - 1}/{SIZE}"
    assert len({response.header("ETag") for response in bodies}) == 1
    assert [dict(received.headers)["Range"] for received in lab.site.received()] == [
        f"bytes=0-{half - 1}",
        f"bytes={half}-{end - 1}",
    ]
    assert [record["bytes_to_client"] for record in lab.records(2)] == [half, end - half]


@pytest.mark.parametrize(
    ("asked", "status", "length"),
    [
        ({"Range": "bytes=0-0"}, 206, 1),
        ({"Range": "bytes=-5"}, 206, 5),
        ({"Range": f"bytes={SIZE}-"}, 416, 0),
        ({"Range": "bytes=0-4", "If-Range": '"lab-1"'}, 206, 5),
    ],
)
def test_the_site_system_decides_on_ranges(
    lab: Lab, asked: dict[str, str], status: int, length: int
) -> None:
    with lab.client() as client:
        reply = client.request("GET", FILE, asked)
        assert (reply.status, len(reply.body)) == (status, length)
        assert client.request("HEAD", FILE).status == 200  # the connection is still good
    assert lab.site.received()[0].headers[1:] == tuple(asked.items())
    lab.records(2)


def test_head_returns_the_fields_that_bits_needs(lab: Lab) -> None:
    run = lab.curl("--head", target=FILE, credential=lab.credentials.computer)
    (reply,) = lab.read_responses(run.stdout, ["HEAD"])
    assert (reply.status, reply.body) == (200, b"")
    assert reply.header("Content-Length") == str(SIZE)
    assert reply.header("Accept-Ranges") == "bytes"
    assert reply.header("ETag") == '"lab-1"'
    assert reply.header("Last-Modified")
    assert reply.header("Content-Encoding") is None
    record = lab.record()
    assert (record["verdict"], record["bytes_to_client"]) == ("allow", 0)


# Clients that stop


def endless(sent: list[int]) -> Any:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        block = bytes(65_536)
        while True:
            peer.send(block)
            sent[0] += len(block)

    return script


def test_a_client_that_aborts_a_download_closes_the_leg(
    lab: Lab, raw_site_system: RawSiteSystem
) -> None:
    raw_site_system.behave(endless([0]), lab.pki.server("mp01.corp.example"))
    connection = lab.connect()
    connection.sendall(lab.request(target=MP_LIST))
    lab.read_exactly(connection, 5_000_000)
    connection.close()
    (peer,) = raw_site_system.peers
    lab.until(peer.ended.is_set, "the end of the leg")
    record = lab.record()
    assert (record["verdict"], record["status"]) == ("allow", 200)
    assert record["note"] == "the client closed the connection"
    assert record["bytes_to_client"] > 4_000_000


def test_a_client_that_stops_reading_does_not_fill_the_bridge(
    lab: Lab, raw_site_system: RawSiteSystem
) -> None:
    sent = [0]
    raw_site_system.behave(endless(sent), lab.pki.server("mp01.corp.example"))
    before = reset_peak(lab.bridge.pid)
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        plain.connect(lab.bridge.address)
        with lab.context().wrap_socket(
            plain, server_hostname="bridge.internet.example"
        ) as connection:
            connection.sendall(lab.request(target=MP_LIST))
            assert connection.recv(1000)
            # Until nothing has been taken from the site system for a quarter of a second.
            while (seen := sent[0]) == 0 or not _still(sent, seen):
                assert sent[0] < 200_000_000
    after = peak_memory(lab.bridge.pid)
    (peer,) = raw_site_system.peers
    lab.until(peer.ended.is_set, "the end of the leg")
    lab.records(1)
    if before is None or after is None:
        pytest.skip("the bridge's memory can only be measured on Linux")
    assert after - before < GROWTH


def _still(counter: list[int], seen: int) -> bool:
    threading.Event().wait(0.25)
    return counter[0] == seen
