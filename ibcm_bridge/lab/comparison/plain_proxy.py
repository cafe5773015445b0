"""The third path of a case: through a plain reverse proxy with the same policy.

It is nginx with the exported configuration, if nginx is installed. Otherwise, the results are those
of `plain_proxy.json`, which `make comparison` records, and are marked as recorded.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol, Self

from cryptography import x509

from ibcm_bridge.export.proxies import PROXIES, Proxy
from ibcm_bridge.lab.bridge.exported_proxy import ExportedProxy, exported_proxy
from ibcm_bridge.lab.bridge.process import with_site_systems
from ibcm_bridge.lab.cases.case import Case, ClientCertificate, Disposition, senders
from ibcm_bridge.lab.cases.policy import demo_policy
from ibcm_bridge.lab.comparison.comparison import of_session, plaintext_result, send_and_close
from ibcm_bridge.lab.comparison.outcomes import (
    ClientResult,
    Observation,
    PlainResult,
    field_names,
    outcome,
)
from ibcm_bridge.lab.errors import LabError
from ibcm_bridge.lab.namespaces import HERE
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import (
    LabClient,
    Request,
    Response,
)
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.storage.exported_files import find_program

PROXY = PROXIES["nginx"]
RECORDED = "plain_proxy.json"


class PlainPath(Protocol):
    """Gives the result of a case."""

    def result(self, case: Case) -> PlainResult | None:
        """Return the result; None if there is none."""


class RecordedPath:
    """The results of an earlier run."""

    def __init__(self, why: str = "") -> None:
        """`why`: why no proxy runs, for people."""
        self._why = why
        found = json.loads(files(__package__).joinpath(RECORDED).read_text("utf-8"))
        self._proxy: str = found["proxy"]
        self._cases: Mapping[str, dict[str, Any]] = found["cases"]

    def result(self, case: Case) -> PlainResult | None:
        """Return the recorded result."""
        if (found := self._cases.get(case.id)) is None:
            return None
        return PlainResult(
            self._proxy,
            Disposition(found["disposition"]),
            found["client_received"],
            found["dropped_arrived"],
            left_out=found["left_out"],
            recorded=True,
            why_recorded=self._why,
        )


class RunningPath:
    """Sends cases through a running proxy."""

    def __init__(
        self,
        name: str,
        running: ExportedProxy,
        trust: x509.Certificate,
        clients: Mapping[ClientCertificate, LabCredential | None],
        site_systems: SiteSystems,
    ) -> None:
        self._name = name
        self._addresses = running.addresses
        self._left_out = {place.lower() for place in running.export.left_out}
        self._trust = trust
        self._clients = clients
        self._senders = senders(clients)
        self._site_systems = site_systems

    def result(self, case: Case) -> PlainResult | None:
        """Send a case, whose preceding requests took the path of the bridge."""
        session = ""
        for sender, make in case.session_requests:
            packet = of_session(make(self._senders[sender]), session)
            reply = self._send(case, sender, packet)
            if isinstance(reply, Response):
                session = reply.header("BITS-Session-Id") or session
        request = of_session(case.request(self._senders[case.client]), session)
        self._site_systems.clear()
        client_result = self._send(case, case.client, request)
        received = self._site_systems.received()
        handshakes = len(self._site_systems.handshakes())
        seen = Observation(client_result, None, received, handshakes, {}, bridged=True)
        found = outcome(case, seen)
        arrived = {name.lower() for name in field_names(received[-1])} if received else set()
        dropped_arrived = any(name.lower() in arrived for name in case.dropped)
        directory = request.target.lstrip("/").partition("/")[0]
        return PlainResult(
            self._name,
            found.disposition,
            found.client_received,
            dropped_arrived,
            left_out=f"{case.to.name}/{directory}".lower() in self._left_out,
        )

    def _send(self, case: Case, sender: ClientCertificate, request: Request) -> ClientResult:
        address = self._addresses[case.to.port]
        if request.plaintext:
            return plaintext_result(address, request, case.to.name, HERE)
        client = LabClient(
            address, case.to.name, trust=self._trust, credential=self._clients[sender]
        )
        return send_and_close(client, request)


@contextmanager
def plain_path(
    folder: Path,
    trust: x509.Certificate,
    clients: Mapping[ClientCertificate, LabCredential | None],
    site_systems: SiteSystems,
    *,
    must_run: bool = False,
) -> Iterator[PlainPath]:
    """Give the third path: the running proxy if it is installed and starts, or recorded results.

    `folder` has the certificates of the demo's policy. `must_run`: raise LabError instead of using
    recorded results.
    """
    policy = with_site_systems(demo_policy(), site_systems)
    with ExitStack() as stack:
        try:
            running = stack.enter_context(exported_proxy(PROXY, policy, folder))
        except LabError as error:
            if must_run:
                raise
            yield RecordedPath(str(error).partition("\n")[0])
            return
        name = f"{PROXY.name} {version_of(PROXY)}"
        yield RunningPath(name, running, trust, clients, site_systems)


class PathOnDemand:
    """The third path of a lab: it starts the proxy for the first case. A context manager.

    A lab that nobody asks for it starts as fast as without it.
    """

    def __init__(self, path: Callable[[], AbstractContextManager[PlainPath]]) -> None:
        self._make = path
        self._path: PlainPath | None = None
        self._running = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def result(self, case: Case) -> PlainResult | None:
        """Return the result; a recorded one if the proxy does not run, or has ended."""
        if self._path is None:
            self._path = self._running.enter_context(self._make())
        try:
            return self._path.result(case)
        except OSError as error:
            self._path = RecordedPath(f"{PROXY.name} cannot be reached: {error.strerror or error}")
            return self._path.result(case)


def version_of(proxy: Proxy) -> str:
    """Return the version of an installed proxy."""
    program = find_program(proxy.programs)
    assert program is not None
    done = subprocess.run([program, *proxy.version], capture_output=True, text=True, check=True)
    found = re.search(r"[0-9]+\.[0-9]+\.[0-9]+", done.stdout + done.stderr)
    return found[0] if found else "unknown version"


def recorded_text(proxy: str, results: Mapping[str, PlainResult]) -> str:
    """Return the text of the recorded results."""
    cases = {
        name: {
            "disposition": result.disposition.value,
            "client_received": result.client_received,
            "dropped_arrived": result.dropped_arrived,
            "left_out": result.left_out,
        }
        for name, result in results.items()
    }
    return json.dumps({"proxy": proxy, "cases": cases}, indent=1) + "\n"
