"""A simulated NDES with the ConfigMgr policy module (protocol.md 8.4, RFC 8894).

It returns its capabilities and CA certificates, and issues certificates to clients that have the
password (`scep`).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from urllib.parse import unquote

from ibcm_bridge.lab.protocol.content import ServerResponse
from ibcm_bridge.lab.site_systems.scep import CAPABILITIES, PASSWORD, Enrollment
from ibcm_bridge.lab.site_systems.server_request import (
    ACCEPTED,
    HTML,
    NOT_FOUND,
    READ_METHODS,
    TEXT,
    ServerRequest,
)

NO_MESSAGE = ServerResponse(500, b"not a SCEP message", TEXT)

_HANDLER = ("certsrv/mscep/mscep.dll", "certsrv/mscep/mscep.dll/pkiclient.exe")
"""Equivalent paths; the client of Windows uses the second one."""

_OPEN = {
    "certsrv/mscep_admin": f"<html>A password for enrollment: {PASSWORD}</html>".encode(),
    "cmcertificateregistration": b"<html>simulated certificate registration point</html>",
}
"""Directories that are not for devices; a real server requires an authenticated user (8.4)."""


def policy_module(request: ServerRequest, enrollment: Enrollment) -> ServerResponse:
    """Respond to a request; devices have no certificate yet."""
    path = f"{request.directory}/{request.rest}".rstrip("/")
    if path in _HANDLER:
        return _scep(request, enrollment)
    if request.method not in READ_METHODS:
        return ACCEPTED
    return ServerResponse(200, _OPEN[path], HTML) if path in _OPEN else NOT_FOUND


def _scep(request: ServerRequest, enrollment: Enrollment) -> ServerResponse:
    query = _values(request.query)
    operation = query.get("operation", "").lower()
    if operation in _GET_OPERATIONS:
        return _GET_OPERATIONS[operation](enrollment)
    if operation != "pkioperation":
        return NOT_FOUND
    message = request.body if request.method == "POST" else _decoded(query.get("message", ""))
    response = enrollment.respond(message)
    if response is None:
        return NO_MESSAGE
    return ServerResponse(200, response, {"Content-Type": "application/x-pki-message"})


_GET_OPERATIONS: dict[str, Callable[[Enrollment], ServerResponse]] = {
    "getcacaps": lambda _: ServerResponse(200, CAPABILITIES, TEXT),
    "getcacert": lambda enrollment: ServerResponse(
        200, enrollment.certificates(), {"Content-Type": "application/x-x509-ca-ra-cert"}
    ),
}
"""Operation in lower case -> response to any client (sections 3.5.1 and 4.2)."""


def _values(query: str) -> dict[str, str]:
    """Parse the query. A plus sign is not decoded, because base64 contains it."""
    parts = (parameter.partition("=") for parameter in query.split("&"))
    return {name.lower(): unquote(value, "latin-1") for name, _, value in parts}


def _decoded(message: str) -> bytes:
    """Section 4.1: the message of a GET, possibly with line breaks."""
    try:
        return base64.b64decode("".join(message.split()), validate=True)
    except (ValueError, binascii.Error):
        return b""
