"""Renders a case and its result as JSON for the page. It does no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.decisions.refusals import REFUSALS
from ibcm_bridge.lab.cases.case import Case
from ibcm_bridge.lab.cases.requirements import REQUIREMENTS
from ibcm_bridge.lab.comparison.outcomes import NO_TUNNEL, CaseResult, Outcome
from ibcm_bridge.lab.comparison.verdicts import happened, judge, judge_plain
from ibcm_bridge.lab.demo.report import case_data
from ibcm_bridge.lab.picture.drawing import picture
from ibcm_bridge.lab.protocol.client import Request, Response
from ibcm_bridge.lab.site_systems.records import ReceivedRequest
from ibcm_bridge.messages.views import recognize, render
from ibcm_bridge.policy_file import shipped_clients

MAX_VIEW = 24_000
"""Characters of a decoded body; the rest is cut off."""

_HOW_TO_SEE = "this page does not show them"


def card(family: str, case: Case) -> dict[str, Any]:
    """Return the data of a case that does not depend on a result."""
    return {
        "id": case.id,
        "family": family,
        "title": case.title[:1].upper() + case.title[1:],
        "requirement": cited(case.requirement),
        "other_requirements": [cited(requirement) for requirement in case.other_requirements],
        "explanation": case.explanation,
        "client": case.client.value,
        "no_tunnel": NO_TUNNEL if case.tunnel is None else "",
    }


def cited(requirement: str) -> dict[str, str]:
    """Return a requirement with its text."""
    return {"id": requirement, "text": REQUIREMENTS.get(requirement, "")}


def summary(result: CaseResult, faults: Sequence[str] = ()) -> dict[str, Any]:
    """Return the result of a case for the list of cases."""
    return {
        "id": result.case.id,
        "bridge": _short(result, result.bridge, faults),
        "tunnel": _short(result, result.tunnel, faults),
        "plain_proxy": _plain_proxy(result),
        "problems": list(result.problems),
        "faults": list(faults),
        "announcement": _announcement(result, faults),
    }


def details(family: str, result: CaseResult, faults: Sequence[str] = ()) -> dict[str, Any]:
    """Return all data of a case that was sent."""
    return {
        **summary(result, faults),
        "picture": picture(result, faults),
        "sent": sent(result.request),
        "paths": {
            "bridge": _path(result, result.bridge, faults),
            "tunnel": _path(result, result.tunnel, faults),
        },
        "data": case_data(family, result),
    }


def sent(request: Request) -> dict[str, Any]:
    """Return the request that a client sends."""
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
        **_verdict(result, outcome, faults),
        "client_received": outcome.client_received,
        "reference": str(outcome.audit.get("reference", "")),
    }


def _plain_proxy(result: CaseResult) -> dict[str, str | bool] | None:
    """Return the result through a plain reverse proxy, which no fault changes."""
    if result.plain is None:
        return None
    verdict = judge_plain(result.case, result.plain)
    return {
        "proxy": result.plain.proxy,
        "recorded": result.plain.recorded,
        "why_recorded": result.plain.why_recorded,
        "grade": verdict.grade.value,
        "mark": verdict.grade.mark,
        "word": verdict.word,
        "detail": verdict.detail,
        "client_received": result.plain.client_received,
    }


def _verdict(result: CaseResult, outcome: Outcome, faults: Sequence[str]) -> dict[str, str]:
    verdict = judge(result, outcome, faults)
    return {
        "grade": verdict.grade.value,
        "mark": verdict.grade.mark,
        "word": verdict.word,
        "detail": verdict.detail,
    }


def _announcement(result: CaseResult, faults: Sequence[str]) -> str:
    paths = [("bridge", result.bridge), ("tunnel", result.tunnel)]
    parts = [
        f"{name} {judge(result, outcome, faults).word}, {outcome.client_received}"
        for name, outcome in paths
        if outcome
    ]
    return f"{result.case.title}: {'; '.join(parts)}."


def _path(
    result: CaseResult, outcome: Outcome | None, faults: Sequence[str]
) -> dict[str, Any] | None:
    if outcome is None:
        return None
    return {"verdict": _verdict(result, outcome, faults), **_facts(result, outcome)}


def path_without_grade(result: CaseResult, outcome: Outcome | None) -> dict[str, Any] | None:
    """Return the result on one path of a request that no requirement is about."""
    if outcome is None:
        return None
    word, detail = happened(outcome.disposition)
    verdict = {"grade": "", "mark": "", "word": word, "detail": detail}
    return {"verdict": verdict, **_facts(result, outcome)}


def _facts(result: CaseResult, outcome: Outcome) -> dict[str, Any]:
    record = outcome.audit
    client_result = outcome.observation.client_result
    return {
        "client_received": outcome.client_received,
        "response_text": client_result.text if isinstance(client_result, Response) else "",
        "certificate_presented": outcome.certificate_presented,
        "proxy_saw": _proxy_saw(record, outcome.proxy_saw),
        "body_inspected": _body_inspected(record, result.request),
        "rule": record.get("rule", ""),
        "reason": record.get("reason", ""),
        "detail": record.get("detail", ""),
        "requirement": cited(record["requirement"]) if "requirement" in record else None,
        **_client_log(result, outcome),
        "site_system_received": outcome.site_system_received,
        "received": _received(result.request, outcome.observation.received),
        "audit": record,
    }


def _proxy_saw(record: Mapping[str, Any], summary: str) -> list[list[str]]:
    """Return the facts in an audit record as pairs of name and value."""
    if record.get("event") == "tunnel" and record.get("verdict") == "allow":
        bytes_in, bytes_out = record["bytes_from_client"], record["bytes_to_client"]
        amount = f"{bytes_in:,} from the client, {bytes_out:,} to the client (encrypted)"
        return [["Server name", record["server_name"]], ["Bytes", amount]]
    certificate = record.get("client_certificate") or {}
    facts = {
        "Server name": record.get("server_name", ""),
        "Certificate": _name(certificate.get("subject", "")),
        "Issuer": _name(certificate.get("issuer", "")),
        "Request": f"{record['method']} {record['target']}" if "method" in record else "",
        "Message for": record.get("message_endpoint", ""),
        "Documents": ", ".join(record.get("message_types", ())),
        "Client GUID": " ".join(filter(None, (record.get("client_guid"), _bracketed(record)))),
        "Signed with": record.get("signed_with", ""),
        "Inspected": ", ".join(map(_view_text, record.get("inspected", ()))),
        "Removed": ", ".join(record.get("dropped_headers", ())),
    }
    found = [[name, str(value)] for name, value in facts.items() if value]
    return found or [["", summary]]


def _name(subject: str) -> str:
    """Return the common name of a subject; the audit record has the complete subject."""
    return subject.partition(",")[0].removeprefix("CN=")


def _bracketed(record: Mapping[str, Any]) -> str:
    return f"({record['client_guid_binding']})" if record.get("client_guid_binding") else ""


def _view_text(view: str) -> str:
    name, _, length = view.partition(":")
    return f"{name} ({int(length):,} bytes)" if length.isdigit() else view


def _body_inspected(record: Mapping[str, Any], request: Request) -> bool:
    """Return whether the proxy had the whole body, not only the head."""
    whole = record.get("bytes_from_client") == len(request.body or b"") > 0
    return record.get("event") == "request" and whole


def _client_log(result: CaseResult, outcome: Outcome) -> dict[str, str]:
    """Return the expected lines in the client's log, and the client's next step."""
    record = outcome.audit
    if record.get("event") != "tunnel" and "reason" in record:
        row = REFUSALS[Reason(record["reason"])]
        client = shipped_clients().requesting(result.request.target)[0]
        next_step = client.does(result.request.method, row.next_step)
        return {"client_log": client.shows(row), "client_next": next_step}
    client_result = outcome.observation.client_result
    if isinstance(client_result, Response) and client_result.status < 400:
        return {"client_log": "Nothing unusual: the request succeeded.", "client_next": ""}
    text = f"The same as without a proxy: {outcome.client_received}."
    return {"client_log": text, "client_next": ""}


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
        "removed": [name for name, _ in request.headers if name not in arrived],
        "certificate": _name(last.certificate_subject or "none"),
        "unchanged": same,
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
        view = f"{view[:MAX_VIEW]}\n[cut off: {len(view):,} characters in total]"
    return {"bytes": len(body), "view": view}


def _plain(body: bytes) -> str:
    """Return a body if it is printable UTF-8; else an empty string."""
    try:
        text = body[: 4 * MAX_VIEW].decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return (
        text if all(character.isprintable() or character in "\r\n\t" for character in text) else ""
    )
