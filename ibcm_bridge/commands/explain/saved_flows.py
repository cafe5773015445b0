"""Requests from a mitmproxy flow file (`mitmdump -w`), for `explain`."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from cryptography import x509
from mitmproxy.exceptions import FlowReadException
from mitmproxy.http import HTTPFlow
from mitmproxy.io import FlowReader

from ibcm_bridge.commands.explain.described_request import DescribedRequest, Url, describe_request


def saved_requests(
    path: Path, presented: Sequence[x509.Certificate], ports: Container[int]
) -> Iterator[DescribedRequest]:
    """Each HTTP request of a file. Raises OSError, or ValueError for a file without requests.

    `presented` is used for clients without a saved certificate. `ports` are the ports that clients
    connect to; any other saved port is that of a server behind the proxy.
    """
    found = False
    with path.open("rb") as file:
        try:
            for flow in FlowReader(file).stream():
                if isinstance(flow, HTTPFlow):
                    found = True
                    yield _request(flow, presented, ports)
        except (FlowReadException, LookupError, TypeError, AttributeError) as error:
            # FlowReader raises the other errors for a manipulated file.
            raise ValueError(f"{path} is not a mitmproxy flow file, or is damaged") from error
    if not found:
        raise ValueError(f"{path} has no HTTP request")


def _request(
    flow: HTTPFlow, presented: Sequence[x509.Certificate], ports: Container[int]
) -> DescribedRequest:
    client, sent = flow.client_conn, flow.request.data
    scheme = "https" if client.tls or sent.scheme == b"https" else "http"
    saved = [certificate.to_cryptography() for certificate in client.certificate_list]
    name = (client.sni or flow.request.pretty_host).lower()
    url = Url(scheme, name, sent.port if sent.port in ports else None, _text(sent.path))
    fields = tuple((_text(field), _text(value)) for field, value in sent.headers.fields)
    version = _text(sent.http_version)
    if version in ("HTTP/2.0", "HTTP/3"):
        # The bridge offers only HTTP/1.1 in ALPN; there the client would add the missing fields.
        return describe_request(_text(sent.method), url, fields, saved or presented, sent.content)
    return DescribedRequest(
        method=_text(sent.method),
        url=url,
        headers=fields,
        certificates=tuple(saved or presented),
        body=sent.content,
        version=version,
    )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
