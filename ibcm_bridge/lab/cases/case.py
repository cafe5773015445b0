"""A case of the demo: a request, valid or malicious, and its expected outcome.

A case is data; `table` lists all cases. `bridge` is the outcome that the requirement demands.
`tunnel` is the outcome through a tunnel, which cannot inspect the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.cases.requests import MakeRequest, Senders
from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.site_systems.published import BRIDGED, TLS_PORT, TUNNELED
from ibcm_bridge.lab.site_systems.registrations import client_guid


class Disposition(StrEnum):
    """The outcome of a request on one path."""

    ACCEPTED = "accepted by the site system"
    REFUSED_BY_SITE_SYSTEM = "refused by the site system"
    REFUSED_BY_CLIENT = "refused by the client"
    REFUSED_BY_PROXY = "refused by the proxy"
    RESPONSE_REFUSED = "accepted by the site system, response refused by the proxy"
    NOT_DELIVERED = "not delivered: the site system is down"


class ClientCertificate(StrEnum):
    """The certificate that the client presents."""

    COMPUTER = "a computer certificate"
    OTHER = "another computer's certificate"
    USER = "a user certificate"
    REVOKED = "a revoked certificate"
    FOREIGN = "another organization's certificate"
    NO_PURPOSE = "a certificate without extKeyUsage"
    NONE = "no certificate"


@dataclass(frozen=True)
class Expected:
    """The required outcome: what the client receives, and how the bridge decides.

    A case holds the reason and the rule too: another check can refuse the same request with the
    same status, and would hide that the check in the title of the case is missing.
    """

    disposition: Disposition
    status: int | None = None
    alert: str | None = None
    reason: Reason | None = None
    """The reason of the refusal; None if the bridge allows the request."""
    rule: str = ""
    """The rule that refuses, or that allows the head."""
    client_guid_binding: str | None = None
    """The relation of the client GUID to the certificate; None without a client GUID."""
    signed_with: str | None = None
    """The kind of the key that signed the request; None without a signature."""

    note: str | None = None
    """The note in the audit about the response, if any."""

    @property
    def decision(self) -> dict[str, str | None]:
        """The values of the audit record that tell how the bridge decided."""
        return {
            "reason": self.reason,
            "rule": self.rule,
            "client_guid_binding": self.client_guid_binding,
            "signed_with": self.signed_with,
            "note": self.note,
        }


def accepted(rule: str, status: int = 200, *, signed_with: str | None = None) -> Expected:
    """Expect the bridge to allow the request, and the site system to accept it."""
    return Expected(Disposition.ACCEPTED, status, rule=rule, signed_with=signed_with)


def identified(rule: str) -> Expected:
    """Expect also that the client GUID is bound to the certificate, and that the signature is
    verified with the registered key."""
    expected = accepted(rule, signed_with="registered-key")
    return replace(expected, client_guid_binding="bound")


def refused(status: int, reason: Reason, rule: str) -> Expected:
    """Expect the bridge to refuse the request with this HTTP status."""
    return Expected(Disposition.REFUSED_BY_PROXY, status, None, reason, rule)


def alert(name: str, reason: Reason, rule: str) -> Expected:
    """Expect the bridge to refuse the handshake with this TLS alert."""
    return Expected(Disposition.REFUSED_BY_PROXY, None, name, reason, rule)


def response_refused(reason: Reason, rule: str) -> Expected:
    """Expect the bridge to forward the request, and to refuse the response."""
    return Expected(Disposition.RESPONSE_REFUSED, 502, None, reason, rule)


@dataclass(frozen=True)
class Destination:
    """The destination of a request: a server name, and a port of the shipped policy."""

    name: str
    port: int = TLS_PORT


BRIDGE = Destination(BRIDGED)
MP_TUNNEL = Destination(TUNNELED["management-point"])
DP_TUNNEL = Destination(TUNNELED["distribution-point"])


@dataclass(frozen=True)
class Case:
    """One row of the demo."""

    id: str
    title: str
    requirement: str
    explanation: str
    request: MakeRequest
    bridge: Expected
    tunnel: Disposition | None = Disposition.ACCEPTED
    """None if the request cannot be tunneled."""
    client: ClientCertificate = ClientCertificate.COMPUTER
    to: Destination = BRIDGE
    tunnel_to: Destination = MP_TUNNEL
    before: tuple[tuple[ClientCertificate, MakeRequest], ...] = ()
    """Requests that clients send to the bridge first; each must get a 200."""
    session_requests: tuple[tuple[ClientCertificate, MakeRequest], ...] = ()
    """Requests that begin the upload session of this request, on each path separately."""
    cancels_upload: bool = False
    """True if the bridge cancels the upload session at the site system."""
    dropped: tuple[str, ...] = ()
    """Header fields that the bridge must remove."""
    other_requirements: tuple[str, ...] = ()
    """Other requirements that the case demonstrates."""
    meant_for_tunnel: bool = False
    """True if tunneling is the supported configuration for this request."""


def senders(
    credentials: Mapping[ClientCertificate, LabCredential | None],
) -> dict[ClientCertificate, Senders]:
    """Return the ConfigMgr clients that use these certificates, registered with the site."""
    devices = {
        client: Device.of(credential, _COMPUTERS.get(client, "")).with_guid(
            client_guid(credential.certificate)
        )
        for client, credential in credentials.items()
        if credential is not None
    }
    # A client without a TLS certificate still signs its messages with the computer's key.
    devices[ClientCertificate.NONE] = devices[ClientCertificate.COMPUTER]
    return {
        certificate: Senders(devices[certificate], devices[ClientCertificate.OTHER])
        for certificate in devices
    }


_COMPUTERS = {
    ClientCertificate.COMPUTER: "pc1.corp.example",
    ClientCertificate.OTHER: "pc3.corp.example",
}


def credentials(pki: LabPki) -> dict[ClientCertificate, LabCredential | None]:
    """Return the certificates that the cases use."""
    return {
        ClientCertificate.COMPUTER: pki.computer(_COMPUTERS[ClientCertificate.COMPUTER]),
        ClientCertificate.OTHER: pki.computer(_COMPUTERS[ClientCertificate.OTHER]),
        ClientCertificate.USER: pki.user("alice@corp.example"),
        ClientCertificate.REVOKED: pki.revoked_computer("pc2.corp.example"),
        ClientCertificate.FOREIGN: pki.foreign_computer("pc5.corp.example"),
        ClientCertificate.NO_PURPOSE: pki.without_purpose("pc6.corp.example"),
        ClientCertificate.NONE: None,
    }
