"""One client of ConfigMgr: where it is, what it knows, and what it does next.

1. It takes the steps of `life_cycle`. Who gets a request goes by its directory, and by what the
   client knows by then.
2. What it has picked it keeps, until it moves to another network: then it looks again, in the
   intranet first if it was installed so (CLIENT-MODE).
3. What it does is told as it goes, one `ActionResult` for each thing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random

from ibcm_bridge.lab.clients.device import Device, fallback_status
from ibcm_bridge.lab.clients.life_cycle import (
    CONTENT_LOCATION,
    FILE,
    UPDATE_LOCATION,
    UPDATE_POINT,
    Send,
    Step,
    run_steps,
)
from ibcm_bridge.lab.clients.update_scan import SCAN
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol import wsus
from ibcm_bridge.lab.protocol.client import Request, Response
from ibcm_bridge.lab.simulated.connections import NO_ANSWER, Connections
from ibcm_bridge.lab.simulated.download import AGENT, Download, DownloadError
from ibcm_bridge.lab.simulated.installation import Installation
from ibcm_bridge.lab.simulated.network import HTTP, Host, Network
from ibcm_bridge.lab.simulated.site_system_selection import SiteSystemSelection
from ibcm_bridge.lab.simulated.update_file import UpdateFile, UrlLocation


class Result(StrEnum):
    """What became of something."""

    GOOD = "good"
    FELL_BACK = "fell back"
    FAILED = "failed"


@dataclass(frozen=True)
class ActionResult:
    """A thing that a client did."""

    network: str
    site_system: str
    """The name it went to; empty where there was none to go to."""
    what: str
    answer: str
    result: Result
    seconds: float
    """From the request to the end of its answer."""


class SimulatedClient:
    """To be closed in the end. `random` is what it picks site systems with."""

    def __init__(
        self,
        device: Device,
        credential: LabCredential,
        installed: Installation,
        network: Network,
        random: Random,
    ) -> None:
        self.installed = installed
        self.known = installed.knows
        self.device = replace(device, internet_flag=installed.flag)
        self._credential = credential
        self._random = random
        self._attach(network)

    def move(self, network: Network) -> None:
        """Be somewhere else: all connections end, and what was picked is forgotten."""
        self.close()
        self.known = self.known.for_another_network()
        self._attach(network)

    def close(self) -> None:
        """End all connections."""
        self._connections.close()
        self._updates.connections.close()

    @property
    def network(self) -> Network:
        """Where it is."""
        return self._connections.network

    def _attach(self, network: Network) -> None:
        self.device = replace(self.device, on_internet=network.on_internet)
        self._connections = Connections(network, self._credential)
        self._updates = _UpdateAgent(Connections(network, None))
        self._selection = SiteSystemSelection(
            self.installed.mode, self._random, self._connections.reached
        )
        self._last, self._seconds = "", 0.0

    # What it does

    def take(self, *steps: Step) -> Iterator[ActionResult]:
        """These steps, as long as the answers are good."""
        return self._take(steps, self.send)

    def fallback(self, state: int) -> ActionResult:
        """Say how it is to a fallback status point."""
        return self._perform(
            "state, to the fallback status point", lambda: self._report_fallback_status(state)
        )

    def download(
        self, download: Download, goes_on: Callable[[int], bool] = lambda _: True
    ) -> Iterator[ActionResult]:
        """A file, from a distribution point of where it is, until `goes_on` says no."""
        yield from self.take(CONTENT_LOCATION)

        def get() -> str:
            host = self._distribution_point()
            download.go_on(self._connections.to(host), FILE, goes_on)
            return f"{download.position:,} of {download.size or 0:,} bytes"

        began = f"from byte {download.position:,}" if download.position else "from its beginning"
        yield self._perform(f"download, {began}", get)

    def compare(self, download: Download) -> ActionResult:
        """Get the same file in one piece, and see whether it is the same."""

        def get() -> str:
            connection = self._connections.to(self._distribution_point())
            response, digest, _length = connection.download(FILE, (AGENT,))
            _accepted(response)
            if digest != download.sha256:
                raise DownloadError(f"SHA-256 is {digest}, and of the parts {download.sha256}")
            return f"SHA-256 of both is {digest}"

        return self._perform("the whole file once more, to compare", get)

    def update(self) -> Iterator[ActionResult]:
        """A scan, and the file of an update (CLIENT-UPDATES)."""
        yield from self.take(UPDATE_POINT)
        if self.known.update_point:
            self._updates.location = UrlLocation.of(self.known.update_point)
            yield from self._take(SCAN, self._send_scan)
        if (file := self._updates.file) is None:
            return
        # Only over the Internet: inside, content is the site's affair.
        if self.network.on_internet:
            download = self._from_microsoft_update(file)
            yield download
            if download.result is Result.GOOD:
                return
        yield from self.take(UPDATE_LOCATION)
        yield self._perform("update, from a distribution point", lambda: self._from_content(file))

    # How it does it

    def send(self, request: Request) -> Response:
        """Send a request to whom it is for. One of NO_ANSWER where it has no answer."""
        self._last, self._seconds = "", 0.0
        host = self._selection.host(request.target, self.known)
        try:
            response = self._timed(host, lambda: self._connections.send(host, request))
        except NO_ANSWER:
            self._selection.forget(host)
            raise
        if request.method == "CCM_POST":
            self.known = self.known.updated_by(response)
        return response

    def _send_scan(self, request: Request) -> Response:
        return self._timed(self._updates.location.host, lambda: self._updates.send(request))

    def _timed(self, host: Host, send: Callable[[], Response]) -> Response:
        self._last, began = host[0], time.perf_counter()
        try:
            return send()
        finally:
            self._seconds = time.perf_counter() - began

    def _take(self, steps: tuple[Step, ...], send: Send) -> Iterator[ActionResult]:
        taken = 0
        try:
            for step_result in run_steps(send, self.device, steps):
                taken += 1
                self.device = step_result.device
                result = Result.GOOD if step_result.good else Result.FAILED
                yield self._action_result(
                    step_result.step.name, _status_line(step_result.response), result
                )
        except NO_ANSWER as why:
            yield self._action_result(steps[taken].name, _error_text(why), Result.FAILED)

    def _perform(
        self, what: str, act: Callable[[], str], otherwise: Result = Result.FAILED
    ) -> ActionResult:
        self._last, began = "", time.perf_counter()
        try:
            answer, result = act(), Result.GOOD
        except (*NO_ANSWER, DownloadError) as why:
            answer, result = _error_text(why), otherwise
        self._seconds = time.perf_counter() - began
        return self._action_result(what, answer, result)

    def _action_result(self, what: str, answer: str, result: Result) -> ActionResult:
        return ActionResult(self.network.name, self._last, what, answer, result, self._seconds)

    def _distribution_point(self) -> Host:
        host = self._selection.distribution_point(self.known)
        self._last = host[0]
        return host

    def _report_fallback_status(self, state: int) -> str:
        request = fallback_status(self.device.guid, state=state)
        host = (self.known.fallback_status_point, HTTP)
        self._last = host[0]
        return _accepted(self._connections.send(host, request))

    def _from_microsoft_update(self, file: UpdateFile) -> ActionResult:
        def get() -> str:
            self._last = file.location.host[0]
            request = Request("GET", file.location.target, (AGENT,), plaintext=True)
            return _check_file(file, self._connections.send(file.location.host, request))

        return self._perform("update, from Microsoft Update", get, Result.FELL_BACK)

    def _from_content(self, file: UpdateFile) -> str:
        host = self._distribution_point()
        target = f"/SMS_DP_SMSPKG$/{wsus.CONTENT}/sccm?/{wsus.NAME}"
        return _check_file(file, self._connections.send(host, Request("GET", target, (AGENT,))))


def _status_line(response: Response) -> str:
    return f"{response.status} {response.reason}"


def _error_text(why: Exception) -> str:
    return str(why) or type(why).__name__


def _accepted(response: Response) -> str:
    if response.status != 200:
        raise DownloadError(f"it was answered {_status_line(response)}")
    return _status_line(response)


def _check_file(file: UpdateFile, response: Response) -> str:
    answer = _accepted(response)
    if not file.is_it(response.body):
        raise DownloadError(f"{len(response.body):,} bytes of another file")
    return f"{answer}, {len(response.body):,} bytes with the digest of the scan"


class _UpdateAgent:
    """Windows Update's agent: shows no certificate (protocol.md 8.2)."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.location = UrlLocation(("", 0), "")
        self.file: UpdateFile | None = None
        """What a scan has found."""

    def send(self, request: Request) -> Response:
        response = self.connections.send(self.location.host, request)
        self.file = UpdateFile.of(response) or self.file
        return response
