"""A case and how it went -> what the page shows, as JSON. Nothing here sends or reads anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.decisions.refusals import REFUSALS
from ibcm_bridge.lab.cases.case import Case, Disposition
from ibcm_bridge.lab.cases.requirements import REQUIREMENTS
from ibcm_bridge.lab.comparison.outcomes import NO_TUNNEL, CaseResult, Outcome
from ibcm_bridge.lab.demo.report import SHORT, WORDS, case_data, standing
from ibcm_bridge.lab.protocol.client import Request, Response
from ibcm_bridge.lab.site_systems.records import ReceivedRequest
from ibcm_bridge.messages.views import recognize, render
from ibcm_bridge.policy_file import shipped_clients

MAX_VIEW = 24_000
"""Characters of one view: more is not read on a page."""

_HOW_TO_SEE = "this page does not show them"


def card(family: str, case: Case) -> dict[str, Any]:
    """What is known of a case before it is sent."""
    return {
        "id": case.id,
        "family": family,
        "title": case.title[:1].upper() + case.title[1:],
        "requirement": cited(case.requirement),
        "also": [cited(requirement) for requirement in case.also],
        "lesson": case.lesson,
        "client": case.client.value,
        "no_tunnel": NO_TUNNEL if case.tunnel is None else "",
    }


def cited(requirement: str) -> dict[str, str]:
    """A requirement with its sentence."""
    return {"id": requirement, "sentence": REQUIREMENTS.get(requirement, "")}


def summary(result: CaseResult, faults: Sequence[str] = ()) -> dict[str, Any]:
    """How a case went, as far as a list of cases shows it."""
    return {
        "id": result.case.id,
        "bridge": _short(result, result.bridge, faults),
        "tunnel": _short(result, result.tunnel, faults),
        "problems": list(result.problems),
        "faults": list(faults),
        "announce": _announced(result),
    }


def details(family: str, result: CaseResult, faults: Sequence[str] = ()) -> dict[str, Any]:
    """All sides of a case that was sent."""
    return {
        **summary(result, faults),
        "sent": sent(result.request),
        "ways": {
            "bridge": _way(result, result.bridge, faults),
            "tunnel": _way(result, result.tunnel, faults),
        },
        "data": case_data(family, result),
    }


def sent(request: Request) -> dict[str, Any]:
    """What a client sends."""
    line = f"{request.method} {request.target} {request.version}"
    fields = [list(field) for field in request.headers]
    body = request.body or b""
    return {"line": line, "fields": fields, **_body(request.method, request.target, fields, body)}


def _short(
    result: CaseResult, outcome: Outcome | None, faults: Sequence[str]
) -> dict[str, str] | None:
    if outcome is None:
        return None
    return {
        "standing": _standing(result, outcome, faults),
        "text": f"{SHORT[outcome.disposition]}: {outcome.client_got}",
    }


def _standing(result: CaseResult, outcome: Outcome, faults: Sequence[str]) -> str:
    """As on any day, but that with a fault to refuse is right, whatever the case wants."""
    refused = outcome is result.bridge and outcome.disposition is Disposition.REFUSED_BY_PROXY
    return "right" if faults and refused else standing(result, outcome)


def _announced(result: CaseResult) -> str:
    ways = [("bridge", result.bridge), ("tunnel", result.tunnel)]
    parts = [
        f"{name} {SHORT[outcome.disposition]}, {outcome.client_got}"
        for name, outcome in ways
        if outcome
    ]
    return f"{result.case.title}: {'; '.join(parts)}."


def _way(
    result: CaseResult, outcome: Outcome | None, faults: Sequence[str]
) -> dict[str, Any] | None:
    if outcome is None:
        return None
    record = outcome.audit
    return {
        "standing": _standing(result, outcome, faults),
        "verdict": WORDS[outcome.disposition],
        "got": outcome.client_got,
        "said": _response_text(outcome.seen.client_result),
        "shown": outcome.shown,
        "saw": _saw(record, outcome.saw),
        "decoded": _was_read(record, result.request),
        "rule": record.get("rule", ""),
        "reason": record.get("reason", ""),
        "detail": record.get("detail", ""),
        "cites": cited(record["requirement"]) if "requirement" in record else None,
        **_client_log(result, outcome),
        "arrived": outcome.arrived,
        "received": _received(result.request, outcome.seen.received),
        "audit": record,
    }


def _saw(record: Mapping[str, Any], words: str) -> list[list[str]]:
    """What the proxy could see, by what it is of."""
    if record.get("event") == "tunnel":
        bytes_in, bytes_out = record["bytes_from_client"], record["bytes_to_client"]
        amount = f"{bytes_in:,} from the client, {bytes_out:,} to it: TLS, and nothing of what is"
        return [["Server name", record["server_name"]], ["Bytes", f"{amount} inside"]]
    certificate = record.get("client_certificate") or {}
    facts = {
        "Server name": record.get("server_name", ""),
        "Certificate": _name(certificate.get("subject", "")),
        "issued by": _name(certificate.get("issuer", "")),
        "Request": f"{record['method']} {record['target']}" if "method" in record else "",
        "Message for": record.get("message_endpoint", ""),
        "Documents": ", ".join(record.get("message_types", ())),
        "Client GUID": " ".join(filter(None, (record.get("client_guid"), _bracketed(record)))),
        "Signed with": record.get("signed_with", ""),
        "Looked at": ", ".join(map(_view_in_words, record.get("inspected", ()))),
        "Took out": ", ".join(record.get("dropped_headers", ())),
    }
    found = [[name, str(value)] for name, value in facts.items() if value]
    return found or [["", words]]


def _name(subject: str) -> str:
    """What tells certificates of one lab apart; the audit record has the whole subject."""
    return subject.partition(",")[0].removeprefix("CN=")


def _bracketed(record: Mapping[str, Any]) -> str:
    return f"({record['client_guid_binding']})" if record.get("client_guid_binding") else ""


def _view_in_words(view: str) -> str:
    name, _, length = view.partition(":")
    return f"{name} ({int(length):,} bytes)" if length.isdigit() else view


def _was_read(record: Mapping[str, Any], request: Request) -> bool:
    """Whether the proxy had the body, and not only the head."""
    whole = record.get("bytes_from_client") == len(request.body or b"") > 0
    return record.get("event") == "request" and whole


def _client_log(result: CaseResult, outcome: Outcome) -> dict[str, str]:
    """What an administrator will find on the client."""
    record = outcome.audit
    if record.get("event") != "tunnel" and "reason" in record:
        row = REFUSALS[Reason(record["reason"])]
        client = shipped_clients().requesting(result.request.target)[0]
        return {"log": client.shows(row), "next": client.does(row.next_step)}
    client_result = outcome.seen.client_result
    if isinstance(client_result, Response) and client_result.status < 400:
        return {"log": "Nothing unusual: it was answered.", "next": ""}
    text = f"As without a proxy: {outcome.client_got}, from the site system or its own TLS."
    return {"log": text, "next": ""}


def _response_text(client_result: object) -> str:
    """The text of an answer, where it is one: a refusal says why in its body."""
    if not isinstance(client_result, Response):
        return ""
    media = (client_result.header("Content-Type") or "").partition(";")[0].strip().lower()
    if media != "text/plain" or len(client_result.body) > 2_000:
        return ""
    return client_result.body.decode("utf-8", "replace").replace("\r\n", "\n").strip()


def _received(request: Request, received: Sequence[ReceivedRequest]) -> dict[str, Any] | None:
    if not received:
        return None
    last = received[-1]
    arrived = {name for name, _ in last.headers}
    same = last.sha256 == sha256(request.body or b"").hexdigest()
    fields = [list(field) for field in last.headers]
    return {
        "line": f"{last.method} {last.target}",
        "fields": fields,
        "missing": [name for name, _ in request.headers if name not in arrived],
        "certificate": _name(last.certificate_subject or "none"),
        "same": same,
        **(
            {"bytes": last.size, "view": ""}
            if same
            else _body(last.method, last.target, fields, last.body)
        ),
    }


def _body(method: str, target: str, fields: Sequence[Sequence[str]], body: bytes) -> dict[str, Any]:
    types = [value for name, value in fields if name.lower() == "content-type"]
    content_type = (types[0] if types else "").encode("latin-1")
    kind = recognize(method, target, content_type, body, status=None) if body else None
    if kind is not None:
        view = render(kind, content_type, body, how_to_see=_HOW_TO_SEE)
    else:
        view = _plain(body)
    if len(view) > MAX_VIEW:
        view = f"{view[:MAX_VIEW]}\n[cut: {len(view):,} characters in all]"
    return {"bytes": len(body), "view": view}


def _plain(body: bytes) -> str:
    """A body that is text, and nothing of one that is not."""
    try:
        text = body[: 4 * MAX_VIEW].decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return (
        text if all(character.isprintable() or character in "\r\n\t" for character in text) else ""
    )
