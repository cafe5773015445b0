"""The HTTP response to a refused request or BITS packet."""

from __future__ import annotations

from http import HTTPStatus

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.decisions.refusals import DENIED, Refusal, refusal, requirement

_CONTEXT_SERVER = "0x5"
"""[MC-BUP] §2.2.1.2: the error is the server's, not that of an application behind it."""

RETRY_AFTER = 60
"""Seconds (RFC 9110 §10.2.3), for errors that only the bridge can resolve."""


def response_bytes(
    deny: Deny, reference: str, *, head_only: bool = False, upload: bool = False
) -> bytes:
    """The complete response to send before the close. `reference` identifies the audit record.

    `upload`: add the fields of a BITS Ack.
    """
    row = refusal(deny)
    status = row.status or HTTPStatus.FORBIDDEN
    body = f"{row.text}\r\nRequirement: {requirement(deny)}\r\nReference: {reference}\r\n".encode()
    fields = f"Allow: {', '.join(deny.allowed_methods)}\r\n" if deny.allowed_methods else ""
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        fields += f"Retry-After: {RETRY_AFTER}\r\n"
    if upload:
        fields += "".join(f"{name}: {value}\r\n" for name, value in _ack_fields(deny, row))
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"{fields}"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\n"
        "Connection: close\r\n"
        "\r\n"
    ).encode("ascii")
    return head if head_only else head + body


def _ack_fields(deny: Deny, row: Refusal) -> list[tuple[str, str]]:
    """The fields of an Ack ([MC-BUP] §2.2.1.2), with the names that Windows uses."""
    fields = [("BITS-Packet-Type", "Ack")]
    if deny.received is not None:
        fields.append(("BITS-Received-Content-Range", str(deny.received)))
    error = row.bits_error
    if error is None and row.status is HTTPStatus.FORBIDDEN:
        error = DENIED
    if error is not None:
        fields += [("BITS-Error-Code", f"0x{error:08X}"), ("BITS-Error-Context", _CONTEXT_SERVER)]
    return fields
