"""Who can use the lab's page: the holder of its token, from this origin."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from ibcm_bridge.lab.page.server import MAX_STREAMS
from tests.lab.page.running import Up

PATHS = [
    "/",
    "/events",
    "/lab",
    "/case/registration",
    "/files/x/page.js",
    "/nothing",
    "/wire/registration",
    "/capture/registration/bridge.pcapng",
]


@pytest.mark.parametrize("path", PATHS)
def test_each_request_without_the_token_is_refused(up: Up, path: str) -> None:
    for wrong in ("", "?token=", f"?token={up.token[:-1]}"):
        status, body = up.request(path + wrong, {"X-Lab-Token": up.token[:-1]})
        assert status == 403
        assert b"token" in body
        assert up.token.encode() not in body


def test_each_request_with_the_token_is_allowed(up: Up) -> None:
    header = {"X-Lab-Token": up.token}
    assert up.request(f"/?token={up.token}", {})[0] == 200
    assert up.request(f"/files/{up.token}/page.js", {})[0] == 200
    assert up.request("/lab", header)[0] == 200
    assert up.request("/nothing", header)[0] == 404
    assert up.request("/do/stop", header, b"{}")[0] == 202


def test_another_name_for_loopback_is_refused(up: Up) -> None:
    for host in ("evil.example", "127.0.0.1", "localhost:1", ""):
        assert up.request(f"/?token={up.token}", {"Host": host})[0] in (400, 403)


def test_another_origin_is_refused(up: Up) -> None:
    given = {"X-Lab-Token": up.token}
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        assert up.request("/do/stop", given | {"Origin": origin}, b"{}")[0] == 403
    assert up.request("/do/stop", given | {"Origin": up.origin}, b"{}")[0] == 202


def test_a_form_cannot_act(up: Up) -> None:
    """A form can send the token only in the URL."""
    assert up.request(f"/do/stop?token={up.token}", {}, b"{}")[0] == 403


def test_a_closed_page_makes_room_for_another(up: Up) -> None:
    """Reloading a page closes its stream of events, and opens another."""
    for _ in range(MAX_STREAMS + 4):
        with urllib.request.urlopen(f"{up.origin}/events?token={up.token}", timeout=10) as events:
            assert events.readline() == b"event: hello\n"


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("/do/send", b'{"cases": ["registration", "nothing"]}'),
        ("/do/send", b'{"cases": 7}'),
        ("/do/send", b"[]"),
        ("/do/send", b"{"),
        ("/do/fault", b'{"id": "nothing", "on": true}'),
        ("/do/nothing", b"{}"),
    ],
)
def test_an_unknown_action_is_refused(up: Up, path: str, given: bytes) -> None:
    assert up.request(path, {"X-Lab-Token": up.token}, given)[0] == 400


def test_each_response_has_the_security_header_fields(up: Up) -> None:
    with urllib.request.urlopen(up.page, timeout=10) as response:
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["X-Frame-Options"] == "DENY"
        assert response.headers["Server"] is None


def test_only_the_user_can_read_the_files(up: Up) -> None:
    folder = Path(up.summary["files"]["policy"]).parent
    assert folder.stat().st_mode & 0o077 == 0
    assert folder.parent.stat().st_mode & 0o077 == 0
