"""`ibcm-bridge demo`: the same requests through a bridge and through a tunnel, side by side.

1. The lab's certificates and stand-ins are made; `ibcm-bridge run` is started as its own process,
   on the shipped policy.
2. Each case is sent twice, to the bridged and to the tunneled name. What came back is what the
   client saw, what the stand-ins recorded is what arrived, and what the proxy could see is read
   from its audit.
3. A case that does not go as its requirement says makes the exit status 1.
"""

from __future__ import annotations

import datetime
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ibcm_bridge.lab.cases import RANGE, Case, Client, Far, cases, credentials
from ibcm_bridge.lab.client import (
    ConnectionEnded,
    HandshakeRefused,
    LabClient,
    Reply,
    plaintext_request,
    request_bytes,
)
from ibcm_bridge.lab.content import content
from ibcm_bridge.lab.pki import Credential, LabPki
from ibcm_bridge.lab.report import write_report
from ibcm_bridge.lab.running import BRIDGED, TUNNELED, RunningBridge
from ibcm_bridge.lab.site_systems import Received, SiteSystems
from ibcm_bridge.lab.table import HEADING, row_lines


@dataclass(frozen=True)
class Outcome:
    """How one way went, in words and in values."""

    far: Far
    status: int | None
    alert: str | None
    answered: str
    """One line: what the client got, and from whom."""
    arrived: str
    """One line: what the site system received."""
    saw: str
    """One line: what the proxy could see."""
    audit: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """A case and how it went both ways."""

    case: Case
    bridge: Outcome
    tunnel: Outcome
    problems: tuple[str, ...]
    """What did not go as the requirement says."""


def run_demo(report: Path | None) -> int:
    """Run all cases; print them, write the report, return the exit status."""
    began = time.monotonic()
    print("ibcm-bridge demo: a lab, not for production. Every request is sent twice.\n")
    print(HEADING)
    results = []
    for result in _results():
        results.append(result)
        print("\n".join(row_lines(result)), flush=True)
    failed = [result for result in results if result.problems]
    seconds = time.monotonic() - began
    print(
        f"{len(results) - len(failed)} of {len(results)} cases went as required, {seconds:.1f} s."
    )
    for result in failed:
        for problem in result.problems:
            print(f"  {result.case.id}: {problem}", file=sys.stderr)
    if report is not None:
        page = write_report(report, results)
        print(f"Report: {page}")
    return 1 if failed else 0


def _results() -> Iterator[Result]:
    pki = LabPki.make(now=datetime.datetime.now(datetime.UTC))
    clients = credentials(pki)
    computer = clients[Client.COMPUTER]
    assert computer is not None
    with (
        tempfile.TemporaryDirectory(prefix="ibcm-bridge-demo-") as directory,
        SiteSystems(pki) as site_systems,
        RunningBridge(Path(directory), pki, site_systems) as bridge,
    ):
        lab = _Lab(pki, clients, site_systems, bridge)
        for case in cases(computer):
            through_bridge = lab.send(case, BRIDGED)
            through_tunnel = lab.send(case, TUNNELED[case.role])
            problems = (*lab.problems, *_problems(case, through_bridge, through_tunnel))
            lab.problems.clear()
            yield Result(case, through_bridge, through_tunnel, problems)


def _problems(case: Case, bridge: Outcome, tunnel: Outcome) -> Iterator[str]:
    if bridge.far is not case.bridge:
        yield f"{case.requirement} wants it {case.bridge}; through the bridge it was {bridge.far}"
    if (bridge.status, bridge.alert) != (case.bridge_status, case.bridge_alert):
        yield f"the bridge answered {bridge.answered}"
    if tunnel.far is not case.tunnel:
        yield f"through the tunnel it was {tunnel.far} in place of {case.tunnel}"


class _Lab:
    """Sends a case one way and looks at all sides of it."""

    def __init__(
        self,
        pki: LabPki,
        clients: dict[Client, Credential | None],
        site_systems: SiteSystems,
        bridge: RunningBridge,
    ) -> None:
        self._pki = pki
        self._clients = clients
        self._site_systems = site_systems
        self._bridge = bridge
        self.problems: list[str] = []

    def send(self, case: Case, name: str) -> Outcome:
        """Send a case to a name; what came of it."""
        self._site_systems.clear()
        records = len(self._bridge.audit())
        answer = self._answer(case, name)
        written = self._bridge.wait_for_records(records + 1)[records:]
        if len(written) != 1:
            self.problems.append(f"{len(written)} audit records in place of one, for {name}")
        record = written[0] if written else {}
        received = self._site_systems.received()
        reached = bool(received or self._site_systems.handshakes())
        bridged = name == BRIDGED
        if bridged and received:
            self._compare(case, received[-1], answer)
        return Outcome(
            far=_far(answer, reached=bool(received) if bridged else reached),
            status=answer.status if isinstance(answer, Reply) else None,
            alert=answer.alert if isinstance(answer, HandshakeRefused) else None,
            answered=_answered(answer) + _without(received, case.dropped),
            arrived=_arrived(received, reached, case.dropped),
            saw=_saw(record),
            audit=record,
        )

    def _answer(self, case: Case, name: str) -> Reply | HandshakeRefused | ConnectionEnded:
        request = case.request
        if request.plaintext:
            sent = request_bytes(request.method, request.target, request.headers, None, name)
            status_line = plaintext_request(self._bridge.address, sent).split(b"\r\n")[0]
            _, status, reason = status_line.decode("ascii").split(" ", 2)
            return Reply(int(status), reason, (), b"")
        try:
            with LabClient(
                self._bridge.address,
                name,
                trust=self._pki.root,
                credential=self._clients[case.client],
            ) as client:
                return client.request(request.method, request.target, request.headers, request.body)
        except (HandshakeRefused, ConnectionEnded) as refused:
            return refused

    def _compare(self, case: Case, received: Received, answer: object) -> None:
        """What passed the bridge is what was sent, less what had to go."""
        if received.body != (case.request.body or b""):
            self.problems.append("the body did not arrive byte for byte (BRIDGE-IDENTITY)")
        arrived = _field_names(received)
        for name, _ in case.request.headers:
            if (name in arrived) == (name in case.dropped):
                self.problems.append(f"{name} should {'not ' * (name in arrived)}have arrived")
        if isinstance(answer, Reply) and answer.status == 206:
            first, last = RANGE
            if answer.body != content(first, last + 1):
                self.problems.append("the bytes of the range are not those that were asked for")


def _far(answer: object, *, reached: bool) -> Far:
    if not reached:
        return Far.REFUSED_BY_PROXY
    good = isinstance(answer, Reply) and answer.status < 400
    return Far.ANSWERED if good else Far.REFUSED_THERE


def _answered(answer: Reply | HandshakeRefused | ConnectionEnded) -> str:
    if isinstance(answer, Reply):
        return f"{answer.status} {answer.reason}"
    if isinstance(answer, HandshakeRefused):
        return f"TLS alert: {answer.alert}"
    return "the connection was closed"


def _field_names(received: Received) -> set[str]:
    return {name for name, _ in received.headers}


def _without(received: tuple[Received, ...], dropped: tuple[str, ...]) -> str:
    if not received or not dropped:
        return ""
    arrived = _field_names(received[-1])
    return "".join(f", {'with' if name in arrived else 'without'} the header" for name in dropped)


def _arrived(received: tuple[Received, ...], reached: bool, unlisted: tuple[str, ...]) -> str:
    if not received:
        return "a TLS handshake, which it refused" if reached else "nothing"
    last = received[-1]
    size = f", {len(last.body):,} bytes" if last.body else ""
    arrived = _field_names(last)
    fields = "".join(f", {'with' if n in arrived else 'without'} {n}" for n in unlisted)
    sender = _name(last.certificate_subject)
    return f"{last.method} {last.target}{size}{fields}, from {sender}"


def _name(subject: str | None) -> str:
    if subject is None:
        return "a client without certificate"
    return subject.split(",")[0].removeprefix("CN=")


def _saw(record: dict[str, Any]) -> str:
    """What an audit record says, in one line."""
    if record.get("event") == "tunnel":
        total = record["bytes_from_client"] + record["bytes_to_client"]
        return f"the name {record['server_name']} and {total:,} bytes"
    seen = []
    if "client" in record:
        seen.append(str(record["client"]))
    elif "certificate" in record:
        seen.append(_name(str(record["certificate"]["subject"])))
    if "method" in record:
        seen.append(f"{record['method']} {record['target'].split('?')[0]}")
    if "endpoint" in record:
        seen.append(f"for {record['endpoint']}")
    for view in record.get("inspected", ()):
        name, _, size = str(view).partition(":")
        if name == "inflated":
            seen.append(f"{int(size):,} bytes inflated and read")
    if record.get("dropped_headers"):
        seen.append(f"took out {', '.join(record['dropped_headers'])}")
    if record.get("verdict") == "deny":
        seen.append(f"{record['reason']}: {record['detail']}")
    return "; ".join(seen) or "nothing"
