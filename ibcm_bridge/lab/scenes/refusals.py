"""The refusals of the bridge, as its audit records them.

A client receives a status, a sentence and a reference. The audit record with this reference has
the reason and the rule.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.cases.case import Case
from ibcm_bridge.lab.site_systems.published import BRIDGED

_SECONDS = 3.0
"""The bridge can write the record after it sends the response."""


@dataclass(frozen=True)
class BridgeRefusal:
    """Why the bridge refuses a request."""

    reason: Reason
    rule: str
    """The rule, with `*` for the name of a publication."""

    def __str__(self) -> str:
        return f"the bridge refuses it: {self.reason} ({self.rule})"

    @classmethod
    def of(cls, case: Case) -> BridgeRefusal:
        """Return the refusal that a case of the demo expects."""
        assert case.bridge.reason is not None
        return cls(case.bridge.reason, _any_publication(case.bridge.rule, BRIDGED))


class Refusals:
    """The refusals in an audit file, from now on."""

    def __init__(self, audit: Path | None) -> None:
        self._audit = audit if audit is not None and audit.exists() else None
        self._position = self._audit.stat().st_size if self._audit else 0
        self._found: dict[str, BridgeRefusal | None] = {}

    def find(self, reference: str) -> BridgeRefusal | None:
        """Return the refusal with this reference; None if the audit has none.

        It waits up to 3 seconds for the record.
        """
        deadline = time.monotonic() + _SECONDS
        while self._audit is not None and reference not in self._found:
            self._read(self._audit)
            if reference in self._found or time.monotonic() > deadline:
                break
            time.sleep(0.01)
        return self._found.get(reference)

    def _read(self, audit: Path) -> None:
        with audit.open("rb") as file:
            file.seek(self._position)
            complete = file.read().rpartition(b"\n")[0].splitlines(keepends=True)
        # The last line has lost its end.
        self._position += sum(map(len, complete)) + bool(complete)
        for line in complete:
            record = json.loads(line)
            if "reference" in record:
                self._found[record["reference"]] = _refusal(record)


def _refusal(record: dict[str, Any]) -> BridgeRefusal | None:
    if record.get("verdict") != "deny":
        return None
    rule = _any_publication(record["rule"], str(record.get("server_name", "")))
    return BridgeRefusal(Reason(record["reason"]), rule)


def _any_publication(rule: str, name: str) -> str:
    return f"*{rule.removeprefix(name)}" if name and rule.startswith(f"{name}.") else rule
