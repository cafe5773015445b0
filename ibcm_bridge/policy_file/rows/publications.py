"""Publications: one row for each mode."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from ibcm_bridge.policy.roles import Mode, RoleTable
from ibcm_bridge.policy_file.rows.roles import PlaintextRoleRow, RoleRow
from ibcm_bridge.policy_file.rows.trust import CertificateRow, ClientsRow, SiteSystemsRow
from ibcm_bridge.policy_file.rows.values import (
    IS_ONE,
    IS_SEVERAL,
    ONE_OR_SEVERAL,
    Because,
    Fqdn,
    HostPort,
    Listen,
    Port,
    ReasonRow,
    Row,
    optional,
    required,
)

UNSUPPORTED_ROLE = "unsupported_role"
"""The kind of error of a role that the mode of its publication does not support."""


def _supported_role(role: str, info: ValidationInfo) -> str:
    """Return a role if the mode of its publication supports it. The context is the `RoleTable`."""
    table, mode = info.context, info.data["mode"]
    assert isinstance(table, RoleTable)
    if mode in table.modes.get(role, ()):
        return role
    text = f"unknown site system role; use one of {', '.join(table.modes)}"
    if role in table.modes:
        modes = " or ".join(sorted(table.modes[role]))
        cited = "BRIDGE-HTTPS-ONLY" if mode == Mode.PLAINTEXT else table.not_bridged.get(role)
        text = f"this role cannot be published with mode: {mode}, only with mode: {modes}"
        text += f" ({cited})" if cited else ""
    raise PydanticCustomError(UNSUPPORTED_ROLE, "{text}", {"text": text})


_RoleName = Annotated[str, AfterValidator(_supported_role)]
_WITHOUT_SNI = "serve clients that send no server name (SNI)"
_UNLISTED = "for a header field that the role does not list: drop it, or refuse the request"


class _PublicationRow(Row):
    name: Fqdn = required("the Internet FQDN; clients send it as server name (SNI) and in Host")
    mode: str
    listen: Listen = required('address:port, such as 0.0.0.0:443 or "[::]:443"')
    public_port: Port | None = optional(
        None, "the port that clients connect to, if a firewall forwards it to the port in listen"
    )


class BridgeRow(_PublicationRow):
    """SSL bridging to SSL for one Internet FQDN on one listener."""

    mode: Literal["bridge"]
    without_sni: bool = optional(False, _WITHOUT_SNI)
    certificate: CertificateRow = required(
        "server certificate for clients: serverAuth, the Internet FQDN in its subjectAltName"
    )
    clients: ClientsRow = required("accepted client certificates")
    site_systems: SiteSystemsRow = required("client certificate for site systems, and their CAs")
    roles: dict[_RoleName, RoleRow] = required(
        "site system roles, by name",
        min_length=1,
        examples=[{"management-point": {"site_system": "https://mp01.corp.example"}}],
    )
    unlisted_headers: Literal["drop", "refuse"] = optional("drop", _UNLISTED)
    upload_hosts: Literal["drop", "rewrite"] = optional(
        "drop", "drop or rewrite the site system's own name in BITS-Host-Id and BITS-Reply-URL"
    )
    observe: ReasonRow | None = optional(
        None,
        "only for the first days of a pilot: forward, and record as observed, what verbs, header "
        "fields, media types, messages, client GUIDs and signatures would refuse",
    )


class TunnelRow(_PublicationRow):
    """SSL tunneling: forwards TLS unread. `roles` is documentation; the bridge cannot verify it."""

    mode: Literal["tunnel"]
    without_sni: bool = optional(False, _WITHOUT_SNI)
    site_system: Annotated[
        Annotated[HostPort, IS_ONE] | Annotated[list[HostPort], Field(min_length=1), IS_SEVERAL],
        ONE_OR_SEVERAL,
    ] = required("address:port of the site system; or a list, tried in order")
    roles: list[_RoleName] = optional(
        [],
        "the tunneled roles; documentation only",
        title="a list of names, such as [management-point]; "
        "a publication is either a bridge or a tunnel",
    )


class PlaintextRow(_PublicationRow):
    """HTTP on both legs, for a role that supports only HTTP."""

    name: Fqdn = required("the Internet FQDN; clients send it in Host")
    mode: Literal["plaintext"]
    because: Because
    roles: dict[_RoleName, PlaintextRoleRow] = required(
        "site system roles, by name",
        min_length=1,
        examples=[{"fallback-status-point": {"site_system": "http://fsp01.corp.example"}}],
    )
    unlisted_headers: Literal["drop", "refuse"] = optional("drop", _UNLISTED)


_EXAMPLE = {"name": "bridge.internet.example", "mode": "bridge", "listen": "0.0.0.0:443"}
PublicationRow = Annotated[
    BridgeRow | TunnelRow | PlaintextRow, Field(discriminator="mode", examples=[_EXAMPLE])
]
