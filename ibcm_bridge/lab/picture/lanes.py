"""The texts of the picture of a case: one lane for each path, from its data. It does no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ibcm_bridge.lab.cases.case import ClientCertificate, Disposition
from ibcm_bridge.lab.comparison.outcomes import (
    NO_TUNNEL,
    CaseResult,
    ClientRefused,
    Outcome,
    tunneled_bytes,
)
from ibcm_bridge.lab.comparison.verdicts import Grade, Verdict, judge


class Place(StrEnum):
    """Where a request, or its response, ended."""

    CLIENT = "client"
    PROXY = "proxy"
    SITE_SYSTEM = "site"


class Style(StrEnum):
    """How a line of text looks."""

    PLAIN = "plain"
    SOFT = "soft"
    CODE = "code"
    FOUND = "found"
    """What the proxy found."""
    VERDICT = "verdict"


@dataclass(frozen=True)
class Line:
    """One line of text."""

    text: str
    style: Style = Style.PLAIN


@dataclass(frozen=True)
class Leg:
    """A connection; `opened` is false if it was never used for a request."""

    lines: tuple[str, ...]
    opened: bool = True
    encrypted: bool = True


@dataclass(frozen=True)
class Lane:
    """One path of a case."""

    name: str
    """`bridge` or `tunnel`."""
    verdict: Verdict
    client: tuple[Line, ...]
    proxy: tuple[Line, ...]
    site: tuple[Line, ...]
    first: Leg
    """From the client to the proxy; through a tunnel, to the site system."""
    second: Leg | None
    """From the bridge to the site system."""
    stopped: Place | None
    """None if the request arrived and its response returned."""
    response: str
    """What the client received."""


def lanes(result: CaseResult, faults: Sequence[str] = ()) -> tuple[Lane, Lane | None]:
    """Return the lanes of the bridge and of the tunnel; None if the case cannot be tunneled."""
    tunnel = _tunnel(result, result.tunnel, faults) if result.tunnel else None
    return _bridge(result, result.bridge, faults), tunnel


NO_LANE = NO_TUNNEL


def _bridge(result: CaseResult, outcome: Outcome, faults: Sequence[str]) -> Lane:
    record, seen = outcome.audit, outcome.observation
    verdict = judge(result, outcome, faults)
    forwarded = bool(seen.received) and not seen.cancelled
    refused = record.get("verdict") == "deny"
    stopped = Place.PROXY if refused else _stopped_inside(verdict)
    return Lane(
        "bridge",
        verdict,
        _client_lines(result, outcome),
        tuple(_bridge_lines(record)),
        tuple(_site_lines(result, outcome)),
        Leg(
            (_tls(result, outcome), *_verified(result, outcome)),
            encrypted=not result.request.plaintext,
        ),
        _second_leg(outcome, forwarded=forwarded),
        stopped,
        outcome.client_received.removeprefix("TLS "),
    )


def _tunnel(result: CaseResult, outcome: Outcome, faults: Sequence[str]) -> Lane:
    record, verdict = outcome.audit, judge(result, outcome, faults)
    reached = bool(outcome.observation.handshakes or outcome.observation.received)
    client_refused = outcome.disposition is Disposition.REFUSED_BY_CLIENT
    stopped = Place.CLIENT if client_refused else _stopped_inside(verdict)
    if not reached:
        stopped = Place.PROXY
    received = outcome.observation.received
    client = "client: no certificate"
    if received and received[-1].certificate_subject:
        client = f"client: {_name(received[-1].certificate_subject)} ✓"
    elif result.case.client is not ClientCertificate.NONE:
        client = "client: not verified" if not received else "client: ✗ not accepted"
    return Lane(
        "tunnel",
        verdict,
        _client_lines(result, outcome),
        tuple(_tunnel_lines(record)),
        tuple(_site_lines(result, outcome)),
        Leg(
            (_tls(result, outcome), _server(outcome), client),
            opened=reached,
            encrypted=not result.request.plaintext,
        ),
        None,
        stopped,
        outcome.client_received.removeprefix("TLS "),
    )


def _stopped_inside(verdict: Verdict) -> Place | None:
    return Place.SITE_SYSTEM if verdict.grade is Grade.LATE else None


def _client_lines(result: CaseResult, outcome: Outcome) -> tuple[Line, ...]:
    certificate = result.bridge.audit.get("client_certificate") or {}
    name = _name(certificate.get("subject", ""))
    if not name and result.tunnel and result.tunnel.observation.received:
        name = _name(result.tunnel.observation.received[-1].certificate_subject or "")
    kind = Line(result.case.client.value, Style.SOFT)
    total = Line(f"{_duration_text(outcome.observation.seconds)} in total", Style.SOFT)
    return (Line(name, Style.CODE), kind, total) if name else (kind, total)


def _tls(result: CaseResult, outcome: Outcome) -> str:
    """Return the version of the client's TLS, and whether its session was resumed."""
    if result.request.plaintext:
        return "HTTP without TLS"
    handshake = outcome.observation.handshake
    if handshake is None:
        return "TLS handshake not completed"
    session = "resumed" if handshake.resumed else "new session"
    return f"{handshake.version}, {session}, {_duration_text(handshake.seconds)}"


def _server(outcome: Outcome) -> str:
    """Return the server certificate that the client received, with its judgement."""
    if outcome.certificate_presented:
        return f"server: {outcome.certificate_presented} ✓"
    client_result = outcome.observation.client_result
    if isinstance(client_result, ClientRefused):
        return "server: ✗ refused by the client"
    return "server: no certificate"


def _verified(result: CaseResult, outcome: Outcome) -> tuple[str, ...]:
    """Return both certificates of the bridge's leg to the client; none without TLS."""
    if result.request.plaintext:
        return ()
    return _server(outcome), _client_verified(outcome.audit)


def _client_verified(record: Mapping[str, Any]) -> str:
    if "client_certificate" not in record:
        asked = str(record.get("reason", "")).startswith("certificate-")
        return "client: ✗ certificate missing" if asked else "client: no certificate"
    name = _name(record["client_certificate"]["subject"])
    return f"client: {name} {'✗' if record['event'] == 'connection-refused' else '✓'}"


def _second_leg(outcome: Outcome, *, forwarded: bool) -> Leg:
    record, seen = outcome.audit, outcome.observation
    if forwarded:
        last = seen.received[-1]
        if not last.tls_version:
            return Leg(("HTTP without TLS",), encrypted=False)
        session = "resumed" if last.tls_resumed else "new session"
        client = _name(last.certificate_subject or "")
        return Leg(
            (
                f"{last.tls_version}, {session}",
                f"server: {record.get('site_system', '')} ✓",
                f"client: {client} ✓" if client else "client: no certificate",
            )
        )
    if seen.cancelled:
        return Leg(("upload session", "cancelled by the bridge"), opened=False)
    if outcome.disposition is Disposition.NOT_DELIVERED:
        return Leg(("connection refused",), opened=False)
    if record.get("reason") == "site-system-unverified":
        return Leg(("TLS, ended by the bridge", "server: ✗ not verified"), opened=False)
    return Leg(("nothing sent",), opened=False)


def _bridge_lines(record: Mapping[str, Any]) -> list[Line]:
    """Return what the bridge read, in the order in which it read it."""
    lines = []
    if "method" in record:
        lines.append(Line(f"{record['method']} {record['target']}", Style.CODE))
    elif record.get("server_name"):
        lines.append(Line(record["server_name"], Style.CODE))
    if types := record.get("message_types"):
        lines.append(Line(f"{record.get('message_endpoint', '')}: {', '.join(types)}"))
    views = [str(view).partition(":") for view in record.get("inspected", ())]
    if views:
        chain = " > ".join(f"{name} {int(size):,}" for name, _, size in views[:4] if size.isdigit())
        lines.append(Line(f"{chain} bytes", Style.SOFT))
    duration = _duration(record)
    if record.get("verdict") == "deny":
        reason = str(record.get("reason", ""))
        found = str(record.get("detail") or reason)
        # Its detail alone could be about the site system.
        found = f"malware engine: {found}" if reason == "engine-unavailable" else found
        lines.append(Line(found, Style.FOUND))
        lines.append(Line(f"{reason}, {duration}", Style.SOFT))
        lines.append(Line(f"rule {record.get('rule', '')}", Style.CODE))
        return lines
    if removed := record.get("dropped_headers"):
        lines.append(Line(f"removed {', '.join(removed)}", Style.FOUND))
    elif record.get("client_guid"):
        binding = record.get("client_guid_binding") or "not bound"
        lines.append(Line(f"client GUID {binding}, {record.get('signed_with') or 'not signed'}"))
    return [*lines, Line(duration, Style.SOFT)]


def _tunnel_lines(record: Mapping[str, Any]) -> list[Line]:
    lines = [Line(str(record.get("server_name") or "no server name"), Style.CODE)]
    if record.get("event") == "tunnel" and record.get("verdict") == "allow":
        text = f"{tunneled_bytes(dict(record)):,} encrypted bytes, {_duration(record)}"
        lines.append(Line(text, Style.SOFT))
    elif record.get("verdict") == "deny":
        lines.append(Line(str(record.get("detail") or record.get("reason", "")), Style.FOUND))
    return lines


def _duration(record: Mapping[str, Any]) -> str:
    seconds = record.get("duration_seconds")
    return _duration_text(seconds) if seconds is not None else ""


def _duration_text(seconds: float) -> str:
    """Return a duration as a short text."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _site_lines(result: CaseResult, outcome: Outcome) -> list[Line]:
    role = str(result.bridge.audit.get("role") or "")
    received = outcome.observation.received
    if received:
        role = received[-1].site_system
    elif result.tunnel and result.tunnel.observation.received:
        role = result.tunnel.observation.received[-1].site_system
    heading = Line(role.replace("-", " ") or "site system")
    if not received or outcome.observation.cancelled:
        text = outcome.site_system_received
        return [heading, Line(f"received {text}" if text == "nothing" else text, Style.SOFT)]
    last = received[-1]
    lines = [heading, Line(last.method, Style.CODE)]
    arrived = {name for name, _ in last.headers}
    for name in result.case.dropped:
        lines.append(Line(f"{'with' if name in arrived else 'without'} {name}", Style.CODE))
    if not result.case.dropped:
        lines.append(Line(last.target, Style.CODE))
    sender = _name(last.certificate_subject or "")
    size = f"{last.size:,} bytes " if last.size else ""
    if not sender:
        return [*lines, Line(f"{size}from a client", Style.SOFT)]
    return [*lines, Line(f"{size}from", Style.SOFT), Line(sender, Style.CODE)]


def _name(subject: str) -> str:
    """Return the common name of a subject."""
    return subject.partition(",")[0].removeprefix("CN=")
