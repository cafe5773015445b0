"""deploy/rsyslog: a real rsyslogd gives the records of the audit the names of ECS."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.audit import record as audit
from ibcm_bridge.audit.chain import read_link
from tests.audit.chains import FIRST, Writer
from tests.needs import program

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "deploy/rsyslog/ibcm-bridge.conf"
SOON = 30.0

REFUSED: dict[str, audit.Value] = {
    "reference": "0a1b2c3d4e5f",
    "verdict": "deny",
    "listener": "192.0.2.1:443",
    "policy": "0123456789abcdef",
    "client_address": "[2001:db8::7]:50000",
    "server_name": "mp.internet.example",
    "tls_version": "TLSv1.3",
    "tls_resumed": True,
    "client_name": "pc1.corp.example",
    "client_certificate": {
        "subject": "CN=pc1.corp.example",
        "issuer": 'CN="Corp, Inc"',
        "serial": "1a",
        "sha256": 64 * "a",
        "not_after": "2027-01-01T00:00:00+00:00",
    },
    "role": "management_point",
    "site_system": "mp.corp.example",
    "method": "POST",
    "target": '/SMS_MP/"quoted"\\u0000',
    "observed": ("one", "two"),
    "reason": "verb",
    "rule": "roles.verbs",
    "requirement": "VERB-MP",
    "detail": "POST is not allowed",
    "status": 405,
    "bytes_from_client": 10,
    "bytes_to_client": 0,
}
EXPECTED: dict[str, Any] = {
    "@timestamp": "2026-01-02T03:04:05.678+00:00",
    "ecs.version": "8.17",
    "event.kind": "event",
    "event.module": "ibcm-bridge",
    "event.dataset": "ibcm-bridge.audit",
    "observer.type": "proxy",
    "observer.product": "ibcm-bridge",
    "event.action": "request",
    "event.outcome": "failure",
    "event.id": "0a1b2c3d4e5f",
    "event.reason": "verb",
    "event.sequence": 2,
    "rule.name": "roles.verbs",
    "rule.category": "VERB-MP",
    "message": "POST is not allowed",
    "client.ip": "2001:db8::7",
    "client.port": 50000,
    "client.domain": "pc1.corp.example",
    "client.bytes": 10,
    "server.address": "192.0.2.1:443",
    "server.bytes": 0,
    "destination.address": "mp.corp.example",
    "tls.client.server_name": "mp.internet.example",
    "tls.version": "1.3",
    "tls.resumed": True,
    "tls.client.subject": "CN=pc1.corp.example",
    "tls.client.issuer": 'CN="Corp, Inc"',
    "tls.client.hash.sha256": 64 * "a",
    "tls.client.not_after": "2027-01-01T00:00:00+00:00",
    "tls.client.x509.serial_number": "1a",
    "http.request.method": "POST",
    "http.response.status_code": 405,
    "url.original": '/SMS_MP/"quoted"\\u0000',
    "ibcm.policy": "0123456789abcdef",
    "ibcm.role": "management_point",
    "ibcm.observed": '[ "one", "two" ]',
    "ibcm.writer": FIRST,
}


@pytest.mark.needs("rsyslogd")
def test_records_arrive_with_the_names_of_ecs(tmp_path: Path) -> None:
    writer = Writer()
    allowed: dict[str, audit.Value] = {"verdict": "allow", "client_address": "192.0.2.7:50000"}
    # Longer than rsyslog's default limit.
    allowed["observed"] = tuple(f"{number}{400 * 'o'}" for number in range(32))
    lines = [
        writer.line(audit.Event.WRITER_STARTED, process_id=7),
        writer.line(audit.Event.REQUEST, **REFUSED),
        b'{"time":"2026-01-02T03:04:05.678+00:00","event":"requ\n',
        writer.line(audit.Event.REQUEST, **allowed),
    ]
    # As deploy/haproxy/bridge.yaml names it. A rotated file must not be read again.
    log, output = tmp_path / "audit-10.0.0.11.jsonl", tmp_path / "ecs.json"
    log.write_bytes(b"".join(lines))
    log.with_name(f"{log.name}-20260102-1767312000").write_bytes(lines[0])
    configuration = tmp_path / "rsyslog.conf"
    text = CONFIGURATION.read_text("utf-8")
    text = text.replace("/var/log/ibcm-bridge/", f"{tmp_path}/")
    text = text.replace("/var/log/ibcm-bridge-ecs.jsonl", str(output))
    configuration.write_text(f'global(workDirectory="{tmp_path}")\n{text}', "utf-8")
    command = [program("rsyslogd"), "-n", "-f", str(configuration), "-i", str(tmp_path / "pid")]
    checked = subprocess.run([*command, "-N1"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as rsyslogd:
        try:
            deadline = time.monotonic() + SOON
            while time.monotonic() < deadline:
                if output.exists() and output.read_bytes().count(b"\n") >= 3:
                    break
                time.sleep(0.05)
        finally:
            rsyslogd.terminate()
            _, errors = rsyslogd.communicate()
    records = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    started, refused, forwarded = records
    original, previous = refused.pop("event.original"), refused.pop("ibcm.previous")
    assert refused.pop("observer.hostname")
    assert refused == EXPECTED, errors
    assert json.loads(lines[1])["previous"] == previous
    assert original == lines[1].decode().removesuffix("\n")
    assert read_link(original.encode()) is not None, "the line can be verified"
    assert (started["event.action"], started["process.pid"]) == ("writer-started", 7)
    assert "event.outcome" not in started
    assert (forwarded["event.outcome"], forwarded["client.ip"]) == ("success", "192.0.2.7")
    assert json.loads(forwarded["ibcm.observed"]) == json.loads(lines[3])["observed"]


def test_the_documentation_has_each_name() -> None:
    text = CONFIGURATION.read_text("utf-8")
    names = re.findall(r'outname="([^"]+)" name="\$!([a-z_!0-9]+)"', text)
    page = (ROOT / "docs/audit.md").read_text("utf-8")
    rows = {tuple(re.findall(r"`([^`]+)`", line)[:2]) for line in page.splitlines()}
    for name, field in names:
        assert name == f"ibcm.{field}" or (field.replace("!", "."), name) in rows
    fields = [value for key, value in vars(audit).items() if key.isupper()]
    keys = [field for field in fields if isinstance(field, str) and re.fullmatch("[a-z_]+", field)]
    assert len(keys) > 30
    nested = {"allowed_by", "not_judged"}  # in would_refuse and shadow
    assert {key for key in keys if f"$!{key}" not in text} == nested
