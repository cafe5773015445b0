"""The file's shape: one row per mapping, strict. Names are what an administrator would look for.

Descriptions are for editors: `config/schema/policy.schema.json` is made of these rows.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ibcm_bridge.policy.policy import SITE_SYSTEM_IDLE_SECONDS

_HOST = r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
HostName = Annotated[str, StringConstraints(pattern=f"^{_HOST}$", max_length=253)]
_IPV6 = r"\[[0-9A-Fa-f:.]+\]"
_IPV6_ZONE = r"\[[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?\]"
HostPort = Annotated[str, StringConstraints(pattern=rf"^({_HOST}|{_IPV6_ZONE}):[0-9]{{1,5}}$")]
HttpsUrl = Annotated[str, StringConstraints(pattern=rf"^https://{_HOST}(:[0-9]{{1,5}})?/?$")]
HttpUrl = Annotated[
    str, StringConstraints(pattern=rf"^http://({_HOST}|{_IPV6})(:[0-9]{{1,5}})?/?$")
]
FetchUrl = Annotated[
    str,
    StringConstraints(
        pattern=rf"^http://({_HOST}|{_IPV6})(:[0-9]{{1,5}})?/[!-~]*$", max_length=2_000
    ),
]
Duration = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,4}[smhd]$")]
Port = Annotated[int, Field(ge=1, le=65_535)]
Because = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=8, max_length=500),
    Field(description="why, in words; shown by check and written to the log at start"),
]
# RFC 9110 section 5.6.2: what a method and a field name are made of.
Token = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$")]
EndpointName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{1,64}$")]
ElementName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]
Segment = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.$-]{1,64}$")]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _is(description: str, **more: Any) -> Any:
    """A key that must be there, and what an editor says about it."""
    return Field(description=description, **more)


def _may(default: Any, description: str) -> Any:
    """A key that may be left out, and what an editor says about it."""
    return Field(default=default, description=description)


class PassphraseRow(_Row):
    """Where a passphrase is: a file that holds it, or an environment variable. Never in here."""

    file: str | None = _may(None, "file whose first line is the passphrase")
    environment: str | None = _may(None, "environment variable that holds the passphrase")


class CertificateRow(_Row):
    """PEM files: the certificate followed by its intermediates, and its key. Or one PFX file."""

    chain: str | None = _may(None, "PEM file: the certificate, followed by its intermediates")
    key: str | None = _may(None, "PEM file: the private key")
    pfx: str | None = _may(None, "PFX file with all of them, instead of chain and key")
    passphrase: PassphraseRow | None = _may(None, "where the passphrase of the key or PFX is")


class FetchRow(_Row):
    """Revocation lists over HTTP. They are signed, and so need no TLS (RFC 5280 §8)."""

    urls: list[FetchUrl] = _is("http:// addresses of revocation lists", min_length=1)
    every: Duration = _may("1h", "how often, such as 1h")
    folder: str = _is("existing folder that keeps what was fetched")


class WithoutCrlRow(_Row):
    """An authority that publishes no list: its certificate as a file, or its subject."""

    authority: str = _is("file with its certificate, or its subject as check shows it")
    because: Because


class TrustRow(_Row):
    """Files, PEM or DER: trust anchors, issuing authorities, and the revocation lists of all."""

    anchors: list[str] = _is("files with self-signed root certificates", min_length=1)
    issuing: list[str] = _may([], "files with the authorities in between")
    crls: list[str] = _may([], "files or folders with a revocation list of every authority above")
    fetch: FetchRow | None = _may(None, "revocation lists to fetch over HTTP")
    warn_before: Duration = _may("1d", "how long before its end a new list is asked for")
    grace: Duration = _may("0s", "how long a list is accepted after its end")
    without_crl: list[WithoutCrlRow] = _may([], "authorities that publish no list, and why")


class ClientsRow(_Row):
    """Whom the bridge lets in: which certificates it asks for, and which authorities issue them."""

    certificate: Literal["computer", "user", "either", "optional", "none"] | None = Field(
        default=None,
        description="whom client certificates name; left out: what the roles want",
    )
    trust: TrustRow | None = Field(
        default=None, description="who issues client certificates; not with certificate: none"
    )
    ca_names: Literal["send", "omit"] = _may(
        "omit", "whether clients are told the names of the authorities"
    )
    highest_tls: Literal["1.2", "1.3"] = _may(
        "1.3", "highest TLS version with clients; 1.2 where their TPMs cannot sign PSS"
    )


class ReasonRow(_Row):
    """Something that is off unless the file says why it is wanted."""

    because: Because


class ExtraVerbRow(_Row):
    """A verb more, on everything the role publishes."""

    verb: Token = _is("exactly as clients send it, such as PUT")
    body: str = Field(
        default="none", description="a kind of body of roles.yaml: none, ccm-message, soap ..."
    )
    because: Because


class ExtraHeaderRow(_Row):
    """A header field more that is sent on."""

    name: Token = _is("a field name; case does not matter")
    because: Because


class ExtraPathRow(_Row):
    """A resource more."""

    directory: Segment = _is("the whole first segment of the path, such as SMS_MP")
    path: str = _is(
        "regular expression for the whole of what follows /directory/, without regard to case"
    )
    query: str | None = Field(
        default=None,
        description="regular expression for the whole of what follows the question mark; "
        "left out: there must be none",
    )
    verbs: list[Token] = _is("verbs of the role that it takes", min_length=1)
    because: Because


class ExtraMessageRow(_Row):
    """A message more that a management point may be sent (CCM_POST)."""

    endpoint: EndpointName = _is("the TargetEndpoint it is for, such as MP_LocationManager")
    root: ElementName = _is("the root element of its body, such as UpdateSFRequest")
    because: Because


class _RoleAdditionsRow(_Row):
    observed_headers: bool = Field(
        default=True,
        description="send on fields that clients send but Microsoft's list does not have",
    )
    windows_authentication: ReasonRow | None = Field(
        default=None, description="let users be authenticated by Windows (USER-WINDOWS-AUTH)"
    )
    without_clamav: ReasonRow | None = _may(
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


class RoleRow(_RoleAdditionsRow):
    """Where a role's site system is."""

    site_system: HttpsUrl = _is("https://name or https://name:port; the name is sent as SNI")
    connect: HostPort | None = Field(default=None, description=_CONNECT)
    verify_name: HostName | None = Field(
        default=None,
        description="the name its certificate must have, if another than site_system's",
    )
    highest_tls: Literal["1.2", "1.3"] = Field(
        default="1.3",
        description="highest TLS version to it; 1.2 for an IIS that asks for certificates late",
    )


class PlaintextRoleRow(_RoleAdditionsRow):
    """A role whose site system takes HTTP."""

    site_system: HttpUrl = _is("http://name or http://name:port")
    connect: HostPort | None = Field(default=None, description=_CONNECT)


class SiteSystemsRow(_Row):
    """What the bridge presents to its site systems, and how it knows them."""

    certificate: CertificateRow = _is("the bridge's client certificate (clientAuth)")
    trust: TrustRow = _is("who issues the site systems' certificates")


_NAME = "the Internet FQDN; clients ask for it by SNI and in Host"
_LISTEN = 'address:port, such as 0.0.0.0:443 or "[::]:443"'
_PUBLIC_PORT = "the port clients connect to, if a firewall forwards another to this one"
_WITHOUT_SNI = "give this publication to clients that send no server name"
_UNLISTED = "what happens to a header field that is not listed: drop it, or refuse the request"


class BridgeRow(_Row):
    """SSL bridging to SSL, for one Internet FQDN on one listener."""

    name: HostName = _is(_NAME)
    mode: Literal["bridge"]
    listen: HostPort = _is(_LISTEN)
    public_port: Port | None = Field(default=None, description=_PUBLIC_PORT)
    without_sni: bool = Field(default=False, description=_WITHOUT_SNI)
    certificate: CertificateRow = _is("what clients see: serverAuth, the Internet FQDN in its SAN")
    clients: ClientsRow = _is("whom the bridge lets in")
    site_systems: SiteSystemsRow = _is("what the bridge presents to site systems")
    roles: dict[str, RoleRow] = _is("site system roles, by name", min_length=1)
    unlisted_headers: Literal["drop", "refuse"] = Field(default="drop", description=_UNLISTED)
    upload_hosts: Literal["drop", "rewrite"] = _may(
        "drop", "the site system's own name in BITS-Host-Id and BITS-Reply-URL: drop or rewrite it"
    )


class TunnelRow(_Row):
    """SSL tunneling: nothing inside is seen. `roles` is for people: nobody can tell."""

    name: HostName = _is(_NAME)
    mode: Literal["tunnel"]
    listen: HostPort = _is(_LISTEN)
    public_port: Port | None = Field(default=None, description=_PUBLIC_PORT)
    without_sni: bool = Field(default=False, description=_WITHOUT_SNI)
    site_system: HostPort = _is("address:port that everything is passed on to")
    roles: list[str] = Field(default=[], description="what is there, for people")


class PlaintextRow(_Row):
    """HTTP on both legs, for a role that takes nothing else."""

    name: HostName = _is("the Internet FQDN; clients ask for it in Host")
    mode: Literal["plaintext"]
    listen: HostPort = _is(_LISTEN)
    public_port: Port | None = Field(default=None, description=_PUBLIC_PORT)
    because: Because
    roles: dict[str, PlaintextRoleRow] = _is("site system roles, by name", min_length=1)
    unlisted_headers: Literal["drop", "refuse"] = Field(default="drop", description=_UNLISTED)


class AuditRow(_Row):
    """Where the audit is appended; and what happens to requests while it cannot be written."""

    file: str | None = Field(
        default=None,
        description="lines of JSON are appended to this file; left out: standard output",
    )
    when_unwritable: Literal["refuse", "continue"] = Field(
        default="refuse",
        description="what happens to requests while the audit cannot be written",
    )


class LimitsRow(_Row):
    """Bytes and seconds. Precedents: nginx's defaults (client_header_timeout and
    client_body_timeout 60 s, keepalive_timeout 75 s), HTTP.sys's 120 s for idle connections;
    64 KB of head leave room for a Kerberos ticket (protocol.md §10), and a ClientHello with
    post-quantum key shares stays under 4 KB."""

    client_hello: int = Field(
        default=16_384, ge=1_024, le=65_536, description="bytes of a ClientHello"
    )
    request_head: int = Field(
        default=65_536, ge=4_096, le=1_048_576, description="bytes of a request head"
    )
    handshake_seconds: float = Field(
        default=30.0,
        gt=0,
        le=600,
        description="for a client's handshake, and for connecting to a site system",
    )
    head_seconds: float = Field(
        default=60.0, gt=0, le=600, description="for a request head, from its first byte"
    )
    body_seconds: float = Field(
        default=300.0,
        gt=0,
        le=3_600,
        description="for a request body",
    )
    response_seconds: float = Field(
        default=300.0, gt=0, le=3_600, description="for the head of a response"
    )
    idle_seconds: float = Field(
        default=120.0,
        gt=0,
        le=3_600,
        description="between requests, and in a response that stops coming",
    )
    site_system_idle_seconds: float = Field(
        default=SITE_SYSTEM_IDLE_SECONDS,
        gt=0,
        le=3_600,
        description="a connection to a site system that was idle for longer is not used again",
    )
    tunnel_idle_seconds: float = Field(
        default=600.0, gt=0, le=86_400, description="for a tunnel in which nothing moves"
    )
    # nginx serves 512 connections in a process by default, Apache 400 requests in all. One of ours
    # takes up to 100 KB, and a file descriptor on each leg.
    connections: int = Field(
        default=1_000, ge=1, le=100_000, description="client connections at once"
    )
    # Squid's cache_mem is 256 MB by default, too: 64 messages of the largest size.
    buffered_bytes: int = Field(
        default=268_435_456,
        ge=16_777_216,
        le=68_719_476_736,
        description="bytes of heads and bodies held at once, for all requests together",
    )
    # Each takes 40 MB, and up to 300 MB for a payload at the limit.
    inspection_workers: int = Field(
        default=2, ge=1, le=64, description="processes that look into large bodies"
    )


class MessagesRow(_Row):
    """What becomes of ConfigMgr's messages, beyond what is always refused."""

    identity: Literal["observe", "enforce"] = _may(
        "observe", "whether a client may only speak for its own client GUID (BRIDGE-IDENTITY)"
    )
    unknown_guids: Literal["learn", "refuse"] = _may(
        "learn", "a client GUID that is bound to no certificate yet, where identity is enforced"
    )
    renewal: Literal["same-key", "same-name"] = _may(
        "same-key", "which certificate may take the place of the one a client GUID is bound to"
    )
    bindings: str | None = _may(
        None, "SQLite file that keeps which certificate each client GUID is bound to"
    )
    signatures: Literal["observe", "enforce"] = _may(
        "observe", "whether the signatures of messages must be good, and their times current"
    )
    clock_skew: Duration = _may("15m", "how far a client's clock may be off")
    host_names: Literal["observe", "enforce"] = _may(
        "observe", "replies that name hosts of internal_domains"
    )
    intranet_only: Literal["observe", "enforce"] = _may(
        "observe", "replies that assign policies flagged for the intranet only"
    )
    internal_domains: list[HostName] = _may(
        [], "domains of the intranet; left out: those of the site systems"
    )
    encrypted: ReasonRow | None = _may(
        None, "let reports pass that clients have encrypted, unread; off unless the file says why"
    )


class UploadsRow(_Row):
    """BITS uploads, which are put together and inspected before their end is sent on."""

    spool: str | None = _may(
        None, "SQLite file that keeps uploads under way; left out: a temporary one"
    )
    # The largest body that Windows sends in one piece is 13 MB; what is announced may be several.
    max_bytes: int = Field(
        default=67_108_864, ge=65_536, le=1_073_741_824, description="bytes of one upload"
    )
    max_total_bytes: int = Field(
        default=1_073_741_824,
        ge=1_048_576,
        le=1_099_511_627_776,
        description="bytes of all uploads under way",
    )
    sessions: int = Field(default=1_000, ge=1, le=100_000, description="uploads under way at once")
    per_client_sessions: int = Field(
        default=8, ge=1, le=1_000, description="of one client; its oldest makes room for another"
    )
    per_client_bytes: int | None = Field(
        default=None,
        ge=65_536,
        le=1_099_511_627_776,
        description="bytes of one client's uploads under way; left out: twice `max_bytes`",
    )
    # A BITS server keeps a session for 14 days by default ([MC-BUP] section 3.2.2.1).
    abandoned_after: Duration = _may("3d", "when an upload that nobody goes on with is forgotten")


class ClamAvRow(_Row):
    """ClamAV's daemon (clamd), which looks at everything that YARA-X looks at."""

    socket: str | None = _may(None, "its Unix socket, such as /run/clamav/clamd.ctl")
    address: HostPort | None = _may(None, "or where it listens, such as 127.0.0.1:3310")
    # clamd's own ReadTimeout is 120 s; a view at the limit takes it a few seconds.
    seconds: float = Field(default=30.0, gt=0, le=600, description="for one view")


class EnginesRow(_Row):
    """Content engines beside YARA-X, which is always there."""

    clamav: ClamAvRow | None = _may(None, "ask ClamAV, too")


PublicationRow = Annotated[BridgeRow | TunnelRow | PlaintextRow, Field(discriminator="mode")]


class PolicyRow(_Row):
    """A policy of ibcm-bridge; docs/policy-file.md explains each key."""

    version: Literal[1]
    audit: AuditRow = Field(default=AuditRow(), description="where the audit goes")
    rules: list[str] = Field(
        default=[], description="files with more YARA rules, or folders with .yar files"
    )
    engines: EnginesRow = _may(EnginesRow(), "content engines beside YARA-X")
    limits: LimitsRow = Field(default=LimitsRow(), description="bytes and seconds")
    messages: MessagesRow = _may(MessagesRow(), "what becomes of ConfigMgr's messages")
    uploads: UploadsRow = _may(
        UploadsRow(), "how large BITS uploads may be, and where they are kept"
    )
    web: ReasonRow | None = _may(
        None, "let run --web show traffic on a page, outside a lab; off unless the file says why"
    )
    publications: list[PublicationRow] = _is(
        "what is published, each with a name, a mode and a listen", min_length=1
    )


def policy_schema() -> dict[str, Any]:
    """The JSON schema of a policy file, for editors."""
    schema = PolicyRow.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Policy of ibcm-bridge",
    }
