"""A case of the demonstration: something good or bad, and what must become of it.

A case is data; `table` has them all. `bridge` is what the requirement demands of the bridge;
`tunnel` says how far the same thing gets through a tunnel, which cannot look inside and so has no
opinion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ibcm_bridge.lab.cases.requests import MakeRequest, Senders
from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.site_systems.published import BRIDGED, TLS_PORT, TUNNELED
from ibcm_bridge.lab.site_systems.registrations import client_guid


class Disposition(StrEnum):
    """How far something got."""

    ANSWERED = "answered by the site system"
    REFUSED_THERE = "refused by the site system"
    REFUSED_BY_CLIENT = "refused by the client"
    REFUSED_BY_PROXY = "refused by the proxy"
    ANSWER_REFUSED = "answered, and the answer refused by the proxy"


class ClientCertificate(StrEnum):
    """With which certificate a client comes."""

    COMPUTER = "a computer certificate"
    OTHER = "another computer's certificate"
    USER = "a user certificate"
    REVOKED = "a revoked certificate"
    FOREIGN = "another organization's certificate"
    NO_PURPOSE = "a certificate without extKeyUsage"
    NOBODY = "no certificate"


@dataclass(frozen=True)
class Expected:
    """What the bridge must do: how far, and the status or else the alert the client gets."""

    disposition: Disposition
    status: int | None = None
    alert: str | None = None


OK = Expected(Disposition.ANSWERED, 200)


def refused(status: int) -> Expected:
    """By the bridge, with this status."""
    return Expected(Disposition.REFUSED_BY_PROXY, status)


def alert(name: str) -> Expected:
    """By the bridge, in the handshake."""
    return Expected(Disposition.REFUSED_BY_PROXY, alert=name)


@dataclass(frozen=True)
class Destination:
    """Where something is sent: a server name, and a port of the shipped policy."""

    name: str
    port: int = TLS_PORT


BRIDGE = Destination(BRIDGED)
MP_TUNNEL = Destination(TUNNELED["management-point"])
DP_TUNNEL = Destination(TUNNELED["distribution-point"])


@dataclass(frozen=True)
class Case:
    """One row of the demonstration."""

    id: str
    title: str
    requirement: str
    lesson: str
    request: MakeRequest
    bridge: Expected
    tunnel: Disposition | None = Disposition.ANSWERED
    """None where there is no way to tunnel it."""
    client: ClientCertificate = ClientCertificate.COMPUTER
    to: Destination = BRIDGE
    tunnel_to: Destination = MP_TUNNEL
    before: tuple[tuple[ClientCertificate, MakeRequest], ...] = ()
    """What clients have sent to the bridge before, and got an answer to."""
    leading: tuple[tuple[ClientCertificate, MakeRequest], ...] = ()
    """What is sent first, each way for itself; the request is of the upload session it began."""
    withdraws: bool = False
    """Whether the bridge has the site system throw away what it has."""
    dropped: tuple[str, ...] = ()
    """Fields that the bridge must take out on the way."""
    also: tuple[str, ...] = ()
    """Other requirements that it shows."""
    meant_for_tunnel: bool = False
    """Whether the tunnel is the right way for it."""


def senders(
    credentials: Mapping[ClientCertificate, LabCredential | None],
) -> dict[ClientCertificate, Senders]:
    """The clients of ConfigMgr behind those certificates, as a site knows them."""
    devices = {
        client: Device.of(credential, _COMPUTERS.get(client, "")).known_as(
            client_guid(credential.certificate)
        )
        for client, credential in credentials.items()
        if credential is not None
    }
    # Who shows no certificate may still have the computer's key.
    devices[ClientCertificate.NOBODY] = devices[ClientCertificate.COMPUTER]
    return {
        certificate: Senders(devices[certificate], devices[ClientCertificate.OTHER])
        for certificate in devices
    }


_COMPUTERS = {
    ClientCertificate.COMPUTER: "pc1.corp.example",
    ClientCertificate.OTHER: "pc3.corp.example",
}


def credentials(pki: LabPki) -> dict[ClientCertificate, LabCredential | None]:
    """The certificates that the cases use."""
    return {
        ClientCertificate.COMPUTER: pki.computer(_COMPUTERS[ClientCertificate.COMPUTER]),
        ClientCertificate.OTHER: pki.computer(_COMPUTERS[ClientCertificate.OTHER]),
        ClientCertificate.USER: pki.user("alice@corp.example"),
        ClientCertificate.REVOKED: pki.revoked_computer("pc2.corp.example"),
        ClientCertificate.FOREIGN: pki.foreign_computer("pc5.corp.example"),
        ClientCertificate.NO_PURPOSE: pki.without_purpose("pc6.corp.example"),
        ClientCertificate.NOBODY: None,
    }
