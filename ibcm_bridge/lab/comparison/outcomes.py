"""How a case went, in values and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from ibcm_bridge.lab.cases.case import Case, Disposition
from ibcm_bridge.lab.protocol.client import ConnectionEnded, HandshakeRefused, Request, Response
from ibcm_bridge.lab.protocol.reply_documents import ERROR_PAGE
from ibcm_bridge.lab.site_systems.records import ReceivedRequest
from ibcm_bridge.lab.site_systems.stand_ins import STAND_INS, ClientAuthentication


@dataclass(frozen=True)
class ClientRefused:
    """The client did not believe the certificate it was shown, and why."""

    why: str


ClientResult = Response | HandshakeRefused | ConnectionEnded | ClientRefused


@dataclass(frozen=True)
class Outcome:
    """How one way went, in words and in values."""

    disposition: Disposition
    status: int | None
    alert: str | None
    client_got: str
    """One line: what the client got, and from whom."""
    shown: str
    """Whose certificate the client was shown and took; empty where there was none."""
    arrived: str
    """One line: what the site system received."""
    saw: str
    """One line: what the proxy could see."""
    audit: dict[str, Any]
    seen: Observation
    """The same, before it was put into words."""


@dataclass(frozen=True)
class CaseResult:
    """A case and how it went both ways."""

    case: Case
    request: Request
    bridge: Outcome
    tunnel: Outcome | None
    problems: tuple[str, ...]
    """What did not go as the requirement says."""


NO_TUNNEL = "There is none: without TLS there is no server name to choose a tunnel by."


@dataclass(frozen=True)
class Observation:
    """One way of a case, from all sides, before it is put into words."""

    client_result: ClientResult
    presented: x509.Certificate | None
    received: tuple[ReceivedRequest, ...]
    handshakes: int
    """ClientHellos that reached a site system."""
    record: dict[str, Any]
    bridged: bool
    withdrawn: bool = False
    """Whether the bridge has told the site system to throw away what came before."""


def outcome(case: Case, seen: Observation) -> Outcome:
    """Put it into words."""
    client_result = seen.client_result
    return Outcome(
        disposition=_far(seen),
        status=client_result.status if isinstance(client_result, Response) else None,
        alert=client_result.alert if isinstance(client_result, HandshakeRefused) else None,
        client_got=_client_got(client_result) + _notes(case, seen),
        shown=_common_name(seen.presented) if seen.presented else "",
        arrived=_arrived(case, seen),
        saw=saw(seen.record),
        audit=seen.record,
        seen=seen,
    )


def problems(case: Case, bridge: Outcome, tunnel: Outcome | None) -> Iterator[str]:
    """What did not go as the requirement says."""
    expected = case.bridge
    if bridge.disposition is not expected.disposition:
        wanted, found = expected.disposition, bridge.disposition
        yield f"{case.requirement} wants it {wanted}; through the bridge it was {found}"
    if (bridge.status, bridge.alert) != (expected.status, expected.alert):
        yield f"the bridge answered {bridge.client_got}"
    cited = bridge.audit.get("requirement")
    if cited is not None and cited not in (case.requirement, *case.also):
        yield f"the bridge cites {cited} in place of {case.requirement}"
    if tunnel is None:
        return
    if tunnel.disposition is not case.tunnel:
        yield f"through the tunnel it was {tunnel.disposition} in place of {case.tunnel}"
    if tunnel.audit.get("event") == "tunnel":
        seen = {"method", "target", "client_name", "client_certificate"} & tunnel.audit.keys()
        if seen or "TUNNEL-BLIND" not in tunnel.audit.get("note", ""):
            yield "the audit of a tunnel is not that of one who sees nothing (TUNNEL-BLIND)"


def _far(seen: Observation) -> Disposition:
    if isinstance(seen.client_result, ClientRefused):
        return Disposition.REFUSED_BY_CLIENT
    # A bridge looks at the site system before it sends anything: that is no arrival yet.
    if not seen.received and (seen.bridged or not seen.handshakes):
        return Disposition.REFUSED_BY_PROXY
    if seen.bridged and seen.record.get("verdict") == "deny":
        return Disposition.ANSWER_REFUSED
    good = isinstance(seen.client_result, Response) and seen.client_result.status < 400
    return Disposition.ANSWERED if good and not _says_nothing(seen) else Disposition.REFUSED_THERE


def _client_got(client_result: ClientResult) -> str:
    if isinstance(client_result, Response):
        return f"{client_result.status} {client_result.reason}"
    if isinstance(client_result, HandshakeRefused):
        return f"TLS alert: {client_result.alert}"
    if isinstance(client_result, ClientRefused):
        return "a certificate that it refused"
    return "the connection was closed"


def _notes(case: Case, seen: Observation) -> str:
    """What the status line does not say of an answer."""
    return _says_nothing(seen) + _fields(seen.received, case.dropped, "the header")


def _says_nothing(seen: Observation) -> str:
    """How a management point refuses (protocol.md 1.7): 200, and nothing or an error page."""
    if not isinstance(seen.client_result, Response) or not seen.received:
        return ""
    empty = seen.received[-1].method == "CCM_POST" and not seen.client_result.body
    return ", empty" * empty + ", an error page" * (seen.client_result.body == ERROR_PAGE)


def _arrived(case: Case, seen: Observation) -> str:
    if seen.withdrawn:
        return CANCELLED
    if not seen.received:
        why = seen.client_result.why if isinstance(seen.client_result, ClientRefused) else ""
        return _BROKEN_OFF[_who_ended(seen)] + why if seen.handshakes else "nothing"
    last = seen.received[-1]
    size = f", {len(last.body):,} bytes" if last.body else ""
    fields = _fields(seen.received, case.dropped)
    wants_certificate = STAND_INS[last.site_system].client_authentication in (
        ClientAuthentication.ALWAYS,
        ClientAuthentication.PER_DIRECTORY,
    )
    nobody = (
        "a client without certificate"
        if wants_certificate
        else "a client it asks for no certificate"
    )
    sender = _subject(last.certificate_subject) or nobody
    return f"{last.method} {last.target}{size}{fields}, from {sender}"


CANCELLED = "Cancel-Session, from the bridge"
"""In the place of a packet that was refused for good."""

_BROKEN_OFF = {
    "bridge": "a TLS handshake, which the bridge broke off",
    "client": "a TLS handshake, which the client broke off: ",
    "request": "a request that its web server could not read",
    "handshake": "a TLS handshake, which it refused",
}


def _who_ended(seen: Observation) -> str:
    if seen.bridged:
        return "bridge"
    if isinstance(seen.client_result, ClientRefused):
        return "client"
    return "request" if isinstance(seen.client_result, Response) else "handshake"


def field_names(received: ReceivedRequest) -> set[str]:
    """Of a request, as they were spelt."""
    return {name for name, _ in received.headers}


def _fields(received: Sequence[ReceivedRequest], dropped: tuple[str, ...], called: str = "") -> str:
    """Whether those that had to go have gone."""
    arrived = field_names(received[-1]) if received else set()
    words = (f", {'with' if name in arrived else 'without'} {called or name}" for name in dropped)
    return "".join(words) if received else ""


def _subject(subject: str | None) -> str:
    return subject.split(",")[0].removeprefix("CN=") if subject else ""


def _common_name(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def saw(record: dict[str, Any]) -> str:
    """What an audit record says, in one line."""
    if record.get("event") == "tunnel":
        return f"the name {record['server_name']} and {tunneled_bytes(record):,} bytes"
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
        seen.append(f"{int(views['inflated']):,} bytes inflated and read")
    elif "sent" in views:
        seen.append(f"{int(views['sent']):,} bytes read")
    if record.get("dropped_headers"):
        seen.append(f"took out {', '.join(record['dropped_headers'])}")
    if record.get("verdict") == "deny":
        seen.append(f"{record['reason']}: {record['detail']}")
    return "; ".join(seen) or "nothing"


def tunneled_bytes(record: dict[str, Any]) -> int:
    """How much went through a tunnel, both ways."""
    total: int = record["bytes_from_client"] + record["bytes_to_client"]
    return total
