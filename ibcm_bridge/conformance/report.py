"""The report of a run: one JSON object of a fixed form, and JUnit.

The word *conformant* needs every MUST to pass: a check that is not applicable, or that is a known
gap, forbids it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from ibcm_bridge import __version__
from ibcm_bridge.conformance.collection import Level
from ibcm_bridge.conformance.exchange import Exchange
from ibcm_bridge.conformance.judgement import Outcome, seen
from ibcm_bridge.conformance.kit import Kit
from ibcm_bridge.conformance.reproduction import repetition, reproduction, sent_bytes
from ibcm_bridge.conformance.runner import Result
from ibcm_bridge.lab.protocol.client import Response
from ibcm_bridge.policy.addresses import address_text

FORM = 1
MAX_TEXT = 4_096
"""Bytes of a body in the report."""


@dataclass(frozen=True)
class Report:
    """A complete run."""

    product: str
    product_version: str
    configuration: Path | None
    date: datetime
    results: Sequence[Result]
    gap_problems: Sequence[str]
    """Known gaps that passed or that match no check."""
    kit: Kit
    words: Sequence[str]
    """The words of a command that run the checks again."""
    complete: bool
    """True if all checks have run."""

    @property
    def failures(self) -> list[Result]:
        """The results that fail the run: a MUST that is not a known gap."""
        return [result for result in self._failed_musts if not result.known_gap]

    @property
    def failed_gaps(self) -> list[Result]:
        """The results of each MUST that failed as a known gap: they do not fail the run."""
        return [result for result in self._failed_musts if result.known_gap]

    @property
    def _failed_musts(self) -> list[Result]:
        return [
            result
            for result in self.results
            if result.is_failure and result.check.level is Level.MUST
        ]

    @property
    def is_ok(self) -> bool:
        """Whether the run succeeds: the exit status."""
        return not self.failures and not self.gap_problems

    @property
    def is_conformant(self) -> bool:
        """Whether every MUST passed, without an exception."""
        return self.complete and all(
            result.judgement.outcome is Outcome.PASS
            for result in self.results
            if result.check.level is Level.MUST
        )

    def counts(self) -> Mapping[str, int]:
        """Count the outcomes."""
        return Counter(result.judgement.outcome.value for result in self.results)

    def verdict(self) -> str:
        """Return the result of the run in a few words.

        A known gap excuses the run, not the subject, which is then not conformant.
        """
        if self.is_conformant:
            return "conformant"
        problems = []
        if failed := len(self.failures):
            problems.append(f"{failed} MUST failed")
        if failed := len(self.failed_gaps):
            as_gaps = "as a known gap" if failed == 1 else "as known gaps"
            problems.append(f"{failed} MUST failed {as_gaps}")
        if self.gap_problems:
            problems.append("the known gaps are not correct")
        if problems:
            return f"not conformant: {', '.join(problems)}"
        return "no MUST failed, but not all were checked"

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        digest = None
        if self.configuration is not None:
            digest = hashlib.sha256(self.configuration.read_bytes()).hexdigest()
        return {
            "form": FORM,
            "suite": __version__,
            "date": self.date.isoformat(timespec="seconds"),
            "product": self.product,
            "product_version": self.product_version,
            "configuration_sha256": digest,
            "conformant": self.is_conformant,
            "verdict": self.verdict(),
            "counts": dict(self.counts()),
            "gap_problems": list(self.gap_problems),
            "results": [self._result(result) for result in self.results],
        }

    def as_junit(self) -> bytes:
        """Return the report in the form that CI systems read."""
        suite = ET.Element(
            "testsuite",
            name=f"ibcm-bridge conformance: {self.product}",
            tests=str(len(self.results)),
            failures=str(len(self.failures)),
            skipped=str(sum(map(_is_skipped, self.results))),
            timestamp=self.date.isoformat(timespec="seconds"),
        )
        for result in self.results:
            topic, _, name = result.check.id.partition("::")
            case = ET.SubElement(
                suite, "testcase", classname=topic, name=name, time=f"{result.seconds:.3f}"
            )
            if result in self.failures:
                lines = (self._again(result), reproduction(result, self.kit))
                text = "\n\n".join(filter(None, (result.check.text, *lines)))
                ET.SubElement(case, "failure", message=difference(result)).text = text
            elif _is_skipped(result):
                ET.SubElement(case, "skipped", message=_skipped(result))
        ET.indent(suite)
        return str(ET.tostring(suite, encoding="unicode")).encode()

    def _again(self, result: Result) -> str:
        return repetition(result, self.words) if result.is_failure else ""

    def _result(self, result: Result) -> dict[str, Any]:
        stop = result.judgement.stop
        return {
            "id": result.check.id,
            "level": result.check.level.value,
            "requirement": result.check.requirement,
            "source": result.check.source,
            "text": result.check.text,
            "outcome": result.judgement.outcome.value,
            "expected": result.judgement.expected,
            "difference": result.judgement.difference,
            "stopped": stop.value if stop else None,
            "known_gap": result.known_gap or None,
            "seconds": round(result.seconds, 3),
            "repetition": self._again(result),
            "reproduction": reproduction(result, self.kit),
            "exchanges": [_exchange(exchange) for exchange in result.exchanges],
        }


def difference(result: Result) -> str:
    """Return one sentence about a result that is not a pass."""
    known = f"; known gap: {result.known_gap}" if result.known_gap else ""
    return result.judgement.difference + known


def _is_skipped(result: Result) -> bool:
    """JUnit has no word for a SHOULD or a known gap that failed."""
    not_applicable = result.judgement.outcome is Outcome.NOT_APPLICABLE
    excused = result.check.level is Level.SHOULD or bool(result.known_gap)
    return not_applicable or (result.is_failure and excused)


def _skipped(result: Result) -> str:
    """Return why it is not a failure in JUnit."""
    outcome = result.judgement.outcome.value
    level = " (SHOULD)" if result.is_failure and result.check.level is Level.SHOULD else ""
    return f"{outcome}{level}: {difference(result)}"


def _exchange(exchange: Exchange) -> dict[str, Any]:
    result = exchange.result
    response = result if isinstance(result, Response) else None
    return {
        "to": exchange.to,
        "name": exchange.server_name,
        "address": address_text(exchange.place.address),
        "client": exchange.client.value,
        "client_tls": exchange.tls_version or None,
        "sent": _text(sent_bytes(exchange)),
        "client_received": seen(result),
        "response_fields": [list(field) for field in response.headers] if response else [],
        "response_body": _text(response.body) if response else "",
        "arrived": [
            {
                "time": request.time.isoformat(),
                "site_system": request.site_system,
                "request": f"{request.method} {request.target}",
                "fields": [list(field) for field in request.headers],
                "body": _text(request.body),
                "body_sha256": request.sha256,
                "certificate": request.certificate_subject,
                "certificate_sha256": request.certificate_sha256,
                "connection": request.peer_port,
                "tls": request.tls_version or None,
                "status": request.status,
            }
            for request in exchange.received
        ],
    }


def _text(data: bytes) -> str:
    """Return bytes as text, with escapes for everything that is not printable ASCII."""
    more = f"... ({len(data):,} bytes)" if len(data) > MAX_TEXT else ""
    return data[:MAX_TEXT].decode("latin-1").encode("unicode_escape").decode("ascii") + more
