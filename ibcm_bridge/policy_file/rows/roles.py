"""The roles of a publication, and what a policy adds to one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ibcm_bridge.policy_file.rows.values import (
    Because,
    ElementName,
    EndpointName,
    HostName,
    HostPort,
    HttpsUrl,
    HttpUrl,
    ReasonRow,
    Row,
    Segment,
    Token,
    optional,
    required,
)


class ExtraVerbRow(Row):
    """A verb more, on everything the role publishes."""

    verb: Token = required("exactly as clients send it, such as PUT")
    body: str = Field(
        default="none", description="a kind of body of roles.yaml: none, ccm-message, soap ..."
    )
    because: Because


class ExtraHeaderRow(Row):
    """A header field more that is sent on."""

    name: Token = required("a field name; case does not matter")
    because: Because


class ExtraPathRow(Row):
    """A resource more."""

    directory: Segment = required("the whole first segment of the path, such as SMS_MP")
    path: str = required(
        "regular expression for the whole of what follows /directory/, without regard to case"
    )
    query: str | None = Field(
        default=None,
        description="regular expression for the whole of what follows the question mark; "
        "left out: there must be none",
    )
    verbs: list[Token] = required("verbs of the role that it takes", min_length=1)
    because: Because


class ExtraMessageRow(Row):
    """A message more that a management point may be sent (CCM_POST)."""

    endpoint: EndpointName = required("the TargetEndpoint it is for, such as MP_LocationManager")
    root: ElementName = required("the root element of its body, such as UpdateSFRequest")
    because: Because


class RoleAdditionsRow(Row):
    observed_headers: bool = Field(
        default=True,
        description="send on fields that clients send but Microsoft's list does not have",
    )
    windows_authentication: ReasonRow | None = Field(
        default=None, description="let users be authenticated by Windows (USER-WINDOWS-AUTH)"
    )
    without_clamav: ReasonRow | None = optional(
        None, "go on without ClamAV while it gives no answer; off unless the file says why"
    )
    extra_verbs: list[ExtraVerbRow] = Field(default=[], description="verbs more, each with why")
    extra_headers: list[ExtraHeaderRow] = Field(
        default=[], description="header fields more, each with why"
    )
    extra_paths: list[ExtraPathRow] = Field(default=[], description="resources more, each with why")
    extra_messages: list[ExtraMessageRow] = Field(
        default=[], description="messages more, each with why"
    )


_CONNECT = "where it is reached, if not under its own name and port: address:port"


class RoleRow(RoleAdditionsRow):
    """Where a role's site system is."""

    site_system: HttpsUrl = required("https://name or https://name:port; the name is sent as SNI")
    connect: HostPort | None = Field(default=None, description=_CONNECT)
    verify_name: HostName | None = Field(
        default=None,
        description="the name its certificate must have, if another than site_system's",
    )
    highest_tls: Literal["1.2", "1.3"] = Field(
        default="1.3",
        description="highest TLS version to it; 1.2 for an IIS that asks for certificates late",
    )


class PlaintextRoleRow(RoleAdditionsRow):
    """A role whose site system takes HTTP."""

    site_system: HttpUrl = required("http://name or http://name:port")
    connect: HostPort | None = Field(default=None, description=_CONNECT)
