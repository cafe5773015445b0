"""The downloads of the simulated distribution point."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

import pytest

from ibcm_bridge.lab.protocol.content import CHUNK, NAMED, content
from tests.lab.site_systems.running import (
    DP,
    FILE,
    SIZE,
    Lab,
)


def test_a_download_has_the_expected_content(lab: Lab) -> None:
    with lab.client(DP, lab.computer) as client:
        head = client.request("HEAD", FILE)
        response, digest, length = client.download(FILE)
    whole = content(0, SIZE)
    assert (head.header("Content-Length"), head.body) == (str(SIZE), b"")
    assert (response.status, length) == (200, SIZE)
    assert digest == hashlib.sha256(whole).hexdigest()
    assert response.header("ETag") == head.header("ETag")


def test_content_does_not_depend_on_the_range() -> None:
    whole = content(0, 2 * CHUNK + 100)
    assert content(CHUNK - 5, CHUNK + 5) == whole[CHUNK - 5 : CHUNK + 5]
    assert b"".join(content(at, at + 1) for at in range(100)) == whole[:100]
    assert whole[:CHUNK] != whole[CHUNK : 2 * CHUNK]


@pytest.mark.parametrize(
    ("byte_range", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=262140-262150", 262140, 262151),
        ("bytes=700000-", 700000, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
        (f"bytes=5-{SIZE * 2}", 5, SIZE),
    ],
)
def test_a_range_gets_its_bytes(lab: Lab, byte_range: str, start: int, stop: int) -> None:
    with lab.client(DP, lab.computer) as client:
        response = client.request("GET", FILE, {"Range": byte_range})
    assert response.status == 206
    assert response.header("Content-Range") == f"bytes {start}-{stop - 1}/{SIZE}"
    assert response.header("Content-Length") == str(stop - start)
    assert response.body == content(start, stop)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Range": f"bytes={SIZE}-"}, 416),
        ({"Range": "bytes=0-1", "If-Range": '"another"'}, 200),
        ({"Range": f"bytes={SIZE}-,{SIZE}-"}, 416),
        ({"Range": "bytes=0-1,-"}, 200),
        ({"Range": "lines=0-1"}, 200),
        ({"Range": "0-1"}, 200),
        ({"Range": "bytes=" + ",".join(["0-1"] * 501)}, 200),
    ],
)
def test_an_unsatisfiable_or_invalid_range_gets_no_206(
    lab: Lab, headers: dict[str, str], status: int
) -> None:
    with lab.client(DP, lab.computer) as client:
        assert client.request("GET", FILE, headers).status == status


def test_several_ranges_get_several_parts(lab: Lab) -> None:
    with lab.client(DP, lab.computer) as client:
        response = client.request("GET", FILE, {"Range": f"bytes=0-1, 262140-262150,{SIZE}-,-3"})
    assert response.status == 206
    assert response.header("Content-Type") == "multipart/byteranges; boundary=lab-part"
    assert response.header("Content-Range") is None
    head = b"--lab-part\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes "
    assert (
        response.body
        == b"".join(
            head + f"{start}-{stop - 1}/{SIZE}\r\n\r\n".encode() + content(start, stop) + b"\r\n"
            for start, stop in ((0, 2), (262140, 262151), (SIZE - 3, SIZE))
        )
        + b"--lab-part--\r\n"
    )


def test_a_range_does_not_apply_to_head(lab: Lab) -> None:
    with lab.client(DP, lab.computer) as client:
        response = client.request("HEAD", FILE, {"Range": "bytes=0-1"})
    assert (response.status, response.header("Content-Length")) == (200, str(SIZE))


@pytest.mark.parametrize("name", NAMED)
def test_a_file_is_found_by_its_name(lab: Lab, name: str) -> None:
    base = FILE.partition("?")[0]
    with lab.client(DP, lab.computer) as client:
        response = client.request("GET", f"{base}?/{quote(name)}")
        other = client.request("GET", f"{base}?/{quote(name.upper())}")
        part = client.request("GET", f"{base}?/{quote(name)}", {"Range": "bytes=0-2"})
        twice = client.request("HEAD", f"{base}?/{quote(quote(name))}")
    assert (response.status, response.body.decode()) == (200, name)
    assert other.body == response.body, "case-insensitive"
    assert (part.status, part.body) == (206, response.body[:3])
    # Decoded once, as in IIS.
    assert (twice.header("Content-Length") == str(SIZE)) == (quote(name) != name)


def test_propfind_lists_the_file_with_its_size(lab: Lab) -> None:
    target = FILE.partition("/sccm")[0]
    with lab.client(DP, lab.computer) as client:
        response = client.request("PROPFIND", target, {"Depth": "infinity"}, b"<propfind/>")
    assert response.status == 207
    assert f"<D:getcontentlength>{SIZE}</D:getcontentlength>".encode() in response.body
    assert f"<D:href>https://{DP}".encode() in response.body, "the requested name"
