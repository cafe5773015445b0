"""Publications: one row for each mode."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ibcm_bridge.policy_file.rows.roles import PlaintextRoleRow, RoleRow
from ibcm_bridge.policy_file.rows.trust import CertificateRow, ClientsRow, SiteSystemsRow
from ibcm_bridge.policy_file.rows.values import (
    Because,
    HostName,
    HostPort,
    Port,
    Row,
    optional,
    required,
)

_NAME = "the Internet FQDN; clients send it as server name (SNI) and in Host"
_LISTEN = 'address:port, such as 0.0.0.0:443 or "[::]:443"'
_PUBLIC_PORT = "the port that clients connect to, if a firewall forwards it to the port in listen"
_WITHOUT_SNI = "serve clients that send no server name (SNI)"
_UNLISTED = "for a header field that the role does not list: drop it, or refuse the request"


class BridgeRow(Row):
    """SSL bridging to SSL for one Internet FQDN on one listener."""

    name: HostName = required(_NAME)
    mode: Literal["bridge"]
    listen: HostPort = required(_LISTEN)
    public_port: Port | None = Field(default=None, description=_PUBLIC_PORT)
    without_sni: bool = Field(default=False, description=_WITHOUT_SNI)
    certificate: CertificateRow = required(
        "server certificate for clients: serverAuth, the Internet FQDN in its subjectAltName"
    )
    clients: ClientsRow = required("accepted client certificates")
    site_systems: SiteSystemsRow = required(
        "client certificate for site systems, and their authorities"
    )
    roles: dict[str, RoleRow] = required("site system roles, by name", min_length=1)
    unlisted_headers: Literal["drop", "refuse"] = Field(default="drop", description=_UNLISTED)
    upload_hosts: Literal["drop", "rewrite"] = optional(
        "drop", "drop or rewrite the site system's own name in BITS-Host-Id and BITS-Reply-URL"
    )


class TunnelRow(Row):
    """SSL tunneling: forwards TLS unread. `roles` is documentation; the bridge cannot verify it."""

    name: HostName = required(_NAME)
    mode: Literal["tunnel"]
    listen: HostPort = required(_LISTEN)
    public_port: Port | None = Field(default=None, description=_PUBLIC_PORT)
    without_sni: bool = Field(default=False, description=_WITHOUT_SNI)
    site_system: HostPort = required("address:port of the site system")
    roles: list[str] = Field(default=[], description="the tunneled roles; documentation only")


class PlaintextRow(Row):
    """HTTP on both legs, for a role that supports only HTTP."""

    name: HostName = required("the Internet FQDN; clients send it in Host")
    mode: Literal["plaintext"]
    listen: HostPort = required(_LISTEN)
    public_port: Port | None = Field(default=None, description=_PUBLIC_PORT)
    because: Because
    roles: dict[str, PlaintextRoleRow] = required("site system roles, by name", min_length=1)
    unlisted_headers: Literal["drop", "refuse"] = Field(default="drop", description=_UNLISTED)


PublicationRow = Annotated[BridgeRow | TunnelRow | PlaintextRow, Field(discriminator="mode")]
