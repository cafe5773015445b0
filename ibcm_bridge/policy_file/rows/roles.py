"""The roles of a publication, and additions to a role."""

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
    """An additional verb for every resource that the role publishes."""

    verb: Token = required("the verb in the exact spelling of clients, such as PUT")
    body: str = Field(
        default="none", description="a kind of body of roles.yaml: none, ccm-message, soap ..."
    )
    because: Because


class ExtraHeaderRow(Row):
    """An additional header field to forward."""

    name: Token = required("a field name; case is ignored")
    because: Because


class ExtraPathRow(Row):
    """An additional resource."""

    directory: Segment = required("the whole first segment of the path, such as SMS_MP")
    path: str = required("case-insensitive regular expression for the whole path after /directory/")
    query: str | None = Field(
        default=None,
        description="case-insensitive regular expression for the whole decoded query; "
        "if omitted, a query is refused",
    )
    verbs: list[Token] = required("verbs of the role or of extra_verbs", min_length=1)
    because: Because


class ExtraMessageRow(Row):
    """An additional message to a management point (CCM_POST)."""

    endpoint: EndpointName = required("its TargetEndpoint, such as MP_LocationManager")
    root: ElementName = required("the root element of its body, such as UpdateSFRequest")
    because: Because


class RoleAdditionsRow(Row):
    observed_headers: bool = Field(
        default=True,
        description="forward fields that clients send but Microsoft's list does not have",
    )
    windows_authentication: ReasonRow | None = Field(
        default=None, description="allow Windows authentication of users (USER-WINDOWS-AUTH)"
    )
    without_clamav: ReasonRow | None = optional(
        None, "forward requests that ClamAV cannot scan; requires a reason, disabled if omitted"
    )
    extra_verbs: list[ExtraVerbRow] = Field(
        default=[], description="additional verbs, each with a reason"
    )
    extra_headers: list[ExtraHeaderRow] = Field(
        default=[], description="additional header fields, each with a reason"
    )
    extra_paths: list[ExtraPathRow] = Field(
        default=[], description="additional resources, each with a reason"
    )
    extra_messages: list[ExtraMessageRow] = Field(
        default=[], description="additional messages, each with a reason"
    )


_CONNECT = "address:port to connect to, if the name does not resolve to the site system"


class RoleRow(RoleAdditionsRow):
    """A role, with the address of its site system."""

    site_system: HttpsUrl = required("https://name or https://name:port; the name is sent as SNI")
    connect: HostPort | None = Field(default=None, description=_CONNECT)
    verify_name: HostName | None = Field(
        default=None,
        description="the name in its certificate, if it differs from site_system",
    )
    highest_tls: Literal["1.2", "1.3"] = Field(
        default="1.3",
        description="highest TLS version to it; 1.2 for an IIS that requests certificates late",
    )


class PlaintextRoleRow(RoleAdditionsRow):
    """A role whose site system uses HTTP."""

    site_system: HttpUrl = required("http://name or http://name:port")
    connect: HostPort | None = Field(default=None, description=_CONNECT)
