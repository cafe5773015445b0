"""Flows made to be looked at: copies that never held a secret, a client's bytes or a connection.

A page, a download of it and whatever else reads a flow can only show what is in it. So nothing is
hidden when a flow is shown; it is left out when the flow is made:

- of a head, `audit.redacted_heads`; of a body, the text that `views` makes of a message, and of
  any other body how long it is
- of a tunnel, how much passed
- what the audit says, with the reason, rule and requirement of a refusal

Nothing leads from such a flow back to the connection or the request it was made of.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from mitmproxy import http
from mitmproxy.connection import Client, ConnectionState, Server
from mitmproxy.flow import Error, Flow
from mitmproxy.tcp import TCPFlow, TCPMessage

from ibcm_bridge.addons.audit.trail import of_exchange, of_refusal, of_tunnel
from ibcm_bridge.addons.connections import ConnectionRecord, ExchangeEnded
from ibcm_bridge.addons.events import EndedTunnel, RefusedConnection
from ibcm_bridge.addons.layers.display import shown_request
from ibcm_bridge.audit import record as audit
from ibcm_bridge.audit.redacted_heads import Fields, redacted, redacted_fields
from ibcm_bridge.audit.text import lines, summary
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.decisions.refusal_response import response_bytes
from ibcm_bridge.decisions.refusals import refusal
from ibcm_bridge.messages.views import recognize, render
from ibcm_bridge.policy.addresses import socket_address
from ibcm_bridge.request.head import RequestHead

MAX_BODY = 262_144
"""Bytes of a body that a view is made of. What larger messages hold, `ccm_views` can show."""

NOT_HERE = "this page never has them"
NOTED = ":warning:"
"""The mark of what would be refused, did the policy not say to observe."""


@dataclass(frozen=True, slots=True)
class Readable:
    """A body that a view may be made of, and how it was found. Full of secrets: not to be kept."""

    method: str
    target: str
    content_type: bytes
    body: bytes = field(repr=False)
    status: int | None
    """None of a request."""

    def text(self) -> str | None:
        """The view, None where there is none. One that was made to be slow takes seconds."""
        kind = recognize(self.method, self.target, self.content_type, self.body, status=self.status)
        if kind is None:
            return None
        return render(kind, self.content_type, self.body, how_to_see=NOT_HERE)


def readable_request(ended: ExchangeEnded) -> Readable | None:
    """The body of a request; None where it has none, or not all of it, or too much."""
    head = ended.head
    if head is None or not ended.body or len(ended.body) < (head.length or 0):
        return None
    if len(ended.body) > MAX_BODY:
        return None
    method, target = head.method.decode("ascii"), head.target.raw.decode("ascii")
    return Readable(method, target, head.value(b"content-type") or b"", ended.body, None)


def readable_reply(flow: http.HTTPFlow) -> Readable | None:
    """The body of a reply, while the flow has it; None where it has none, or too much."""
    response = flow.response
    if response is None or response.raw_content is None or len(response.raw_content) > MAX_BODY:
        return None
    fields = response.headers.fields
    content_type = next((value for name, value in fields if name.lower() == b"content-type"), b"")
    asked, body = flow.request, response.raw_content
    return Readable(asked.method, asked.path, content_type, body, response.status_code)


def exchange_flow(exchange: ExchangeEnded, answer: http.Response | None) -> http.HTTPFlow | TCPFlow:
    """A request and its answer, once they have ended, with bodies only counted.

    `answer` is the head that came from the site system.
    """
    record = of_exchange(exchange)
    if exchange.head is None:
        return _bare(exchange.connection, record, exchange.began)
    client = _client(exchange.connection)
    server = Server(address=None)
    if exchange.authorized is not None:
        server = Server(address=exchange.authorized.site_system.address)
        server.sni = exchange.authorized.site_system.name
    flow = http.HTTPFlow(client, server)
    flow.request = shown_request(redacted(exchange.head), exchange.connection.server_name)
    if not client.tls:
        flow.request.data.scheme = b"http"
    flow.request.data.port = _port(exchange.connection)
    flow.request.raw_content = _request_text(exchange, exchange.head).encode()
    flow.request.timestamp_start, ended = _times(exchange.began)
    flow.request.timestamp_end = flow.request.timestamp_start
    flow.response = _response(exchange, answer, ended)
    _tell(flow, record)
    return flow


def tunnel_flow(ended: EndedTunnel) -> TCPFlow:
    """A tunnel, once it has ended."""
    return _bare(ended.connection, of_tunnel(ended), ended.connection.began)


def refused_flow(refused: RefusedConnection) -> TCPFlow:
    """A connection that carried nothing."""
    return _bare(refused.connection, of_refusal(refused), refused.connection.began)


def size_of(flow: Flow) -> int:
    """About how many bytes a flow takes: what differs, and what all of them have."""
    size = 4_096 + len(flow.comment)
    if isinstance(flow, http.HTTPFlow):
        for message in (flow.request, flow.response):
            if message is not None:
                size += len(message.raw_content or b"")
                size += sum(len(name) + len(value) for name, value in message.headers.fields)
        size += len(flow.request.data.path)
    elif isinstance(flow, TCPFlow):
        size += sum(len(message.content) for message in flow.messages)
    return size


def _request_text(exchange: ExchangeEnded, head: RequestHead) -> str:
    announced = head.length or 0
    if not announced:
        return ""
    if len(exchange.body) < announced:
        return f"A body of {announced:,} bytes was announced; not all of it was read."
    return _counted(announced)


def _response(
    exchange: ExchangeEnded, answer: http.Response | None, ended: float
) -> http.Response | None:
    denial = exchange.decision
    if isinstance(denial, Deny) and exchange.status is not None and not exchange.bytes_out:
        row = refusal(denial)
        head, _, body = response_bytes(denial, exchange.reference).partition(b"\r\n\r\n")
        names = [line.partition(b": ")[::2] for line in head.split(b"\r\n")[1:]]
        reason = row.status.phrase if row.status else ""
        return _made(exchange.status, reason.encode(), names, body.decode(), ended)
    if answer is None:
        return None
    text = _counted(exchange.bytes_out) if exchange.bytes_out else ""
    fields = redacted_fields(answer.headers.fields)
    return _made(answer.status_code, answer.data.reason, fields, text, ended)


def _made(status: int, reason: bytes, fields: Fields, text: str, ended: float) -> http.Response:
    return http.Response(
        http_version=b"HTTP/1.1",
        status_code=status,
        reason=reason,
        headers=http.Headers(fields),
        content=text.encode(),
        trailers=None,
        timestamp_start=ended,
        timestamp_end=ended,
    )


def _counted(length: int) -> str:
    return f"{length:,} bytes. The page shows messages of ConfigMgr's and keeps nothing else."


def _bare(connection: ConnectionRecord, record: audit.Record, began: float) -> TCPFlow:
    """What is no request: its end is all there is to say of it."""
    asked = (connection.server_name or "no name", _port(connection))
    flow = TCPFlow(_client(connection), Server(address=asked))
    flow.server_conn.timestamp_start, ended = _times(began)
    flow.timestamp_created = flow.server_conn.timestamp_start
    flow.server_conn.timestamp_end = ended
    _tell(flow, record)
    flow.messages.append(TCPMessage(False, flow.comment.encode(), ended))
    return flow


def _port(connection: ConnectionRecord) -> int:
    """What the client connected to, as far as it knows."""
    publication = connection.publication
    return publication.public_port if publication else connection.listener.address[1]


def _tell(flow: Flow, record: audit.Record) -> None:
    flow.comment = f"{summary(record)}\n\n{lines(record)}"
    if record[audit.VERDICT] == audit.Verdict.DENY:
        flow.error = Error(summary(record))
    elif record.get(audit.OBSERVED):
        flow.marked = NOTED


def _client(connection: ConnectionRecord) -> Client:
    """The client's end, without its certificate: the record has what names that."""
    seen = connection.client
    client = Client(
        peername=socket_address(seen.peername),
        sockname=socket_address(seen.sockname),
        state=ConnectionState.CLOSED,
        timestamp_start=seen.timestamp_start,
    )
    client.sni = connection.server_name
    client.tls = seen.tls
    client.tls_version = seen.tls_version
    client.cipher = seen.cipher
    client.alpn = seen.alpn
    client.timestamp_tls_setup = seen.timestamp_tls_setup
    return client


def _times(began: float) -> tuple[float, float]:
    """When something began, of which a monotonic clock knows, and that it has ended: now."""
    ended = time.time()
    return ended - (time.monotonic() - began), ended
