"""What a test expects of a perimeter: of its audit, of refusals, and that no secret is written."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.decisions.refusals import REFUSALS
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from ibcm_bridge.lab.protocol.client import Response
from ibcm_bridge.lab.site_systems.records import ReceivedRequest
from tests.integration.credentials import Credentials
from tests.integration.reading import DEADLINE, until

GUID = "5EC2E700-0000-4000-8000-0000000000AA"
TOKEN = f"GUID:{GUID.upper()};2026-01-01T00:00:00Z;2"
PAYLOAD = "SECRET-PAYLOAD-1b77d4"

ALERTS: dict[str, int] = {
    alert.name.removeprefix("ALERT_DESCRIPTION_").lower(): alert.value
    for alert in ssl.AlertDescription
}
# Not in the ssl module.
ALERTS |= {"certificate_required": 116, "no_application_protocol": 120}


@dataclass(repr=False)
class Expectations:
    """Of what happened since `clear`."""

    perimeter: Perimeter
    credentials: Credentials
    secrets: set[str] = field(default_factory=set)
    """What must never be written down, beside TOKEN, PAYLOAD and keys."""
    _audit_offset: int = 0
    _said_before: int = 0

    def clear(self) -> None:
        """Ignore the audit records, output and requests so far."""
        self.perimeter.site.clear()
        path = self.perimeter.bridge.audit_file
        self._audit_offset = path.stat().st_size if path.exists() else 0
        self._said_before = len(self.perimeter.bridge.lines)

    def audit_text(self) -> str:
        """What has been added to the audit file since the test began."""
        if not self.perimeter.bridge.audit_file.exists():
            return ""
        with self.perimeter.bridge.audit_file.open("rb") as file:
            file.seek(self._audit_offset)
            return file.read().decode("ascii")

    def audit(self) -> list[dict[str, Any]]:
        """The records of this test so far, except those of the start and the end."""
        records = [
            json.loads(line)
            for line in self.audit_text().splitlines(keepends=True)
            if line.endswith("\n")
        ]
        return [record for record in records if not record["event"].startswith("writer-")]

    def records(self, count: int = 1) -> list[dict[str, Any]]:
        """The audit records of this test so far: exactly so many, after a while."""
        with contextlib.suppress(AssertionError):  # what there is says more
            until(lambda: len(self.audit()) >= count)
        found = self.audit()
        assert len(found) == count, found
        return found

    def record(self) -> dict[str, Any]:
        (record,) = self.records()
        return record

    def received(self) -> ReceivedRequest:
        """The one request that reached a site system."""
        (received,) = self.perimeter.site.received()
        return received

    def check_nothing_arrived(self) -> None:
        assert self.perimeter.site.received() == ()
        assert self.perimeter.site.handshakes() == ()

    def check_denied(
        self, record: Mapping[str, Any], reason: Reason, rule: str, requirement: str | None = None
    ) -> None:
        """What a record must say of a refusal."""
        row = REFUSALS[reason]
        said = (record["verdict"], record["reason"], record["rule"], record["requirement"])
        assert said == ("deny", reason.value, rule, requirement or row.requirement), record
        assert record["listener"].startswith("127.0.0.1:")
        assert record["duration_seconds"] < DEADLINE

    def check_refusal(self, response: Response, reason: Reason, *, is_head: bool = False) -> str:
        """The client gets what the table says and nothing else. Returns the reference."""
        row = REFUSALS[reason]
        assert row.status is not None
        assert (response.status, response.reason) == (row.status.value, row.status.phrase), response
        names = [name for name, _ in response.headers]
        usual = ["Content-Type", "Content-Length", "Cache-Control", "Connection"]
        # RFC 9110 §15.5.6: with 405, and only there, what is allowed.
        assert names == (["Allow", *usual] if reason is Reason.VERB else usual)
        if is_head:
            assert response.body == b""
            return ""
        text, requirement, reference = response.body.decode("ascii").splitlines()
        assert text == row.text
        assert requirement.startswith("Requirement: ")
        return reference.removeprefix("Reference: ")

    def check_refused(
        self, response: Response, reason: Reason, rule: str, requirement: str | None = None
    ) -> dict[str, Any]:
        """All of a refusal with a status: the response, the record, and that nothing arrived."""
        record = self.record()
        self.check_denied(record, reason, rule, requirement)
        is_head = record.get("method") == "HEAD"
        reference = self.check_refusal(response, reason, is_head=is_head)
        assert is_head or reference == record["reference"]
        if record["event"] == "request":
            assert record["status"] == response.status
            assert "tls_alert" not in record
        self.check_nothing_arrived()
        return record

    def check_refused_connection(
        self, reason: Reason, rule: str, *, alert: int | None
    ) -> dict[str, Any]:
        """The whole of a refusal with an alert, None where the client had gone before one."""
        record = self.record()
        self.check_denied(record, reason, rule)
        assert record["event"] == "connection-refused"
        assert (ALERTS[record["tls_alert"]] if "tls_alert" in record else None) == alert
        self.check_nothing_arrived()
        return record

    def check_nothing_leaked(self) -> None:
        key = b"".join(self.credentials.computer.key_pem().splitlines()[1:-1])
        secrets = {TOKEN, PAYLOAD, "PRIVATE KEY", key[100:140].decode(), *self.secrets}
        secrets |= {base64.b64encode(text.encode()).decode() for text in (TOKEN, PAYLOAD)}
        secrets |= {"\\u0000".join(PAYLOAD)}
        said = "".join(self.perimeter.bridge.lines[self._said_before :])
        for where in (self.audit_text(), said):
            for secret in secrets:
                assert secret not in where
