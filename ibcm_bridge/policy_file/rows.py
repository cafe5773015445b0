"""The file's shape: one row per mapping, strict. Names are what an administrator would look for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

_HOST = r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
HostName = Annotated[str, StringConstraints(pattern=f"^{_HOST}$", max_length=253)]
HostPort = Annotated[
    str, StringConstraints(pattern=rf"^({_HOST}|\[[0-9A-Fa-f:.]+\]):[0-9]{{1,5}}$")
]
HttpsUrl = Annotated[str, StringConstraints(pattern=rf"^https://{_HOST}(:[0-9]{{1,5}})?/?$")]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class CertificateRow(_Row):
    """PEM files: the certificate followed by its intermediates, and its key without passphrase."""

    chain: str
    key: str


class TrustRow(_Row):
    """Files, PEM or DER: trust anchors, issuing authorities, and the revocation lists of all."""

    anchors: list[str] = Field(min_length=1)
    issuing: list[str] = []
    crls: list[str] = Field(min_length=1)


class ClientsRow(_Row):
    trust: TrustRow


class RoleRow(_Row):
    """Where a role's site system is. `connect` where it is not reached under its own name."""

    site_system: HttpsUrl
    connect: HostPort | None = None


class SiteSystemsRow(_Row):
    """What the bridge presents to its site systems, and how it knows them."""

    certificate: CertificateRow
    trust: TrustRow


class BridgeRow(_Row):
    name: HostName
    mode: Literal["bridge"]
    listen: HostPort
    certificate: CertificateRow
    clients: ClientsRow
    site_systems: SiteSystemsRow
    roles: dict[str, RoleRow] = Field(min_length=1)
    unlisted_headers: Literal["drop", "refuse"] = "drop"


class TunnelRow(_Row):
    name: HostName
    mode: Literal["tunnel"]
    listen: HostPort
    site_system: HostPort


class AuditRow(_Row):
    file: str


class LimitsRow(_Row):
    """Bytes and seconds. Precedents: nginx's defaults (client_header_timeout and
    client_body_timeout 60 s, keepalive_timeout 75 s), HTTP.sys's 120 s for idle connections;
    64 KB of head leave room for a Kerberos ticket (protocol.md §10), and a ClientHello with
    post-quantum key shares stays under 4 KB."""

    client_hello: int = Field(default=16_384, ge=1_024, le=65_536)
    request_head: int = Field(default=65_536, ge=4_096, le=1_048_576)
    handshake_seconds: float = Field(default=30.0, gt=0, le=600)
    head_seconds: float = Field(default=60.0, gt=0, le=600)
    body_seconds: float = Field(default=300.0, gt=0, le=3_600)
    idle_seconds: float = Field(default=120.0, gt=0, le=3_600)
    tunnel_idle_seconds: float = Field(default=600.0, gt=0, le=86_400)


class PolicyRow(_Row):
    version: Literal[1]
    audit: AuditRow | None = None
    rules: list[str] = []
    limits: LimitsRow = LimitsRow()
    publications: list[Annotated[BridgeRow | TunnelRow, Field(discriminator="mode")]] = Field(
        min_length=1
    )
