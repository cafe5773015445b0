"""`ibcm-bridge demo`: the same requests through a bridge and through a tunnel, side by side.

1. The lab's certificates and stand-ins are made; `ibcm-bridge run` is started as its own process,
   on the shipped policy and what `demo_policy` adds.
2. Each case is sent twice, to the bridged and to the tunneled name. What came back is what the
   client saw, what the stand-ins recorded is what arrived, and what the proxy could see is read
   from its audit.
3. A case that does not go as its requirement says makes the exit status 1.
"""

from __future__ import annotations

import datetime
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from ibcm_bridge.lab.case_requests import RANGE, Senders
from ibcm_bridge.lab.case_table import FAMILIES
from ibcm_bridge.lab.cases import Case, Client, Way, credentials, senders
from ibcm_bridge.lab.client import (
    ConnectionEnded,
    HandshakeRefused,
    LabClient,
    Reply,
    Request,
    plaintext_request,
    request_bytes,
)
from ibcm_bridge.lab.content import content
from ibcm_bridge.lab.demo_policy import BRIDGED_NAMES, demo_policy
from ibcm_bridge.lab.outcomes import (
    Answer,
    ClientRefused,
    Outcome,
    Result,
    Seen,
    field_names,
    outcome,
    problems,
)
from ibcm_bridge.lab.pki import Credential, LabPki
from ibcm_bridge.lab.records import Received
from ibcm_bridge.lab.report import write_report
from ibcm_bridge.lab.running import RunningBridge
from ibcm_bridge.lab.site_systems import SiteSystems
from ibcm_bridge.lab.table import family_lines, heading, row_lines


def run_demo(report: Path | None) -> int:
    """Run all cases; print them, write the report, return the exit status."""
    began = time.monotonic()
    print("ibcm-bridge demo: a lab, not for production. What can be tunneled is sent twice.\n")
    print(heading())
    results: dict[str, list[Result]] = {}
    for family, result in _results():
        if family not in results:
            print("\n".join(family_lines(family)))
        results.setdefault(family, []).append(result)
        print("\n".join(row_lines(result)), flush=True)
    every = [result for family in results.values() for result in family]
    failed = [result for result in every if result.problems]
    seconds = time.monotonic() - began
    print(f"{len(every) - len(failed)} of {len(every)} cases went as required, {seconds:.1f} s.")
    for result in failed:
        for problem in result.problems:
            print(f"  {result.case.id}: {problem}", file=sys.stderr)
    if report is not None:
        page = write_report(report, results)
        print(f"Report: {page}")
    return 1 if failed else 0


def _results() -> Iterator[tuple[str, Result]]:
    pki = LabPki.make(now=datetime.datetime.now(datetime.UTC))
    clients = credentials(pki)
    with (
        tempfile.TemporaryDirectory(prefix="ibcm-bridge-demo-") as name,
        SiteSystems(pki, leaks=True) as site,
    ):
        directory = Path(name)
        bridge = RunningBridge(directory, pki, site, policy=demo_policy())
        for bridged in BRIDGED_NAMES:
            pki.server(bridged).write(directory / "pki", bridged)
        with bridge:
            lab = _Lab(pki, clients, site, bridge)
            for family, cases in FAMILIES.items():
                for case in cases:
                    yield family, lab.result(case)


class _Lab:
    """Sends a case both ways and looks at all sides of it."""

    def __init__(
        self,
        pki: LabPki,
        clients: dict[Client, Credential | None],
        site_systems: SiteSystems,
        bridge: RunningBridge,
    ) -> None:
        self._senders = senders(clients)
        self._pki = pki
        self._clients = clients
        self._site_systems = site_systems
        self._bridge = bridge
        self._problems: list[str] = []

    def result(self, case: Case) -> Result:
        """Both ways of a case."""
        self._problems.clear()
        for client, request_before in case.before:
            self._send_before(client, request_before(self.senders(client)), case.to)
        request = case.request(self.senders(case.client))
        bridge = self._send(case, request, case.to, bridged=True)
        tunnel = None
        if case.tunnel is not None:
            tunnel = self._send(case, request, case.tunnel_to, bridged=False)
        found = (*self._problems, *problems(case, bridge, tunnel))
        return Result(case, request, bridge, tunnel, found)

    def senders(self, client: Client) -> Senders:
        """Who sends a case, and whom it may be about."""
        return self._senders[client]

    def _send_before(self, client: Client, request: Request, way: Way) -> None:
        before = len(self._bridge.audit())
        credential = self._clients[client]
        address = self._bridge.addresses[way.port]
        with LabClient(address, way.name, trust=self._pki.root, credential=credential) as sender:
            reply = sender.send(request)
        if reply.status != 200:
            self._problems.append(f"{request.method} before it was answered {reply.status}")
        self._bridge.wait_for_records(before + 1)

    def _send(self, case: Case, request: Request, way: Way, *, bridged: bool) -> Outcome:
        self._site_systems.clear()
        before = len(self._bridge.audit())
        answer, presented = self._answer(case, request, way)
        written = self._bridge.wait_for_records(before + 1)[before:]
        if len(written) != 1:
            self._problems.append(f"{len(written)} audit records in place of one, for {way.name}")
        received = self._site_systems.received()
        if bridged and received:
            self._compare(case, request, received[-1], answer)
        record = written[0] if written else {}
        handshakes = len(self._site_systems.handshakes())
        return outcome(case, Seen(answer, presented, received, handshakes, record, bridged))

    def _answer(
        self, case: Case, request: Request, way: Way
    ) -> tuple[Answer, x509.Certificate | None]:
        address = self._bridge.addresses[way.port]
        if request.plaintext:
            return _plaintext_answer(address, request, way.name), None
        credential = self._clients[case.client]
        client = LabClient(address, way.name, trust=self._pki.root, credential=credential)
        try:
            with client:
                return client.send(request), client.presented
        except (HandshakeRefused, ConnectionEnded) as refused:
            return refused, client.presented
        except ssl.SSLCertVerificationError as refused:
            return ClientRefused(refused.verify_message.rstrip(".")), None

    def _compare(self, case: Case, request: Request, received: Received, answer: object) -> None:
        """What passed the bridge is what was sent, less what had to go."""
        if received.body != (request.body or b""):
            self._problems.append("the body did not arrive byte for byte (BRIDGE-IDENTITY)")
        arrived = field_names(received)
        for name, _ in request.headers:
            if (name in arrived) == (name in case.dropped):
                self._problems.append(f"{name} should {'not ' * (name in arrived)}have arrived")
        if isinstance(answer, Reply) and answer.status == 206:
            first, last = RANGE
            if answer.body != content(first, last + 1):
                self._problems.append("the bytes of the range are not those that were asked for")


def _plaintext_answer(address: tuple[str, int], request: Request, name: str) -> Answer:
    # Only the end of the connection says that the answer is whole.
    headers = (*request.headers, ("Connection", "close"))
    sent = request_bytes(request.method, request.target, headers, request.body, name)
    status_line = plaintext_request(address, sent).split(b"\r\n")[0].decode("latin-1")
    try:
        _, status, reason = status_line.split(" ", 2)
        return Reply(int(status), reason, (), b"")
    except ValueError:
        return ConnectionEnded("no answer")
