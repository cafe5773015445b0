"""`ibcm-bridge check --connect`: connects to the site systems of a policy.

For each site system of a publication:

1. Connect, do the TLS handshake and verify, with the contexts and names that bridging uses.
2. For each directory of its role, send HEAD for a nonexistent file on a separate connection. IIS
   requests a certificate per directory, and may do so only at this point (protocol.md §9). Whatever
   the response is, it shows whether IIS accepted the certificate.

Nothing is retried. Each connection has `SECONDS`. After its first failure, a site system gets no
further request.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from OpenSSL import SSL

from ibcm_bridge.addons.engines.clamav import ClamAvEngine, daemon_address
from ibcm_bridge.addons.tls import site_system_leg
from ibcm_bridge.addons.tls.current_trust import CurrentTrust
from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.inspection.engines import EngineError
from ibcm_bridge.os_errors import not_connected
from ibcm_bridge.policy.addresses import Address, address_text
from ibcm_bridge.policy.policy import ClamAv, Policy
from ibcm_bridge.policy.publications import (
    BridgePublication,
    TunnelPublication,
)
from ibcm_bridge.policy.site_systems import SiteSystem
from ibcm_bridge.request.head import RequestHead, read_request_head
from ibcm_bridge.site_system_leg.origination import certificate_rejected, not_negotiated
from ibcm_bridge.site_system_leg.response_reader import next_response, response_reader

SECONDS = 10.0
"""For one connection: connect, handshake and response."""

NONEXISTENT_FILE = "ibcm-bridge-check"

_REQUIREMENT = "BRIDGE-TERMINATE"

_STATUS_FINDINGS = {
    401: (Level.FACT, "accepted the bridge's client certificate; requires Windows authentication"),
    403: (Level.PROBLEM, "refused the bridge's client certificate"),
}
"""IIS refuses a certificate with 403; its substatus (403.7, 403.13, 403.16 or 403.17) is only in
the log of IIS. For a nonexistent file the status is 404."""


_CLOSED = "closed the connection without a response"


class _Failed(Exception):
    """A failed step, in words for the operator."""


@dataclass
class _Connection:
    """A connection to a verified site system."""

    socket: socket.socket
    tls: SSL.Connection
    deadline: float
    certificate_requests: list[bool]
    """Not empty once the site system has requested a certificate."""


def check_connections(policy: Policy, seconds: float = SECONDS) -> Iterator[Finding]:
    """All findings, in the order of the policy; ClamAV's daemon comes last."""
    for at, publication in policy.publications():
        here = f"{address_text(at)}: {publication.name}"
        if isinstance(publication, TunnelPublication):
            for address in publication.site_systems:
                yield _reachable(here, address, seconds, "TUNNEL-PASS")
        elif isinstance(publication, BridgePublication):
            yield from _check_bridge(here, publication, seconds)
        else:
            addresses = {
                site_system.address: None
                for role in publication.directories.values()
                for site_system in role.site_systems.listed
            }
            for address in addresses:
                yield _reachable(here, address, seconds)
    if policy.clamav is not None:
        yield _clamav(policy.clamav)


def _clamav(settings: ClamAv) -> Finding:
    where = f"engines.clamav: {daemon_address(settings)}"
    try:
        return Finding(Level.FACT, where, ClamAvEngine(settings).version())
    except EngineError as error:
        text = f"no response ({error}); requests with content to scan are refused"
        return Finding(Level.PROBLEM, where, text, "BRIDGE-INSPECT")


def _reachable(here: str, address: Address, seconds: float, requirement: str = "") -> Finding:
    """Tunnels and plain HTTP allow no further check. No requirement is about plain HTTP."""
    try:
        _connect(address, time.monotonic() + seconds).close()
    except _Failed as failed:
        return Finding(Level.PROBLEM, here, str(failed), requirement)
    return Finding(Level.FACT, here, f"{address_text(address)} accepts connections")


def _check_bridge(here: str, publication: BridgePublication, seconds: float) -> Iterator[Finding]:
    directories: dict[SiteSystem, list[str]] = {}
    for directory, role in publication.directories.items():
        resources = role.profile.directories[directory].resources
        # Some directories are listed only with the reason why they are refused.
        if not all(resource.refused for resource in resources):
            for site_system in role.site_systems.listed:
                directories.setdefault(site_system, []).append(directory)
    for site_system, names in directories.items():
        role_names = {publication.directories[name].profile.name for name in names}
        at = f"{site_system.name} ({address_text(site_system.address)})"
        where = f"{here}: {', '.join(sorted(role_names))}: {at}"
        try:
            yield _verified(where, publication, site_system, seconds)
            for name in names:
                yield _head_finding(where, publication, site_system, name, seconds)
        except _Failed as failed:
            yield Finding(Level.PROBLEM, where, str(failed), _REQUIREMENT)


def _verified(
    where: str, publication: BridgePublication, site_system: SiteSystem, seconds: float
) -> Finding:
    with _connected(publication, site_system, seconds) as connection:
        version = connection.tls.get_protocol_version_name()
        text = f"verified as {site_system.verify_name} over {version}: path, dates, revocation"
        return Finding(Level.FACT, where, text)


def _head_finding(
    where: str,
    publication: BridgePublication,
    site_system: SiteSystem,
    directory: str,
    seconds: float,
) -> Finding:
    request = (
        f"HEAD /{directory}/{NONEXISTENT_FILE} HTTP/1.1\r\nHost: {publication.name}\r\n"
        "Connection: close\r\n\r\n"
    ).encode("ascii")
    head = read_request_head(request)
    assert isinstance(head, RequestHead)
    with _connected(publication, site_system, seconds) as connection:
        at_once = bool(connection.certificate_requests)
        status = _head_status(connection, head, site_system)
        when = _request_time(at_once, bool(connection.certificate_requests))
    level, text = _STATUS_FINDINGS.get(
        status, (Level.FACT, "accepted the bridge's client certificate")
    )
    if status >= 500:
        level, text = Level.WARNING, "returned a server error"
    elif not when:
        level, text = Level.WARNING, "requested no client certificate"
    late = f"; certificate requested {when}" if when else ""
    return Finding(level, where, f"/{directory}: {text}{late} (HEAD: {status})")


def _request_time(at_once: bool, requested: bool) -> str:
    if at_once:
        return "in the handshake"
    return "after the request" if requested else ""


def _head_status(connection: _Connection, head: RequestHead, site_system: SiteSystem) -> int:
    _drive(connection, lambda: connection.tls.sendall(head.to_bytes()))
    reader = response_reader(head, b"")
    while (response := next_response(reader)) is None:
        try:
            reader.receive_data(_drive(connection, lambda: connection.tls.recv(65_535)))
        except _Failed as failed:
            alert = site_system_leg.alert_received(connection.tls)
            refused = certificate_rejected(site_system.name, alert)
            raise (_Failed(refused.detail) if refused is not None else failed) from None
    if isinstance(response, Deny):
        raise _Failed(f"sent an invalid response: {response.detail}")
    return response.status


@contextlib.contextmanager
def _connected(
    publication: BridgePublication, site_system: SiteSystem, seconds: float
) -> Iterator[_Connection]:
    """Connect, do the handshake, and verify."""
    deadline = time.monotonic() + seconds
    certificate_requests: list[bool] = []

    def note(connection: SSL.Connection, where: int, value: int) -> None:
        site_system_leg.record_alert_received(connection, where, value)
        if where & SSL.SSL_CB_LOOP and b"certificate request" in connection.get_state_string():
            certificate_requests.append(True)

    context = site_system_leg.site_system_leg_context(
        publication.site_system_credential,
        CurrentTrust(publication.site_system_trust),
        site_system.tls,
    )
    context.set_info_callback(note)
    tls = SSL.Connection(context, None)
    site_system_leg.expect_name(tls, site_system.name, site_system.verify_name)
    tls.set_connect_state()
    with _connect(site_system.address, deadline) as plain:
        connection = _Connection(plain, tls, deadline, certificate_requests)
        try:
            _drive(connection, tls.do_handshake)
        except _Failed as failed:
            raise _Failed(_why_no_handshake(tls, site_system, failed)) from None
        yield connection


def _why_no_handshake(tls: SSL.Connection, site_system: SiteSystem, failed: _Failed) -> str:
    refused = certificate_rejected(site_system.name, site_system_leg.alert_received(tls))
    if refused is not None:
        return refused.detail
    failure = site_system_leg.verification_failure(tls)
    if failure is not None:
        return f"cannot be verified as {site_system.verify_name}: {failure}"
    alert = site_system_leg.alert_received(tls)
    if (negotiated := not_negotiated(alert, site_system.tls)) is not None:
        return negotiated
    return f"sent the TLS alert {alert}" if alert else f"{failed} (in the handshake)"


def _connect(address: Address, deadline: float) -> socket.socket:
    try:
        return socket.create_connection(address, max(0.001, deadline - time.monotonic()))
    except TimeoutError:
        raise _Failed(f"connection to {address_text(address)} timed out") from None
    except OSError as error:
        raise _Failed(not_connected(str(error), address)) from None


def _drive[Result](connection: _Connection, step: Callable[[], Result]) -> Result:
    """Run a step of OpenSSL to its end, and move its bytes to and from the socket."""
    try:
        while True:
            try:
                result = step()
            except SSL.WantReadError:
                _send(connection)
                _receive(connection)
            except SSL.Error as error:
                # OpenSSL may have written an alert.
                with contextlib.suppress(OSError):
                    _send(connection)
                raise _Failed(_openssl(error)) from None
            else:
                _send(connection)
                return result
    except TimeoutError:
        raise _Failed("did not respond in time") from None
    except OSError as error:
        raise _Failed(f"connection failed: {error.strerror or error}") from None


def _openssl(error: SSL.Error) -> str:
    if isinstance(error, SSL.ZeroReturnError):
        return _CLOSED
    reasons = "; ".join(str(entry[-1]) for entry in error.args[0]) if error.args else ""
    return f"TLS error: {reasons}" if reasons else "TLS error"


def _send(connection: _Connection) -> None:
    with contextlib.suppress(SSL.WantReadError):
        while data := connection.tls.bio_read(65_535):
            connection.socket.settimeout(_remaining(connection))
            connection.socket.sendall(data)


def _receive(connection: _Connection) -> None:
    connection.socket.settimeout(_remaining(connection))
    data = connection.socket.recv(65_535)
    if not data:
        raise _Failed(_CLOSED)
    connection.tls.bio_write(data)


def _remaining(connection: _Connection) -> float:
    remaining = connection.deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining
