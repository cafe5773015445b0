"""One simulated ConfigMgr client.

1. It runs the steps of `life_cycle`. The directory of a request and the known site systems
   determine its destination.
2. It keeps a selected site system until it moves to another network. Then it selects again, with
   the intranet first if it was installed that way (CLIENT-MODE).
3. It yields one `ActionResult` for each action.
"""

from __future__ import annotations

import re
import ssl
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
from ibcm_bridge.lab.simulated.connections import CONNECTION_ERRORS, Connections
from ibcm_bridge.lab.simulated.download import AGENT, Download, DownloadError
from ibcm_bridge.lab.simulated.failure import Cause, Failure, cause_of, failure_of
from ibcm_bridge.lab.simulated.installation import Installation, Mode
from ibcm_bridge.lab.simulated.known_site_systems import KnownSiteSystems
from ibcm_bridge.lab.simulated.network import HTTP, HTTPS, Host, Network
from ibcm_bridge.lab.simulated.site_system_selection import SiteSystemSelection
from ibcm_bridge.lab.simulated.update_file import UpdateFile, UrlLocation


class Result(StrEnum):
    """The result of an action."""

    GOOD = "good"
    FELL_BACK = "fell back"
    AS_REQUIRED = "not successful, as required"
    FAILED = "failed"


@dataclass(frozen=True)
class ActionResult:
    """An action of a client, with its result."""

    network: str
    site_system: str
    """The name of the site system; empty if none was reached."""
    action: str
    response: str
    result: Result
    seconds: float
    """From the request to the end of its response."""
    text: str = ""
    """The text of the response, if the action failed."""
    cause: Cause | None = None
    """Why it failed, as a value."""
    reference: str = ""
    """The reference in a refusal of the bridge, which the audit record has too."""

    def failed_by(self, response: Response) -> ActionResult:
        """Return this action as a failure because of its response."""
        text = _text(response)
        found = re.search(r"\bReference: ([0-9a-f]{12})$", text)
        return replace(
            self,
            result=Result.FAILED,
            text=text,
            cause=cause_of(response),
            reference=found[1] if found else "",
        )

    def failed_for(self, why: Exception) -> ActionResult:
        """Return this action as a failure without a response."""
        return replace(self, result=Result.FAILED, cause=failure_of(why))


class SimulatedClient:
    """The caller must close it. `random` selects the site systems."""

    known: KnownSiteSystems
    """The site systems of its installation and of replies."""

    def __init__(
        self,
        device: Device,
        credential: LabCredential,
        installed: Installation,
        network: Network,
        random: Random,
    ) -> None:
        self.credential = credential
        """The certificate that it presents."""
        self._random = random
        self._use(installed, device)
        self._attach(network)

    def install(self, installed: Installation) -> None:
        """Install the client again, on the same computer. It must register again."""
        self.close()
        self._use(installed, replace(self.device, guid="", session="", cookie=""))
        self._attach(self.network)

    def move(self, network: Network) -> None:
        """Move to another network: close all connections, and forget the selected site systems."""
        self.close()
        self.known = self.known.for_another_network()
        self._attach(network)

    def close(self) -> None:
        """Close all connections."""
        self._connections.close()
        self._updates.connections.close()

    def management_point(self) -> Host:
        """Return the selected management point. Unreachable if there is none."""
        return self._selection.host("/ccm_system/request", self.known)

    def _use(self, installed: Installation, device: Device) -> None:
        self.installed = installed
        self.known = installed.knows
        self.device = replace(device, internet_flag=installed.flag, site=installed.site)
        self._update_file: UpdateFile | None = None
        """The file that a scan found; the client still knows it in another network."""

    def _attach(self, network: Network) -> None:
        self.network = network
        # A mobile device needs a direct connection (CLIENT-CONNECTION).
        reached = network.direct() if self.installed.is_mobile else network
        # An Internet-only client never takes itself for one of the intranet (CLIENT-MODE).
        outside = network.on_internet or self.installed.mode is Mode.INTERNET_ONLY
        self.device = replace(self.device, on_internet=outside)
        self._connections = Connections(reached, self.credential)
        self._updates = _UpdateAgent(Connections(reached, None))
        self._selection = SiteSystemSelection(
            self.installed.mode, self._random, self._connections.why_not
        )
        self._last, self._seconds = "", 0.0

    # Actions

    def run(self, *steps: Step) -> Iterator[ActionResult]:
        """Run these steps until a response is not good."""
        return self._run(steps, self.send)

    def attempt(self, action: str, request: Request) -> ActionResult:
        """Send a request; GOOD if the response is successful."""
        try:
            response = self.send(request)
        except CONNECTION_ERRORS as why:
            return self._action_result(action, _error_text(why)).failed_for(why)
        return self._responded(action, response, good=response.status < 400)

    def connect(self, name: str) -> ActionResult:
        """Open a TLS connection to a name, without a request."""

        def open_connection() -> str:
            self._last = name
            return str(self._connections.to((name, HTTPS)).connect().version())

        return self._perform("TLS connection", open_connection)

    def resolve(self, name: str) -> ActionResult:
        """Resolve a name with the DNS resolver of the network."""

        def get() -> str:
            self._last = name
            return self.network.resolve(name)

        return self._perform("name resolution", get)

    def fallback(self, state: int) -> ActionResult:
        """Send a state message to the fallback status point."""
        return self._perform(
            "state to the fallback status point", lambda: self._report_fallback_status(state)
        )

    def download(
        self, download: Download, proceed: Callable[[int], bool] = lambda _: True
    ) -> Iterator[ActionResult]:
        """Download a file from a distribution point while `proceed(position)` returns True."""
        yield from self.run(CONTENT_LOCATION)

        def get() -> str:
            host = self._distribution_point()
            download.resume(self._connections.to(host), FILE, proceed)
            return f"{download.position:,} of {download.size or 0:,} bytes"

        began = f"from byte {download.position:,}" if download.position else "from the beginning"
        yield self._perform(f"download, {began}", get)

    def compare(self, download: Download) -> ActionResult:
        """Download the same file without ranges, and compare the digests."""

        def get() -> str:
            connection = self._connections.to(self._distribution_point())
            response, digest, _length = connection.download(FILE, (AGENT,))
            _accepted(response)
            if digest != download.sha256:
                raise DownloadError(f"SHA-256 is {digest}, but {download.sha256} for the ranges")
            return f"same SHA-256: {digest}"

        return self._perform("whole file, to compare", get)

    def update(self) -> Iterator[ActionResult]:
        """Scan for updates, and download the file of an update (CLIENT-UPDATES)."""
        yield from self.run(UPDATE_POINT)
        if self.known.update_point:
            self._updates.location = UrlLocation.of(self.known.update_point)
            yield from self._run(SCAN, self._send_scan)
            self._update_file = self._updates.file or self._update_file
        if (file := self._update_file) is None:
            return
        if self._tries_microsoft_update:
            download = self._from_microsoft_update(file)
            yield download
            if download.result is Result.GOOD:
                return
        for located in self.run(UPDATE_LOCATION):
            yield located
            if located.result is Result.FAILED:
                return
        yield self._perform("update from a distribution point", lambda: self._from_content(file))

    # Internals

    @property
    def _tries_microsoft_update(self) -> bool:
        """Only on the Internet, and only if set up for it (CLIENT-UPDATES).

        On the intranet, the site distributes content.
        """
        return self.device.on_internet and self.installed.mode is not Mode.INTRANET_ONLY

    def send(self, request: Request) -> Response:
        """Send a request to its site system. Raises one of CONNECTION_ERRORS."""
        self._last, self._seconds = "", 0.0
        host = self._selection.host(request.target, self.known)
        try:
            response = self._timed(host, lambda: self._connections.send(host, request))
        except CONNECTION_ERRORS:
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

    def _run(self, steps: tuple[Step, ...], send: Send) -> Iterator[ActionResult]:
        completed = 0
        try:
            for step_result in run_steps(send, self.device, steps):
                completed += 1
                self.device = step_result.device
                yield self._responded(
                    step_result.step.name, step_result.response, good=step_result.good
                )
        except CONNECTION_ERRORS as why:
            yield self._action_result(steps[completed].name, _error_text(why)).failed_for(why)

    def _perform(
        self, action: str, act: Callable[[], str], otherwise: Result = Result.FAILED
    ) -> ActionResult:
        self._last, began = "", time.perf_counter()
        cause: Failure | None = None
        try:
            response, result = act(), Result.GOOD
        except DownloadError as why:
            response, result, cause = _error_text(why), otherwise, Failure.OTHER_RESPONSE
        except CONNECTION_ERRORS as why:
            response, result, cause = _error_text(why), otherwise, failure_of(why)
        self._seconds = time.perf_counter() - began
        return replace(self._action_result(action, response), result=result, cause=cause)

    def _responded(self, action: str, response: Response, *, good: bool) -> ActionResult:
        result = self._action_result(action, _status_line(response))
        return result if good else result.failed_by(response)

    def _action_result(self, action: str, response: str) -> ActionResult:
        place = self.network.name, self._last
        return ActionResult(*place, action, response, Result.GOOD, self._seconds)

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

        return self._perform("update from Microsoft Update", get, Result.FELL_BACK)

    def _from_content(self, file: UpdateFile) -> str:
        host = self._distribution_point()
        target = f"/SMS_DP_SMSPKG$/{wsus.CONTENT}/sccm?/{wsus.NAME}"
        return _check_file(file, self._connections.send(host, Request("GET", target, (AGENT,))))


def _status_line(response: Response) -> str:
    return f"{response.status} {response.reason}"


def _text(response: Response) -> str:
    """Return the text of a response in one line, with a mark where a line has none at its end."""
    lines = (" ".join(line.split()) for line in response.text.splitlines())
    return re.sub(r"(?<![.:;,])\n", "; ", "\n".join(filter(None, lines))).replace("\n", " ")


def _error_text(why: Exception) -> str:
    if isinstance(why, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {why.verify_message.rstrip('.')}"
    # OpenSSL's own words, without the name of its library and the line in Python's source.
    return _PYTHON_SSL.sub("", str(why)) or type(why).__name__


_PYTHON_SSL = re.compile(r"^\[SSL[^\]]*\] | \(_ssl\.c:\d+\)$")


def _accepted(response: Response) -> str:
    if response.status != 200:
        text = _text(response)
        raise DownloadError(
            f"the status is {_status_line(response)}" + (f": {text}" if text else "")
        )
    return _status_line(response)


def _check_file(file: UpdateFile, response: Response) -> str:
    status = _accepted(response)
    if not file.matches(response.body):
        raise DownloadError(f"{len(response.body):,} bytes with another digest")
    return f"{status}, {len(response.body):,} bytes with the digest from the scan"


class _UpdateAgent:
    """Windows Update Agent; it presents no certificate (protocol.md 8.2)."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.location = UrlLocation(("", 0), "")
        self.file: UpdateFile | None = None
        """The update file that a scan found."""

    def send(self, request: Request) -> Response:
        response = self.connections.send(self.location.host, request)
        self.file = UpdateFile.of(response) or self.file
        return response
