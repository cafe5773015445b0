"""Makes flows for display: copies without secrets, raw client bytes or live connections.

The page, its downloads and every other reader can only show what a flow contains. So nothing is
hidden at display time; it is left out when the flow is made. A flow contains:

- the redacted head (`audit.redacted_heads`); for a ConfigMgr message the text that `views` makes
  of its body, and for any other body only its length
- the number of bytes, for a tunnel
- the audit record, with the reason, rule and requirement of a refusal

A flow has no reference to the connection or the request that it was made from.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from mitmproxy import http
from mitmproxy.connection import Client, ConnectionState, Server
from mitmproxy.flow import Error, Flow
from mitmproxy.tcp import TCPFlow, TCPMessage

from ibcm_bridge.addons.audit.trail import exchange_record, refusal_record, tunnel_record
from ibcm_bridge.addons.clock import utc_now
from ibcm_bridge.addons.connections import ConnectionRecord, ExchangeEnded
from ibcm_bridge.addons.events import EndedTunnel, RefusedConnection
from ibcm_bridge.addons.layers.shown_flow import shown_request
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
"""The largest body that a view is made of, in bytes. `ccm_views` can show larger messages."""

NOT_HERE = "this page never shows them"
OBSERVED_MARK = ":warning:"
"""Marks requests that the policy would refuse if it did not set `observe`."""


@dataclass(frozen=True, slots=True)
class Readable:
    """A body to make a view of, with its context. It contains secrets: do not store it."""

    method: str
    target: str
    content_type: bytes
    body: bytes = field(repr=False)
    status: int | None
    """None for a request."""

    def text(self) -> str | None:
        """Return the view, or None if there is none. A hostile body can take seconds."""
        kind = recognize(self.method, self.target, self.content_type, self.body, status=self.status)
        if kind is None:
            return None
        return render(kind, self.content_type, self.body, how_to_see=NOT_HERE)


def readable_request(ended: ExchangeEnded) -> Readable | None:
    """Return the body of a request, or None if it is empty, incomplete or too large."""
    head = ended.head
    if head is None or not ended.body or len(ended.body) < (head.length or 0):
        return None
    if len(ended.body) > MAX_BODY:
        return None
    method, target = head.method.decode("ascii"), head.target.raw.decode("ascii")
    return Readable(method, target, head.value(b"content-type") or b"", ended.body, None)


def readable_reply(flow: http.HTTPFlow) -> Readable | None:
    """Return the body of a response while the flow has it, or None if it is empty or too large."""
    response = flow.response
    if response is None or response.raw_content is None or len(response.raw_content) > MAX_BODY:
        return None
    fields = response.headers.fields
    content_type = next((value for name, value in fields if name.lower() == b"content-type"), b"")
    request, body = flow.request, response.raw_content
    return Readable(request.method, request.path, content_type, body, response.status_code)


def exchange_flow(
    exchange: ExchangeEnded, response: http.Response | None
) -> http.HTTPFlow | TCPFlow:
    """Return the flow of an ended request and its response, with only the lengths of bodies.

    `response` is the head from the site system.
    """
    record = exchange_record(exchange, utc_now())
    if exchange.head is None:
        return _connection_flow(exchange.connection, record, exchange.began)
    client = _client(exchange.connection)
    server = Server(address=None)
    if exchange.authorized is not None:
        listed = exchange.authorized.site_systems.listed
        tried = (each for each in listed if each.name == exchange.site_system)
        if (site_system := next(tried, listed[0] if len(listed) == 1 else None)) is not None:
            server = Server(address=site_system.address)
            server.sni = site_system.name
    flow = http.HTTPFlow(client, server)
    flow.request = shown_request(redacted(exchange.head), exchange.connection.origin)
    flow.request.raw_content = _request_text(exchange, exchange.head).encode()
    flow.request.timestamp_start, ended = _times(exchange.began)
    flow.request.timestamp_end = flow.request.timestamp_start
    flow.response = _response(exchange, response, ended)
    _annotate(flow, record)
    return flow


def tunnel_flow(ended: EndedTunnel) -> TCPFlow:
    """Return the flow of an ended tunnel."""
    return _connection_flow(
        ended.connection, tunnel_record(ended, utc_now()), ended.connection.began
    )


def refused_flow(refused: RefusedConnection) -> TCPFlow:
    """Return the flow of a connection that carried no request."""
    return _connection_flow(
        refused.connection, refusal_record(refused, utc_now()), refused.connection.began
    )


def size_of(flow: Flow) -> int:
    """Return the approximate size of a flow in memory, in bytes."""
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
        return (
            f"The request announced a body of {announced:,} bytes, which was not read completely."
        )
    return _length_text(announced)


def _response(
    exchange: ExchangeEnded, response: http.Response | None, ended: float
) -> http.Response | None:
    denial = exchange.decision
    if isinstance(denial, Deny) and exchange.status is not None and not exchange.bytes_out:
        row = refusal(denial)
        head, _, body = response_bytes(denial, exchange.reference).partition(b"\r\n\r\n")
        names = [line.partition(b": ")[::2] for line in head.split(b"\r\n")[1:]]
        reason = row.status.phrase if row.status else ""
        return _http_response(exchange.status, reason.encode(), names, body.decode(), ended)
    if response is None:
        return None
    text = _length_text(exchange.bytes_out) if exchange.bytes_out else ""
    fields = redacted_fields(response.headers.fields)
    return _http_response(response.status_code, response.data.reason, fields, text, ended)


def _http_response(
    status: int, reason: bytes, fields: Fields, text: str, ended: float
) -> http.Response:
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


def _length_text(length: int) -> str:
    return f"{length:,} bytes. The page shows and stores only ConfigMgr messages."


def _connection_flow(connection: ConnectionRecord, record: audit.Record, began: float) -> TCPFlow:
    """Return the flow of a connection without a readable request: its audit record."""
    address = (connection.server_name or "no name", connection.origin.port)
    flow = TCPFlow(_client(connection), Server(address=address))
    flow.server_conn.timestamp_start, ended = _times(began)
    flow.timestamp_created = flow.server_conn.timestamp_start
    flow.server_conn.timestamp_end = ended
    _annotate(flow, record)
    flow.messages.append(TCPMessage(False, flow.comment.encode(), ended))
    return flow


def _annotate(flow: Flow, record: audit.Record) -> None:
    flow.comment = f"{summary(record)}\n\n{lines(record)}"
    if record[audit.VERDICT] == audit.Verdict.DENY:
        flow.error = Error(summary(record))
    elif record.get(audit.OBSERVED) or record.get(audit.WOULD_REFUSE):
        flow.marked = OBSERVED_MARK


def _client(connection: ConnectionRecord) -> Client:
    """Return a copy of the client connection without its certificate, which the record names."""
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
    """Convert a monotonic start time; return the start and the end (now) in Unix time."""
    ended = time.time()
    return ended - (time.monotonic() - began), ended
