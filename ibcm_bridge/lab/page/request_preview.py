"""A preview of a case: its request, and the command lines that send it.

A message is signed when it is created, so a preview is valid for some minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ibcm_bridge.lab.cases.case import Case, ClientCertificate, Destination
from ibcm_bridge.lab.cases.requests import Senders
from ibcm_bridge.lab.comparison import curl, powershell
from ibcm_bridge.lab.page.case_view import sent
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import Request

_SESSION = "Each packet of an upload needs the session id from an earlier response."


@dataclass(frozen=True)
class LabFiles:
    """The files of the lab that a command line needs."""

    directory: Path

    @property
    def root(self) -> Path:
        """The certificate of the lab's root CA."""
        return self.directory / "pki" / "root.pem"

    @property
    def clients(self) -> Path:
        """The folder with the client certificates of the cases."""
        return self.directory / "clients"

    def write(self, clients: Mapping[ClientCertificate, LabCredential | None]) -> None:
        """Create the folders, and write the client certificates."""
        self.clients.mkdir()
        (self.directory / "requests").mkdir()
        for client, credential in clients.items():
            if credential is not None:
                credential.write(self.clients, _name(client))

    def credential(self, client: ClientCertificate) -> Path | None:
        """Return the path of a client's files, without extension; None for no certificate."""
        return None if client is ClientCertificate.NONE else self.clients / _name(client)

    def body(self, name: str, body: bytes | None) -> Path | None:
        """Write a body to a file; return its path."""
        if body is None:
            return None
        path = self.directory / "requests" / f"{name}.body"
        path.write_bytes(body)
        return path

    def fields(self, name: str, request: Request) -> Path | None:
        """Write the header fields of a request to a file; return its path."""
        if not request.headers:
            return None
        path = self.directory / "requests" / f"{name}.fields"
        lines = [f"{field}: {value}\n" for field, value in request.headers]
        path.write_bytes("".join(lines).encode("latin-1"))
        return path


def _name(client: ClientCertificate) -> str:
    return client.name.lower().replace("_", "-")


class RequestPreview:
    """Renders a case without sending it."""

    def __init__(
        self,
        files: LabFiles,
        senders: Mapping[ClientCertificate, Senders],
        addresses: Mapping[int, tuple[str, int]],
        command: tuple[str, ...] = (),
    ) -> None:
        """`command` is the prefix that runs curl in the network namespace of the clients."""
        self._command = command
        self._files = files
        self._senders = senders
        self._addresses = addresses

    def case(self, case: Case) -> dict[str, Any]:
        """Return the request of a case and its command lines. Writes the bodies to files."""
        request = case.request(self._senders[case.client])
        before = [(client, make(self._senders[client])) for client, make in case.before]
        return {
            "sent": sent(request),
            "curl": self._lines(case, request, before, curl.why_not, self.line),
            "powershell": self._lines(case, request, before, powershell.why_not, self.powershell),
        }

    def _lines(
        self,
        case: Case,
        request: Request,
        before: Sequence[tuple[ClientCertificate, Request]],
        why_not: Callable[[Request], str],
        line: Callable[[str, ClientCertificate, Request, Destination], str],
    ) -> dict[str, Any]:
        reasons = [_SESSION] if case.session_requests else []
        reasons += filter(None, (why_not(each) for each in (*(r for _, r in before), request)))
        if reasons:
            return {"unsupported": reasons[0], "bridge": [], "tunnel": []}
        first = [
            line(f"{case.id}-{number}", client, sent_first, case.to)
            for number, (client, sent_first) in enumerate(before, 1)
        ]
        bridge = line(case.id, case.client, request, case.to)
        tunnel = []
        if case.tunnel is not None:
            tunnel = [line(case.id, case.client, request, case.tunnel_to)]
        return {"unsupported": "", "bridge": [*first, bridge], "tunnel": tunnel}

    def line(
        self, name: str, client: ClientCertificate, request: Request, destination: Destination
    ) -> str:
        """Return one curl line; `name` is the name of the body file."""
        context = self._context(client, destination)
        return curl.line(request, destination, context, self._files.body(name, request.body))

    def powershell(
        self, name: str, client: ClientCertificate, request: Request, destination: Destination
    ) -> str:
        """Return one line for PowerShell; `name` is the name of its files."""
        context = self._context(client, destination)
        fields = self._files.fields(name, request)
        body = self._files.body(name, request.body)
        return powershell.line(request, destination, context, fields, body)

    def _context(self, client: ClientCertificate, destination: Destination) -> curl.CurlContext:
        return curl.CurlContext(
            self._addresses[destination.port],
            self._files.root,
            self._files.credential(client),
            self._command,
        )
