"""The table of refusals: the status or alert, the requirement and the text for each reason.

The client receives the status, a fixed sentence and a reference, by which the operator finds the
audit record. The response contains nothing from the request, and no name or address of the internal
network. `role_clients` has the client's log entry and its next step, which depend on the role.

The client's next step decides the status. A permanent failure has a status that BITS treats as
final. A temporary failure has a status after which BITS retries. A refused handshake has no status,
and the client retries.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from ibcm_bridge.decisions.client_reaction import NextStep
from ibcm_bridge.decisions.denial import Deny, Reason

SESSION_NOT_FOUND = 0x8020001F
INVALID = 0x80070057
DENIED = 0x80070005
TOO_LARGE = 0x80200020
"""BG_E_SESSION_NOT_FOUND, E_INVALIDARG, E_ACCESSDENIED and BG_E_TOO_LARGE ([MC-BUP] §2.2.1.2)."""


_TEMPORARY_4XX = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT)
_FINAL_5XX = (HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
"""The exceptions of BITS: it treats every other 4xx as final and every other 5xx as temporary
(Microsoft, "Handling Server Application Errors", for uploads)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row of the table. It has either a `status` (HTTP) or an `alert` (TLS, RFC 8446 §6.2)."""

    requirement: str
    status: HTTPStatus | None
    alert: str | None
    text: str
    """One sentence: for the client if there is a status, and for reports."""
    bits_error: int | None = None
    """The HRESULT in the response to an upload ([MC-BUP] §2.2.1.2)."""
    is_upload: bool = False
    """True if the reason applies to uploads only."""

    @property
    def next_step(self) -> NextStep:
        """The client's next step."""
        if self.bits_error == SESSION_NOT_FOUND:
            return NextStep.STARTS_OVER
        if self.status is HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return NextStep.GOES_ON
        if self.status is None:
            return NextStep.CANNOT_CONNECT
        temporary_5xx = self.status >= 500 and self.status not in _FINAL_5XX
        if temporary_5xx or self.status in _TEMPORARY_4XX:
            return NextStep.TRIES_AGAIN
        return NextStep.GIVES_UP


def _http(requirement: str, status: HTTPStatus, text: str) -> Refusal:
    return Refusal(requirement, status, None, text)


def _upload(
    status: HTTPStatus, text: str, error: int | None, requirement: str = "BRIDGE-INSPECT"
) -> Refusal:
    return Refusal(requirement, status, None, text, error, is_upload=True)


def _tls(requirement: str, alert: str, text: str) -> Refusal:
    return Refusal(requirement, None, alert, text)


_S = HTTPStatus
_AUTH = "BRIDGE-AUTH-COMPUTER"
_INSPECT = "BRIDGE-INSPECT"
_IDENTITY = "BRIDGE-IDENTITY"
_WSUS = "SUP-WSUS"

REFUSALS: dict[Reason, Refusal] = {
    # the listener
    Reason.PROXY_HEADER: _tls(
        "BRIDGE-TERMINATE",
        "unexpected_message",
        "The PROXY header is malformed, absent, or from an address that may not send one.",
    ),
    Reason.PLAINTEXT: _http(
        "BRIDGE-HTTPS-ONLY",
        _S.FORBIDDEN,
        "This port accepts HTTPS only. Bridging between HTTP and HTTPS is not supported.",
    ),
    Reason.NOT_TLS: _tls(
        "BRIDGE-HTTPS-ONLY", "unexpected_message", "A TLS ClientHello is required."
    ),
    Reason.TLS_ON_PLAINTEXT: _tls(
        "BRIDGE-HTTPS-ONLY", "handshake_failure", "This port accepts HTTP only."
    ),
    Reason.CLIENT_HELLO_MALFORMED: _tls(
        "BRIDGE-TERMINATE", "decode_error", "The TLS ClientHello is malformed."
    ),
    Reason.CLIENT_HELLO_TOO_LARGE: _tls(
        "BRIDGE-TERMINATE", "decode_error", "The ClientHello is too large."
    ),
    Reason.UNKNOWN_NAME: _tls(
        "DNS-INTERNET-FQDN", "unrecognized_name", "This server name is not published."
    ),
    Reason.TOO_SLOW: _http(
        "BRIDGE-TERMINATE", _S.REQUEST_TIMEOUT, "The request did not arrive in time."
    ),
    Reason.TOO_MANY_CONNECTIONS: _tls(
        "BRIDGE-TERMINATE", "internal_error", "Too many connections are open."
    ),
    Reason.TOO_MANY_HANDSHAKES: _tls(
        "BRIDGE-TERMINATE",
        "internal_error",
        "Too many TLS handshakes: at the same time, or of one address in a minute.",
    ),
    Reason.CONNECTIONS_RESERVED: _tls(
        "BRIDGE-TERMINATE",
        "internal_error",
        "The remaining connections are reserved for clients with a certificate.",
    ),
    # the client's certificate
    Reason.CERTIFICATE_MISSING: _tls(
        _AUTH, "certificate_required", "No client certificate was presented."
    ),
    Reason.CERTIFICATE_UNTRUSTED: _tls(
        _AUTH, "unknown_ca", "The client certificate does not chain to a trust anchor."
    ),
    Reason.CERTIFICATE_EXPIRED: _tls(
        _AUTH, "certificate_expired", "The client certificate has expired."
    ),
    Reason.CERTIFICATE_NOT_YET_VALID: _tls(
        _AUTH, "bad_certificate", "The client certificate is not valid yet."
    ),
    Reason.CERTIFICATE_REVOKED: _tls(
        _AUTH, "certificate_revoked", "The client certificate has been revoked."
    ),
    Reason.CERTIFICATE_PURPOSE: _tls(
        "PKI-BOTH-ENDS",
        "unsupported_certificate",
        "The client certificate does not allow client authentication.",
    ),
    Reason.CERTIFICATE_NAME: _tls(
        _AUTH, "bad_certificate", "The client certificate does not have the required name."
    ),
    Reason.CERTIFICATE_WEAK: _tls(
        "PKI-BOTH-ENDS",
        "bad_certificate",
        "A key or signature in the client's certificate chain is too weak.",
    ),
    Reason.CERTIFICATE_INVALID: _tls(
        _AUTH, "bad_certificate", "The client certificate is not valid."
    ),
    Reason.REVOCATION_UNKNOWN: _tls(
        _AUTH, "certificate_unknown", "The revocation status of the client certificate is unknown."
    ),
    Reason.HANDSHAKE_FAILED: _tls(
        "BRIDGE-TERMINATE", "handshake_failure", "The TLS handshake failed."
    ),
    # the request head
    Reason.MALFORMED_HEAD: _http("HTTP-1.1", _S.BAD_REQUEST, "The request is malformed."),
    Reason.HEAD_TOO_LARGE: _http(
        "HTTP-1.1", _S.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request head is too large."
    ),
    Reason.HTTP_VERSION: _http(
        "HTTP-1.1", _S.HTTP_VERSION_NOT_SUPPORTED, "Only HTTP/1.1 is supported."
    ),
    Reason.FRAMING: _http("HTTP-1.1", _S.BAD_REQUEST, "The length of the request is ambiguous."),
    Reason.LENGTH_REQUIRED: _http("HTTP-1.1", _S.LENGTH_REQUIRED, "A Content-Length is required."),
    Reason.HOST_MISMATCH: _http(
        "DNS-INTERNET-FQDN",
        _S.MISDIRECTED_REQUEST,
        "Host does not match the server name of the connection.",
    ),
    Reason.TARGET_FORM: _http(
        "HTTP-1.1", _S.BAD_REQUEST, "The request target is not in origin form."
    ),
    Reason.TARGET_UNSAFE: _http(
        _INSPECT, _S.BAD_REQUEST, "The request target is unsafe or ambiguous."
    ),
    Reason.DIRECTORY: _http(_INSPECT, _S.NOT_FOUND, "This directory is not published."),
    Reason.BYPASS_DIRECTORY: _http(
        _AUTH,
        _S.NOT_FOUND,
        "This directory requires no client certificate, so it is never published.",
    ),
    Reason.RESOURCE: _http(_INSPECT, _S.NOT_FOUND, "This resource is not published."),
    Reason.VERB: _http(
        "VERB-MP", _S.METHOD_NOT_ALLOWED, "This verb is not allowed for the site system role."
    ),
    Reason.HEADER: _http(
        "HEADER-MP", _S.FORBIDDEN, "A header field is not allowed for the site system role."
    ),
    Reason.MEDIA_TYPE: _http(
        "HTTP-MULTIPART", _S.UNSUPPORTED_MEDIA_TYPE, "This content type is not allowed here."
    ),
    Reason.EXPECTATION: _http(
        "HTTP-1.1", _S.EXPECTATION_FAILED, "This expectation is not supported."
    ),
    # the body
    Reason.BODY_NOT_ALLOWED: _http(_INSPECT, _S.BAD_REQUEST, "This request must not have a body."),
    Reason.BODY_TOO_LARGE: _http(_INSPECT, _S.REQUEST_ENTITY_TOO_LARGE, "The body is too large."),
    Reason.BODY_INCOMPLETE: _http("HTTP-1.1", _S.BAD_REQUEST, "The body is incomplete."),
    Reason.BODY_NOT_INSPECTABLE: _http(_INSPECT, _S.FORBIDDEN, "The body cannot be inspected."),
    Reason.MULTIPART: _http("HTTP-MULTIPART", _S.FORBIDDEN, "The multipart body is malformed."),
    Reason.INNER_MEDIA_TYPE: _http(
        "HTTP-MULTIPART", _S.FORBIDDEN, "A part has a content type that is not allowed."
    ),
    Reason.COMPRESSION: _http(_INSPECT, _S.FORBIDDEN, "The compressed part is malformed."),
    Reason.INFLATED_TOO_LARGE: _http(_INSPECT, _S.FORBIDDEN, "The compressed part is too large."),
    Reason.ENCODING: _http(_INSPECT, _S.FORBIDDEN, "The text is not in the required encoding."),
    Reason.XML: _http(_INSPECT, _S.FORBIDDEN, "The XML is malformed or invalid."),
    Reason.XML_DTD: _http(_INSPECT, _S.FORBIDDEN, "The XML declares a document type or entities."),
    Reason.MESSAGE: _http(
        _INSPECT, _S.FORBIDDEN, "This kind of message is not supported over the Internet."
    ),
    Reason.ENDPOINT: _http(
        _INSPECT, _S.FORBIDDEN, "This management point endpoint is not published."
    ),
    Reason.PROPFIND: _http(_INSPECT, _S.FORBIDDEN, "This PROPFIND request is not allowed."),
    Reason.SOAP_ENVELOPE: _http(_WSUS, _S.FORBIDDEN, "The SOAP envelope is invalid."),
    Reason.SOAP_ACTION: _http(_WSUS, _S.FORBIDDEN, "This SOAP action is not published."),
    Reason.SOAP_CONTENT: _http(
        _WSUS, _S.FORBIDDEN, "The content of a cookie or a report is not allowed."
    ),
    Reason.UPLOAD_PACKET: _upload(_S.BAD_REQUEST, "The upload packet is invalid.", INVALID),
    # The same row twice: a client must not learn that another client's session exists. The
    # response contains the requirement, so this is the same too.
    Reason.UPLOAD_SESSION: _upload(
        _S.INTERNAL_SERVER_ERROR, "The upload session does not exist.", SESSION_NOT_FOUND, _IDENTITY
    ),
    Reason.UPLOAD_OF_ANOTHER: _upload(
        _S.INTERNAL_SERVER_ERROR, "The upload session does not exist.", SESSION_NOT_FOUND, _IDENTITY
    ),
    Reason.UPLOAD_GAP: _upload(
        _S.REQUESTED_RANGE_NOT_SATISFIABLE, "An earlier fragment of the upload is missing.", None
    ),
    Reason.UPLOAD_CHANGED: _upload(
        _S.BAD_REQUEST, "The packet contradicts earlier packets of the upload.", INVALID
    ),
    Reason.UPLOAD_INCOMPLETE: _upload(
        _S.BAD_REQUEST, "The upload was closed before it was complete.", INVALID
    ),
    Reason.UPLOAD_TOO_LARGE: _upload(_S.FORBIDDEN, "The upload is too large.", TOO_LARGE),
    Reason.UPLOAD_UNAVAILABLE: _upload(
        _S.SERVICE_UNAVAILABLE, "The upload cannot be stored at the moment; try again later.", None
    ),
    Reason.ARCHIVE: _http(
        _INSPECT, _S.FORBIDDEN, "An archive cannot be unpacked within the limits."
    ),
    Reason.MALICIOUS_CONTENT: _http(_INSPECT, _S.FORBIDDEN, "Malicious content was found."),
    Reason.ENGINE_UNAVAILABLE: _http(
        _INSPECT,
        _S.SERVICE_UNAVAILABLE,
        "The content cannot be inspected at the moment; try again later.",
    ),
    # client GUIDs and signatures
    Reason.IDENTITY_MALFORMED: _http(_IDENTITY, _S.FORBIDDEN, "A client GUID is malformed."),
    Reason.IDENTITY_AMBIGUOUS: _http(
        _IDENTITY, _S.FORBIDDEN, "The request names more than one client GUID."
    ),
    Reason.IDENTITY_MISSING: _http(
        _IDENTITY, _S.FORBIDDEN, "The request does not contain a client GUID."
    ),
    Reason.IDENTITY_OF_ANOTHER: _http(
        _IDENTITY, _S.FORBIDDEN, "The client GUID belongs to another client's certificate."
    ),
    Reason.IDENTITY_UNKNOWN: _http(
        _IDENTITY, _S.FORBIDDEN, "The client GUID is not bound to a certificate."
    ),
    Reason.IDENTITY_UNAVAILABLE: _http(
        _IDENTITY,
        _S.SERVICE_UNAVAILABLE,
        "The client GUID cannot be verified at the moment; try again later.",
    ),
    Reason.SIGNATURE_MISSING: _http(_IDENTITY, _S.FORBIDDEN, "A signature is missing."),
    Reason.SIGNATURE_FORGED: _http(
        _IDENTITY, _S.FORBIDDEN, "A signature was not made by the client that it names."
    ),
    Reason.TIMESTAMP_STALE: _http(
        _IDENTITY, _S.FORBIDDEN, "A signed timestamp is too old or in the future."
    ),
    # the site-system leg
    Reason.SITE_SYSTEM_UNREACHABLE: _http(
        "BRIDGE-TERMINATE", _S.BAD_GATEWAY, "The site system cannot be reached."
    ),
    Reason.SITE_SYSTEM_UNVERIFIED: _http(
        "BRIDGE-TERMINATE", _S.BAD_GATEWAY, "The site system could not be authenticated."
    ),
    Reason.SITE_SYSTEM_RESPONSE: _http(
        "BRIDGE-TERMINATE", _S.BAD_GATEWAY, "The site system's response is invalid."
    ),
    Reason.SITE_SYSTEM_SLOW: _http(
        "BRIDGE-TERMINATE", _S.GATEWAY_TIMEOUT, "The site system did not respond in time."
    ),
    Reason.REPLY_HOST_NAMES: _http(
        _INSPECT, _S.BAD_GATEWAY, "The site system's reply contains internal host names."
    ),
    Reason.REPLY_INTRANET_ONLY: _http(
        _INSPECT, _S.BAD_GATEWAY, "The site system's reply assigns an intranet-only policy."
    ),
    Reason.REPLY_UNREADABLE: _http(
        _INSPECT, _S.BAD_GATEWAY, "The site system's reply cannot be inspected."
    ),
    # the bridge itself
    Reason.OVERLOADED: _http(
        _INSPECT, _S.SERVICE_UNAVAILABLE, "The bridge is overloaded; try again later."
    ),
    Reason.PIPELINED: _http("HTTP-1.1", _S.BAD_REQUEST, "Too much was sent before the response."),
    Reason.BRIDGE_DEFECT: _http(
        _INSPECT, _S.INTERNAL_SERVER_ERROR, "The bridge failed to decide, so it forwarded nothing."
    ),
}


def refusal(deny: Deny) -> Refusal:
    """The row for a denial."""
    return REFUSALS[deny.reason]


def requirement(deny: Deny) -> str:
    """The requirement that a denial enforces: its own, or that of its reason."""
    return deny.requirement or REFUSALS[deny.reason].requirement
