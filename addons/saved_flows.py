"""Requests that mitmproxy has saved (`mitmdump -w`), as questions for `explain`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography import x509
from mitmproxy.exceptions import FlowReadException
from mitmproxy.http import HTTPFlow
from mitmproxy.io import FlowReader

from ibcm_bridge.explain import Question


def saved_questions(path: Path, presented: Sequence[x509.Certificate]) -> Iterator[Question]:
    """Each HTTP request of a file. OSError, or ValueError for a file that is none.

    `presented` stands for the certificate of a client of which none was saved.
    """
    with path.open("rb") as file:
        try:
            for flow in FlowReader(file).stream():
                if isinstance(flow, HTTPFlow):
                    yield _question(flow, presented)
        except FlowReadException as error:
            raise ValueError(f"{path} holds no flows of mitmproxy") from error


def _question(flow: HTTPFlow, presented: Sequence[x509.Certificate]) -> Question:
    client, sent = flow.client_conn, flow.request.data
    name = client.sni or flow.request.pretty_host
    scheme = "https" if client.tls or sent.scheme == b"https" else "http"
    saved = [one.to_cryptography() for one in client.certificate_list]
    return Question(
        method=_text(sent.method),
        url=f"{scheme}://{name}{_text(sent.path)}",
        headers=tuple((_text(field), _text(value)) for field, value in sent.headers.fields),
        certificates=tuple(saved or presented),
        body=sent.content,
    )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
