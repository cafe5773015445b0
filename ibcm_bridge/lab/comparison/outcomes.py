"""The results of a case, as values and as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.capture.recording import Wire
from ibcm_bridge.lab.cases.case import Case, Disposition
from ibcm_bridge.lab.protocol.client import (
    ConnectionEnded,
    HandshakeRefused,
    Request,
    Response,
)
from ibcm_bridge.lab.protocol.client import Handshake as TlsHandshake
from ibcm_bridge.lab.protocol.reply_documents import ERROR_PAGE
from ibcm_bridge.lab.site_systems.records import ReceivedRequest
from ibcm_bridge.lab.site_systems.stand_ins import STAND_INS, ClientAuthentication


@dataclass(frozen=True)
class ClientRefused:
    """The client refused the server's certificate, for this reason."""

    why: str


ClientResult = Response | HandshakeRefused | ConnectionEnded | ClientRefused


@dataclass(frozen=True)
class Outcome:
    """The result on one path, as values and as text."""

    disposition: Disposition
    status: int | None
    alert: str | None
    client_received: str
    """One line: the status line or the TLS alert."""
    certificate_presented: str
    """Common name of the server certificate that the client accepted; empty if none."""
    site_system_received: str
    """One line: the request that reached the site system."""
    proxy_saw: str
    """One line: the facts in the audit record."""
    audit: dict[str, Any]
    observation: Observation
    """The data behind these texts."""


@dataclass(frozen=True)
class PlainResult:
    """The result through a plain reverse proxy with the same policy."""

    proxy: str
    """Its name and version."""
    disposition: Disposition
    client_received: str
    dropped_arrived: bool
    """True if the site system received a field that the bridge must remove."""
    left_out: bool = False
    """True if the export leaves out what the case requests."""
    recorded: bool = False
    """True for the result of an earlier run."""
    why_recorded: str = ""
    """Why it is not that of a running proxy, for people."""

    @property
    def name(self) -> str:
        """The proxy, and whether the result is recorded."""
        return f"{self.proxy}, recorded" if self.recorded else self.proxy


@dataclass(frozen=True)
class CaseResult:
    """A case and its results on both paths."""

    case: Case
    request: Request
    bridge: Outcome
    tunnel: Outcome | None
    problems: tuple[str, ...]
    """Deviations from the requirement."""
    plain: PlainResult | None = None
    """The third path, if it was compared."""


NO_TUNNEL = "Plain HTTP cannot be tunneled: a tunnel is selected by the TLS server name."


@dataclass(frozen=True)
class Observation:
    """The data that one path of a case produced: at the client, the site system and the proxy."""

    client_result: ClientResult
    presented: x509.Certificate | None
    received: tuple[ReceivedRequest, ...]
    handshakes: int
    """ClientHellos that reached a site system."""
    record: dict[str, Any]
    bridged: bool
    handshake: TlsHandshake | None = None
    """The client's TLS handshake; None if it was not completed, or without TLS."""
    seconds: float = 0.0
    """From the first byte of the client to the end of its response."""
    cancelled: bool = False
    """True if the bridge cancelled the upload session at the site system."""
    wire: Wire | None = None
    """The recorded connections; None if the lab does not record."""


def outcome(case: Case, seen: Observation) -> Outcome:
    """Return the outcome of one path."""
    client_result = seen.client_result
    return Outcome(
        disposition=_disposition(seen),
        status=client_result.status if isinstance(client_result, Response) else None,
        alert=client_result.alert if isinstance(client_result, HandshakeRefused) else None,
        client_received=_client_got(client_result) + _notes(case, seen),
        certificate_presented=_common_name(seen.presented) if seen.presented else "",
        site_system_received=_received(case, seen),
        proxy_saw=proxy_saw(seen.record),
        audit=seen.record,
        observation=seen,
    )


def problems(case: Case, bridge: Outcome, tunnel: Outcome | None) -> Iterator[str]:
    """Yield each deviation from the requirement."""
    expected = case.bridge
    if bridge.disposition is not expected.disposition:
        yield (
            f"{case.requirement} requires: {expected.disposition}; "
            f"through the bridge: {bridge.disposition}"
        )
    if (bridge.status, bridge.alert) != (expected.status, expected.alert):
        yield f"through the bridge, the client received: {bridge.client_received}"
    for key, wanted in expected.decision.items():
        if (found := bridge.audit.get(key)) != wanted:
            instead = f", instead of {wanted}" if wanted else ""
            yield f"the audit has {key} {found or 'none'}{instead}"
    if fields := internal_fields(bridge.observation.client_result):
        yield f"the response has fields about the site system: {', '.join(fields)}"
    cited = bridge.audit.get("requirement")
    if cited is not None and cited not in (case.requirement, *case.other_requirements):
        yield f"the bridge cites {cited} instead of {case.requirement}"
    if tunnel is None:
        return
    if tunnel.disposition is not case.tunnel:
        yield f"through the tunnel: {tunnel.disposition}, instead of: {case.tunnel}"
    if tunnel.audit.get("event") == "tunnel" and tunnel.audit.get("verdict") == "allow":
        seen = {"method", "target", "client_name", "client_certificate"} & tunnel.audit.keys()
        if seen or "TUNNEL-BLIND" not in tunnel.audit.get("note", ""):
            yield "the audit record of the tunnel has facts that a tunnel cannot see (TUNNEL-BLIND)"


_INTERNAL_FIELDS = frozenset(("server", "via", "x-powered-by", "x-aspnet-version"))


def internal_fields(result: ClientResult) -> tuple[str, ...]:
    """Return the header fields of a response that describe the site system."""
    fields = result.headers if isinstance(result, Response) else ()
    return tuple(name for name, _ in fields if name.lower() in _INTERNAL_FIELDS)


def _disposition(seen: Observation) -> Disposition:
    if isinstance(seen.client_result, ClientRefused):
        return Disposition.REFUSED_BY_CLIENT
    if not seen.received and seen.record.get("reason") == Reason.SITE_SYSTEM_UNREACHABLE:
        return Disposition.NOT_DELIVERED
    # The bridge may open a TLS connection to the site system before it sends anything.
    if not seen.received and (seen.bridged or not seen.handshakes):
        return Disposition.REFUSED_BY_PROXY
    if seen.bridged and seen.record.get("verdict") == "deny":
        return Disposition.RESPONSE_REFUSED
    good = isinstance(seen.client_result, Response) and seen.client_result.status < 400
    return (
        Disposition.ACCEPTED
        if good and not _refusal_with_200(seen)
        else Disposition.REFUSED_BY_SITE_SYSTEM
    )


def _client_got(client_result: ClientResult) -> str:
    if isinstance(client_result, Response):
        return f"{client_result.status} {client_result.reason}"
    if isinstance(client_result, HandshakeRefused) and client_result.alert:
        return f"TLS alert: {client_result.alert}"
    if isinstance(client_result, ClientRefused):
        return "an invalid server certificate"
    return "a closed connection"


def _notes(case: Case, seen: Observation) -> str:
    """Return what the status line does not show."""
    return _refusal_with_200(seen) + _fields(seen.received, case.dropped, "the header")


def _refusal_with_200(seen: Observation) -> str:
    """Describe a refusal with status 200 (protocol.md 1.7): an empty body or an error page."""
    if not isinstance(seen.client_result, Response) or not seen.received:
        return ""
    empty = seen.received[-1].method == "CCM_POST" and not seen.client_result.body
    return ", empty" * empty + ", an error page" * (seen.client_result.body == ERROR_PAGE)


def _received(case: Case, seen: Observation) -> str:
    if seen.cancelled:
        return CANCELLED
    if not seen.received:
        why = seen.client_result.why if isinstance(seen.client_result, ClientRefused) else ""
        return _INCOMPLETE[_ended_by(seen)] + why if seen.handshakes else "nothing"
    last = seen.received[-1]
    size = f", {len(last.body):,} bytes" if last.body else ""
    fields = _fields(seen.received, case.dropped)
    wants_certificate = STAND_INS[last.site_system].client_authentication in (
        ClientAuthentication.ALWAYS,
        ClientAuthentication.PER_DIRECTORY,
    )
    anonymous = (
        "a client without certificate"
        if wants_certificate
        else "a client (no certificate required)"
    )
    sender = _subject(last.certificate_subject) or anonymous
    return f"{last.method} {last.target}{size}{fields}, from {sender}"


CANCELLED = "Cancel-Session, from the bridge"
"""The site system receives this instead of a packet that the bridge refused."""

_INCOMPLETE = {
    "bridge": "a TLS handshake, aborted by the bridge",
    "client": "a TLS handshake, aborted by the client: ",
    "request": "a request that its web server could not parse",
    "handshake": "a TLS handshake, which it refused",
}


def _ended_by(seen: Observation) -> str:
    if seen.bridged:
        return "bridge"
    if isinstance(seen.client_result, ClientRefused):
        return "client"
    return "request" if isinstance(seen.client_result, Response) else "handshake"


def field_names(received: ReceivedRequest) -> set[str]:
    """Return the names of the header fields, as spelled on the wire."""
    return {name for name, _ in received.headers}


def _fields(received: Sequence[ReceivedRequest], dropped: tuple[str, ...], called: str = "") -> str:
    """Describe which fields to drop arrived, and which did not."""
    arrived = field_names(received[-1]) if received else set()
    words = (f", {'with' if name in arrived else 'without'} {called or name}" for name in dropped)
    return "".join(words) if received else ""


def _subject(subject: str | None) -> str:
    return subject.split(",")[0].removeprefix("CN=") if subject else ""


def _common_name(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def proxy_saw(record: dict[str, Any]) -> str:
    """Summarize an audit record in one line."""
    if record.get("event") == "tunnel" and record.get("verdict") == "allow":
        return f"the name {record['server_name']} and {tunneled_bytes(record):,} bytes"
    if record.get("event") == "tunnel":
        return f"the name {record['server_name']}; {record['reason']}: {record['detail']}"
    seen = []
    if "client_name" in record:
        seen.append(str(record["client_name"]))
    elif "client_certificate" in record:
        seen.append(_subject(str(record["client_certificate"]["subject"])))
    if "method" in record:
        seen.append(f"{record['method']} {record['target'].split('?')[0]}")
    if "message_endpoint" in record:
        seen.append(f"for {record['message_endpoint']}")
    if record.get("client_guid"):
        seen.append(f"as {record['client_guid']} ({record['client_guid_binding']})")
    if record.get("signed_with"):
        seen.append(f"signed ({record['signed_with']})")
    views = dict(str(view).split(":") for view in record.get("inspected", ()))
    if "inflated" in views:
        seen.append(f"{int(views['inflated']):,} bytes inflated and inspected")
    elif "sent" in views:
        seen.append(f"{int(views['sent']):,} bytes inspected")
    if record.get("dropped_headers"):
        seen.append(f"removed {', '.join(record['dropped_headers'])}")
    if record.get("verdict") == "deny":
        seen.append(f"{record['reason']}: {record['detail']}")
    return "; ".join(seen) or "nothing"


def tunneled_bytes(record: dict[str, Any]) -> int:
    """Return the bytes that a tunnel forwarded, in both directions."""
    total: int = record["bytes_from_client"] + record["bytes_to_client"]
    return total
