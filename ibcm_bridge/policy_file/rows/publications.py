"""What is published: one row for each mode."""

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

_NAME = "the Internet FQDN; clients ask for it by SNI and in Host"
_LISTEN = 'address:port, such as 0.0.0.0:443 or "[::]:443"'
_PUBLIC_PORT = "the port clients connect to, if a firewall forwards another to this one"
_WITHOUT_SNI = "give this publication to clients that send no server name"
_UNLISTED = "what happens to a header field that is not listed: drop it, or refuse the request"


class BridgeRow(Row):
    """SSL bridging to SSL, for one Internet FQDN on one listener."""

    name: HostName = required(_NAME)
    mode: Literal["bridge"]
    listen: HostPort = required(_LISTEN)
    public_port: Port | None = Field(default=None, description=_PUBLIC_PORT)
    without_sni: bool = Field(default=False, description=_WITHOUT_SNI)
    certificate: CertificateRow = required(
        "what clients see: serverAuth, the Internet FQDN in its SAN"
    )
    clients: ClientsRow = required("whom the bridge lets in")
    site_systems: SiteSystemsRow = required("what the bridge presents to site systems")
    roles: dict[str, RoleRow] = required("site system roles, by name", min_length=1)
    unlisted_headers: Literal["drop", "refuse"] = Field(default="drop", description=_UNLISTED)
    upload_hosts: Literal["drop", "rewrite"] = optional(
        "drop", "the site system's own name in BITS-Host-Id and BITS-Reply-URL: drop or rewrite it"
    )


class TunnelRow(Row):
    """SSL tunneling: nothing inside is seen. `roles` is for people: nobody can tell."""

    name: HostName = required(_NAME)
    mode: Literal["tunnel"]
    listen: HostPort = required(_LISTEN)
    public_port: Port | None = Field(default=None, description=_PUBLIC_PORT)
    without_sni: bool = Field(default=False, description=_WITHOUT_SNI)
    site_system: HostPort = required("address:port that everything is passed on to")
    roles: list[str] = Field(default=[], description="what is there, for people")


class PlaintextRow(Row):
    """HTTP on both legs, for a role that takes nothing else."""

    name: HostName = required("the Internet FQDN; clients ask for it in Host")
    mode: Literal["plaintext"]
    listen: HostPort = required(_LISTEN)
    public_port: Port | None = Field(default=None, description=_PUBLIC_PORT)
    because: Because
    roles: dict[str, PlaintextRoleRow] = required("site system roles, by name", min_length=1)
    unlisted_headers: Literal["drop", "refuse"] = Field(default="drop", description=_UNLISTED)


PublicationRow = Annotated[BridgeRow | TunnelRow | PlaintextRow, Field(discriminator="mode")]
