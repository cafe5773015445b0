"""The roles of a publication, and additions to a role."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ibcm_bridge.policy_file.rows.values import (
    IS_ONE,
    IS_SEVERAL,
    ONE_OR_SEVERAL,
    Because,
    CipherSetting,
    ElementName,
    EndpointName,
    FieldName,
    HighestTls,
    HostName,
    HostPort,
    HttpsUrl,
    HttpUrl,
    ReasonRow,
    Row,
    Segment,
    Verb,
    optional,
    required,
)


class ExtraVerbRow(Row, examples=[{"verb": "PUT", "because": "our reports use PUT"}]):
    """An additional verb for every resource that the role publishes."""

    verb: Verb = required("the verb in the exact spelling of clients, such as PUT")
    body: str = optional("none", "a kind of body of roles.yaml: none, ccm-message, soap ...")
    because: Because


class ExtraHeaderRow(Row, examples=[{"name": "X-Branch", "because": "our load balancer"}]):
    """An additional header field to forward."""

    name: FieldName = required("a field name; case is ignored")
    because: Because


class ExtraPathRow(
    Row, examples=[{"directory": "Reports", "path": "x", "verbs": ["GET"], "because": "for people"}]
):
    """An additional resource."""

    directory: Segment = required("the whole first segment of the path, such as SMS_MP")
    path: str = required("case-insensitive regular expression for the whole path after /directory/")
    query: str | None = optional(
        None,
        "case-insensitive regular expression for the whole decoded query; "
        "if omitted, a query is refused",
    )
    verbs: list[Verb] = required("verbs of the role or of extra_verbs", min_length=1)
    because: Because


class ExtraMessageRow(
    Row, examples=[{"endpoint": "MP_x", "root": "x", "because": "our inventory agent"}]
):
    """An additional message to a management point (CCM_POST)."""

    endpoint: EndpointName = required("its TargetEndpoint, such as MP_LocationManager")
    root: ElementName = required("the root element of its body, such as UpdateSFRequest")
    because: Because


class RoleAdditionsRow(Row):
    observed_headers: bool = optional(
        True, "forward fields that clients send but Microsoft's list does not have"
    )
    windows_authentication: ReasonRow | None = optional(
        None, "allow Windows authentication of users (USER-WINDOWS-AUTH)"
    )
    without_clamav: ReasonRow | None = optional(
        None, "forward requests that ClamAV cannot scan; requires a reason, disabled if omitted"
    )
    extra_verbs: list[ExtraVerbRow] = optional([], "additional verbs, each with a reason")
    extra_headers: list[ExtraHeaderRow] = optional(
        [], "additional header fields, each with a reason"
    )
    extra_paths: list[ExtraPathRow] = optional([], "additional resources, each with a reason")
    extra_messages: list[ExtraMessageRow] = optional([], "additional messages, each with a reason")


_CONNECT = "address:port to connect to, if the name does not resolve to the site system"
_HTTPS_NAME = "https://name or https://name:port; the name is sent as SNI"
_HTTP_NAME = "http://name or http://name:port"
_OR_LIST = "; or a list of interchangeable site systems"


class _ConnectionRow(Row):
    connect: HostPort | None = optional(None, _CONNECT)


class _TlsConnectionRow(_ConnectionRow):
    verify_name: HostName | None = optional(
        None, "the name in its certificate, if it differs from site_system"
    )
    highest_tls: HighestTls = optional(
        "1.3", "highest TLS version to it; 1.2 for an IIS that requests certificates late"
    )
    tls: CipherSetting = optional("standard", "cipher suites to it in TLS 1.2")


class SiteSystemRow(_TlsConnectionRow, examples=[{"site_system": "https://mp01.corp.example"}]):
    """One of several site systems of a role."""

    site_system: HttpsUrl = required(_HTTPS_NAME)


class PlaintextSiteSystemRow(
    _ConnectionRow, examples=[{"site_system": "http://fsp01.corp.example"}]
):
    """One of several site systems that use HTTP."""

    site_system: HttpUrl = required(_HTTP_NAME)


class RoleRow(
    RoleAdditionsRow, _TlsConnectionRow, examples=[{"site_system": "https://mp01.corp.example"}]
):
    """A role, with the address of its site system, or of several."""

    site_system: Annotated[
        Annotated[HttpsUrl, IS_ONE]
        | Annotated[list[SiteSystemRow], Field(min_length=1), IS_SEVERAL],
        ONE_OR_SEVERAL,
    ] = required(_HTTPS_NAME + _OR_LIST)
    order: Literal["as-listed", "by-client"] = optional(
        "as-listed", "which site system of a list a client tries first"
    )


class PlaintextRoleRow(
    RoleAdditionsRow, _ConnectionRow, examples=[{"site_system": "http://fsp01.corp.example"}]
):
    """A role whose site systems use HTTP."""

    site_system: Annotated[
        Annotated[HttpUrl, IS_ONE]
        | Annotated[list[PlaintextSiteSystemRow], Field(min_length=1), IS_SEVERAL],
        ONE_OR_SEVERAL,
    ] = required(_HTTP_NAME + _OR_LIST)
