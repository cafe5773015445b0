"""A plaintext listener: a fallback status point, HTTP on both legs (VERB-FSP).

BRIDGE-HTTPS-ONLY: neither leg can be HTTPS.
"""

from __future__ import annotations

import http.client
import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.policy_file import PolicyError, load_policy
from tests.addons.stand_ins.lab import Lab
from tests.addons.stand_ins.running import SOON, Running, wait_for

NAME = "fsp.internet.example"
REPORT = b'<?xml version="1.0"?><Report><ReportHeader/></Report>'
XML = {"Content-Type": "text/xml"}


class FakeSiteSystem(http.server.ThreadingHTTPServer):
    """A site system that accepts HTTP and stores the received requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Responder)
        self.received: list[tuple[str, str, dict[str, str], bytes]] = []


class _Responder(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeSiteSystem

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.received.append((self.command, self.path, dict(self.headers), body))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_GET = do_PUT = do_POST  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def site_system() -> Iterator[FakeSiteSystem]:
    with FakeSiteSystem() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


def policy_text(port: int, url: str = "http://fsp01.corp.example", more: str = "") -> str:
    return f"""\
version: 1
audit: {{file: audit.jsonl}}
publications:
  - name: {NAME}
    mode: plaintext
    listen: 127.0.0.1:0
    because: clients report here that HTTPS does not work
    roles:
      fallback-status-point: {{site_system: "{url}", connect: "127.0.0.1:{port}"{more}}}
"""


@pytest.fixture
def running(lab: Lab, site_system: FakeSiteSystem, tmp_path: Path) -> Iterator[Running]:
    path = tmp_path / "bridge.yaml"
    path.write_text(policy_text(site_system.server_address[1]))
    with Running(lab, load_policy(path)) as running:
        yield running


def ask(
    running: Running,
    method: str = "POST",
    target: str = "/SMS_FSP/.sms_fsp",
    fields: dict[str, str] | None = None,
    body: bytes | None = REPORT,
    host: str = NAME,
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*running.address, timeout=SOON)
    try:
        connection.request(
            method, target, body, {"Host": host, **(XML if fields is None else fields)}
        )
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def test_a_status_report_is_forwarded(running: Running, site_system: FakeSiteSystem) -> None:
    fields = {**XML, "X-Forwarded-For": "192.0.2.1", "Authorization": "NTLM x"}
    assert ask(running, fields=fields) == (200, b"ok")
    [(method, target, sent, body)] = site_system.received
    assert (method, target, body) == ("POST", "/SMS_FSP/.sms_fsp", REPORT)
    assert sent["Host"] == NAME
    assert not {"X-Forwarded-For", "Authorization"} & sent.keys()
    [record] = wait_for(running.audit)
    assert record["forwarded"]
    assert not {"client", "certificate", "server_name"} & record.keys()


REFUSED: list[tuple[dict[str, Any], int, str, str]] = [
    ({"host": "other.internet.example"}, 421, "host-mismatch", ""),
    ({"host": ""}, 421, "host-mismatch", ""),
    ({"method": "GET", "body": None}, 405, "verb", "VERB-FSP"),
    ({"method": "PUT"}, 405, "verb", "VERB-FSP"),
    ({"method": "post"}, 405, "verb", "VERB-FSP"),
    ({"method": "CCM_POST"}, 405, "verb", "VERB-FSP"),
    ({"target": "/SMS_FSP/x"}, 404, "resource", ""),
    ({"target": "/SMS_FSP/.sms_fsp?x"}, 404, "resource", ""),
    ({"target": "/SMS_MP/.sms_aut?MPLIST"}, 404, "directory", ""),
    ({"target": "/ccm_system/request"}, 404, "directory", ""),
    ({"target": "/ccm_system_altauth/request"}, 404, "bypass-directory", ""),
    ({"target": "/CCM_Client/ccmsetup.exe"}, 404, "directory", "NO-CLIENT-DEPLOYMENT"),
    ({"body": b"<!DOCTYPE x []><x/>"}, 403, "xml-dtd", ""),
    ({"fields": {"Content-Type": "multipart/mixed"}}, 415, "media-type", ""),
]


@pytest.mark.parametrize(("changes", "status", "reason", "requirement"), REFUSED)
def test_any_other_request_is_refused_and_not_forwarded(
    running: Running,
    site_system: FakeSiteSystem,
    changes: dict[str, Any],
    status: int,
    reason: str,
    requirement: str,
) -> None:
    assert ask(running, **changes)[0] == status
    record = running.wait_for_reason(reason)
    if requirement:
        assert record["requirement"] == requirement
    assert not record.get("forwarded")
    assert not site_system.received
    assert ask(running)[0] == 200


def test_tls_is_refused_with_an_alert(running: Running, site_system: FakeSiteSystem) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(running.address, SOON) as plain,
        pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"),
    ):
        context.wrap_socket(plain, server_hostname=NAME)
    record = running.wait_for_reason("tls-on-plaintext")
    assert (record["requirement"], record["tls_alert"]) == (
        "BRIDGE-HTTPS-ONLY",
        "handshake_failure",
    )
    assert not site_system.received


def test_an_https_site_system_cannot_be_published_in_plaintext(tmp_path: Path) -> None:
    path = tmp_path / "bridge.yaml"
    for text in (
        policy_text(443, url="https://fsp01.corp.example"),
        policy_text(443, more=", verify_name: fsp01.corp.example"),
    ):
        path.write_text(text)
        with pytest.raises(PolicyError):
            load_policy(path)
