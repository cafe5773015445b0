"""Explains requests that a person edits on the page, and sends them both ways.

A request that `explain` cannot read is not sent. Only the text of the request and the certificate
of the client are the person's: names and addresses are those of the case.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from ibcm_bridge.lab.cases.case import Case, ClientCertificate
from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.comparison.outcomes import NO_TUNNEL, CaseResult, PlainResult
from ibcm_bridge.lab.comparison.verdicts import happened
from ibcm_bridge.lab.page import case_view
from ibcm_bridge.lab.page.edited_request import NotARequest, editable_body, edited_body
from ibcm_bridge.lab.page.request_preview import LabFiles
from ibcm_bridge.lab.page.tools import Explained, Question, Tools
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.lab.site_systems.published import PLAINTEXT_PORT

type Enqueue = Callable[[str, Callable[[], None]], None]
type Publish = Callable[[str, dict[str, Any]], None]

MAX_HEAD = 24_000
"""Characters of the request line and the header fields."""

_LINE_END = re.compile(r"\r?\n")
"""Not the other line ends of Unicode, which a header field can have."""

_BY_ID = {case.id: case for case in CASES}

_CANCELLED = (
    "The bridge cancels this upload after requests before it, so this packet cannot be edited. "
    "Choose another case."
)


@dataclass(frozen=True)
class Edit:
    """What the page sends: a case, and its edited parts."""

    case: Case
    client: ClientCertificate
    line: str
    fields: tuple[str, ...]
    texts: tuple[str, ...]
    sign: bool

    @classmethod
    def read(cls, given: dict[str, Any]) -> Self:
        """Read JSON data. KeyError, TypeError or ValueError if it has another shape."""
        texts = [given["line"], given["fields"], *given["texts"]]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("not a text")
        return cls(
            _BY_ID[given["case"]],
            ClientCertificate[given["client"]],
            given["line"],
            tuple(filter(None, _LINE_END.split(given["fields"]))),
            tuple(given["texts"]),
            given["sign"] is True,
        )


class Edits:
    """The requests that are edited."""

    def __init__(
        self,
        perimeter: Perimeter,
        tools: Tools,
        plain: Callable[[Case], PlainResult | None],
        enqueue: Enqueue,
        publish: Publish,
    ) -> None:
        """`plain` sends a case through a plain reverse proxy."""
        self._perimeter = perimeter
        self._tools = tools
        self._plain = plain
        self._enqueue = enqueue
        self._publish = publish
        self._files = LabFiles(perimeter.directory)
        self._begun: dict[str, Request] = {}
        """Case -> the request that the page began with."""
        self._results: dict[str, dict[str, Any]] = {}
        self._one_at_a_time = threading.Lock()

    def editor(self, name: str) -> dict[str, Any]:
        """Return the parts of a case that can be edited. KeyError if it is unknown."""
        case = _BY_ID[name]
        if case.cancels_upload:
            return {"why_not": _CANCELLED}
        request = case.request(self._perimeter.comparison.senders(case.client))
        self._begun[name] = request
        body = editable_body(request)
        return {
            "why_not": "",
            "line": f"{request.method} {request.target} {request.version}",
            "fields": "\n".join(f"{field}: {value}" for field, value in request.headers),
            "texts": [{"title": text.title, "text": text.text} for text in body.texts],
            "note": body.note,
            "signed": body.signed,
            "client": case.client.name,
            "clients": [{"name": each.name, "title": each.value} for each in ClientCertificate],
            "result": self._results.get(name),
        }

    def explain(self, edit: Edit) -> dict[str, Any]:
        """Return the words of `explain`, or why the edited texts are not a request."""
        try:
            return _explanation(self._read(edit)[1])
        except NotARequest as why:
            return {"problem": str(why)}

    def send(self, edit: Edit) -> dict[str, Any]:
        """Explain the request, and send it if it is a request. Return the same as `explain`."""
        try:
            request, explained = self._read(edit)
        except NotARequest as why:
            return {"problem": str(why)}
        self._enqueue(edit.case.id, partial(self._send, edit, request, explained))
        return _explanation(explained)

    def _read(self, edit: Edit) -> tuple[Request, Explained]:
        if edit.case.id not in self._begun:
            self.editor(edit.case.id)
        begun = self._begun.get(edit.case.id)
        if begun is None:
            raise NotARequest(_CANCELLED)
        if len(edit.line) + sum(map(len, edit.fields)) > MAX_HEAD:
            raise NotARequest(f"The head is longer than {MAX_HEAD:,} characters; shorten it.")
        me = self._perimeter.comparison.senders(edit.client).me
        body = edited_body(begun, edit.texts, me.key if edit.sign else None)
        with self._one_at_a_time:
            try:
                explained = self._tools.explain(
                    self._perimeter.bridge.policy_file, self._question(edit, begun, body)
                )
            except (ValueError, OSError) as why:
                raise NotARequest(str(why)) from why
        fields = tuple((_sent(name), _sent(value)) for name, value in explained.fields)
        request = replace(
            begun,
            method=explained.method,
            target=explained.target,
            version=explained.version,
            headers=fields,
            body=body,
        )
        return request, explained

    def _question(self, edit: Edit, begun: Request, body: bytes | None) -> Question:
        to, credential = edit.case.to, self._files.credential(edit.client)
        plain = begun.plaintext or to.port == PLAINTEXT_PORT
        return Question(
            edit.line,
            edit.fields,
            body,
            "http" if plain else "https",
            to.name,
            self._perimeter.bridge.addresses[to.port][1],
            None if credential is None else Path(f"{credential}.pem"),
        )

    def _send(self, edit: Edit, request: Request, explained: Explained) -> None:
        case = replace(edit.case, client=edit.client, request=lambda _: request)
        try:
            result = self._perimeter.comparison.result(case)
        except TimeoutError:
            shown = {"id": case.id, "problem": _NO_RESPONSE, **_explanation(explained)}
        else:
            shown = {**edited_view(result), **_explanation(explained), "plain": self._third(case)}
        self._results[case.id] = shown
        self._publish("edited", shown)

    def _third(self, case: Case) -> dict[str, str]:
        """Return the result through a plain reverse proxy, or why there is none."""
        request = case.request(self._perimeter.comparison.senders(case.client))
        if announces_more(request):
            return {"why_not": "the request announces more bytes than it has"}
        plain = self._plain(case)
        if plain is None or plain.recorded:
            return {"why_not": plain.why_recorded if plain else "it has no such name"}
        word, detail = happened(plain.disposition)
        received = plain.client_received
        return {"proxy": plain.proxy, "word": word, "received": received, "detail": detail}


def announces_more(request: Request) -> bool:
    """Return whether a proxy would wait for the rest of the body."""
    lengths = [value for name, value in request.headers if name.lower() == "content-length"]
    size = len(request.body or b"")
    return any(value.isdecimal() and int(value) > size for value in lengths)


_NO_RESPONSE = (
    "There was no response within 10 seconds: the rest of the request is awaited. Compare its "
    "length with Content-Length, and remove Transfer-Encoding."
)


def _sent(text: str) -> str:
    """Return a text that is UTF-8 on the wire; the client of the lab encodes Latin-1."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _explanation(explained: Explained) -> dict[str, Any]:
    return {"steps": list(explained.steps), "decision": explained.verdict}


def edited_view(result: CaseResult) -> dict[str, Any]:
    """Return the result of an edited request. No requirement says what it should be."""
    outcomes = {"bridge": result.bridge, "tunnel": result.tunnel}
    return {
        "id": result.case.id,
        "problem": "",
        "no_tunnel": NO_TUNNEL if result.tunnel is None else "",
        "sent": case_view.sent(result.request),
        "paths": {
            path: case_view.path_without_grade(result, outcome)
            for path, outcome in outcomes.items()
        },
    }
