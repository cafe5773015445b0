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
HttpUrl = Annotated[str, StringConstraints(pattern=rf"^http://{_HOST}(:[0-9]{{1,5}})?/?$")]
Port = Annotated[int, Field(ge=1, le=65_535)]
Because = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=8, max_length=500),
    Field(description="why, in words; shown by check and written to the log at start"),
]
# RFC 9110 section 5.6.2: what a method and a field name are made of.
Token = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$")]
Segment = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.$-]{1,64}$")]


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
    """Whom the bridge lets in: which certificates it asks for, and which authorities issue them."""

    certificate: Literal["computer", "user", "either", "optional", "none"] | None = None
    trust: TrustRow | None = None


class ReasonRow(_Row):
    """Something that is off unless the file says why it is wanted."""

    because: Because


class ExtraVerbRow(_Row):
    """A verb more, on everything the role publishes. `body`: a kind of body of roles.yaml."""

    verb: Token
    body: str = "none"
    because: Because


class ExtraHeaderRow(_Row):
    """A header field more that is sent on."""

    name: Token
    because: Because


class ExtraPathRow(_Row):
    """A resource more. `path` and `query` are regular expressions for the whole of what follows
    the directory and the question mark; without `query` there must be none."""

    directory: Segment
    path: str
    query: str | None = None
    verbs: list[Token] = Field(min_length=1)
    because: Because


class _WidenedRow(_Row):
    observed_headers: bool = True
    windows_authentication: ReasonRow | None = None
    extra_verbs: list[ExtraVerbRow] = []
    extra_headers: list[ExtraHeaderRow] = []
    extra_paths: list[ExtraPathRow] = []


class RoleRow(_WidenedRow):
    """Where a role's site system is. `connect` where it is not reached under its own name."""

    site_system: HttpsUrl
    connect: HostPort | None = None
    verify_name: HostName | None = None
    highest_tls: Literal["1.2", "1.3"] = "1.3"


class PlaintextRoleRow(_WidenedRow):
    """A role whose site system takes HTTP."""

    site_system: HttpUrl
    connect: HostPort | None = None


class SiteSystemsRow(_Row):
    """What the bridge presents to its site systems, and how it knows them."""

    certificate: CertificateRow
    trust: TrustRow


class BridgeRow(_Row):
    """SSL bridging to SSL, for one Internet FQDN on one listener."""

    name: HostName
    mode: Literal["bridge"]
    listen: HostPort
    public_port: Port | None = None
    without_sni: bool = False
    certificate: CertificateRow
    clients: ClientsRow
    site_systems: SiteSystemsRow
    roles: dict[str, RoleRow] = Field(min_length=1)
    unlisted_headers: Literal["drop", "refuse"] = "drop"


class TunnelRow(_Row):
    """SSL tunneling. `roles` is for people: nobody can tell what is inside."""

    name: HostName
    mode: Literal["tunnel"]
    listen: HostPort
    public_port: Port | None = None
    without_sni: bool = False
    site_system: HostPort
    roles: list[str] = []


class PlaintextRow(_Row):
    """HTTP on both legs, for a role that takes nothing else."""

    name: HostName
    mode: Literal["plaintext"]
    listen: HostPort
    public_port: Port | None = None
    because: Because
    roles: dict[str, PlaintextRoleRow] = Field(min_length=1)
    unlisted_headers: Literal["drop", "refuse"] = "drop"


class AuditRow(_Row):
    """Where the audit is appended, standard output when left out; and what happens to requests
    while it cannot be written."""

    file: str | None = None
    when_unwritable: Literal["refuse", "continue"] = "refuse"


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
    response_seconds: float = Field(default=300.0, gt=0, le=3_600)
    idle_seconds: float = Field(default=120.0, gt=0, le=3_600)
    tunnel_idle_seconds: float = Field(default=600.0, gt=0, le=86_400)
    # nginx serves 512 connections in a process by default, Apache 400 requests in all. One of ours
    # takes up to 100 KB, and a file descriptor on each leg.
    connections: int = Field(default=1_000, ge=1, le=100_000)
    # Squid's cache_mem is 256 MB by default, too: 64 messages of the largest size.
    held_bytes: int = Field(default=268_435_456, ge=16_777_216, le=68_719_476_736)
    # Each takes 40 MB, and up to 300 MB for a payload at the limit.
    inspection_workers: int = Field(default=2, ge=1, le=64)


PublicationRow = Annotated[BridgeRow | TunnelRow | PlaintextRow, Field(discriminator="mode")]


class PolicyRow(_Row):
    """A policy of ibcm-bridge; docs/policy-file.md explains each key."""

    version: Literal[1]
    audit: AuditRow = AuditRow()
    rules: list[str] = []
    limits: LimitsRow = LimitsRow()
    publications: list[PublicationRow] = Field(min_length=1)
