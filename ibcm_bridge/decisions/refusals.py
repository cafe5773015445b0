"""What a refusal becomes: one table from reason to status, alert, requirement and words.

The client is told the status, a fixed sentence and a reference number by which the operator finds
the audit record. Nothing of the request and no name or address of the internal network is in it.

What the client shows of it and does next differs by role: `role_clients` has that.

A status is chosen by what the client does next. What another try cannot change is told by one that
BITS takes for final, and what may be over in a while by one after which it tries again. A refused
handshake has no status, and is tried again.
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


_PASSING_4XX = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT)
_FINAL_5XX = (HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
"""The exceptions of BITS: all other 4xx are final and all other 5xx will pass (Microsoft, "Handling
Server Application Errors", of uploads)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row. Either `status` (HTTP) or `alert` (TLS, RFC 8446 §6.2) says how it is told."""

    requirement: str
    status: HTTPStatus | None
    alert: str | None
    text: str
    """One sentence: to the client for a status, and to people in reports for both."""
    bits_error: int | None = None
    """Of an upload, what BITS is told: an HRESULT ([MC-BUP] §2.2.1.2)."""
    is_upload: bool = False
    """Whether only an upload is refused so."""

    @property
    def next_step(self) -> NextStep:
        """What the client does next."""
        if self.bits_error == SESSION_NOT_FOUND:
            return NextStep.STARTS_OVER
        if self.status is HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return NextStep.GOES_ON
        if self.status is None:
            return NextStep.CANNOT_CONNECT
        passing = self.status >= 500 and self.status not in _FINAL_5XX
        if passing or self.status in _PASSING_4XX:
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
_LOOK = "BRIDGE-INSPECT"
_WHO = "BRIDGE-IDENTITY"
_WSUS = "SUP-WSUS"

REFUSALS: dict[Reason, Refusal] = {
    # the listener
    Reason.PLAINTEXT: _http(
        "BRIDGE-HTTPS-ONLY",
        _S.FORBIDDEN,
        "This port speaks HTTPS only. Bridging between HTTP and HTTPS is not supported.",
    ),
    Reason.NOT_TLS: _tls("BRIDGE-HTTPS-ONLY", "unexpected_message", "Not a TLS ClientHello."),
    Reason.TLS_ON_PLAINTEXT: _tls(
        "BRIDGE-HTTPS-ONLY", "handshake_failure", "This port speaks HTTP only."
    ),
    Reason.CLIENT_HELLO_TOO_LARGE: _tls(
        "BRIDGE-TERMINATE", "decode_error", "The ClientHello is too large."
    ),
    Reason.UNKNOWN_NAME: _tls(
        "DNS-INTERNET-FQDN", "unrecognized_name", "Nothing is published under this name."
    ),
    Reason.TOO_SLOW: _http(
        "BRIDGE-TERMINATE", _S.REQUEST_TIMEOUT, "The request did not arrive in time."
    ),
    Reason.TOO_MANY_CONNECTIONS: _tls(
        "BRIDGE-TERMINATE", "internal_error", "There are too many connections."
    ),
    # the client's certificate
    Reason.CERTIFICATE_MISSING: _tls(
        _AUTH, "certificate_required", "No client certificate was presented."
    ),
    Reason.CERTIFICATE_UNTRUSTED: _tls(
        _AUTH, "unknown_ca", "The client certificate does not lead to a trust anchor."
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
        "The client certificate is not one for client authentication.",
    ),
    Reason.CERTIFICATE_NAME: _tls(
        _AUTH, "bad_certificate", "The client certificate does not name a computer."
    ),
    Reason.CERTIFICATE_WEAK: _tls(
        "PKI-BOTH-ENDS",
        "bad_certificate",
        "A key or signature of the client certificate's path is too weak.",
    ),
    Reason.CERTIFICATE_INVALID: _tls(
        _AUTH, "bad_certificate", "The client certificate is not valid."
    ),
    Reason.REVOCATION_UNKNOWN: _tls(
        _AUTH, "certificate_unknown", "Whether the client certificate is revoked cannot be told."
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
        "HTTP-1.1", _S.HTTP_VERSION_NOT_SUPPORTED, "Only HTTP/1.1 is bridged."
    ),
    Reason.FRAMING: _http("HTTP-1.1", _S.BAD_REQUEST, "The length of the request is ambiguous."),
    Reason.LENGTH_REQUIRED: _http("HTTP-1.1", _S.LENGTH_REQUIRED, "A Content-Length is required."),
    Reason.HOST_MISMATCH: _http(
        "DNS-INTERNET-FQDN", _S.MISDIRECTED_REQUEST, "Host is not the name of the TLS connection."
    ),
    Reason.TARGET_FORM: _http(
        "HTTP-1.1", _S.BAD_REQUEST, "The request target is not in origin form."
    ),
    Reason.TARGET_UNSAFE: _http(_LOOK, _S.BAD_REQUEST, "The request target is not safe to read."),
    Reason.DIRECTORY: _http(_LOOK, _S.NOT_FOUND, "This directory is not published."),
    Reason.BYPASS_DIRECTORY: _http(
        _AUTH, _S.NOT_FOUND, "This directory works without a client certificate: never published."
    ),
    Reason.RESOURCE: _http(_LOOK, _S.NOT_FOUND, "This resource is not published."),
    Reason.VERB: _http(
        "VERB-MP", _S.METHOD_NOT_ALLOWED, "This verb is not allowed for the site system role."
    ),
    Reason.HEADER: _http(
        "HEADER-MP", _S.FORBIDDEN, "A header field is not allowed for the site system role."
    ),
    Reason.MEDIA_TYPE: _http(
        "HTTP-MULTIPART", _S.UNSUPPORTED_MEDIA_TYPE, "This content type is not allowed here."
    ),
    Reason.EXPECTATION: _http("HTTP-1.1", _S.EXPECTATION_FAILED, "This expectation is not met."),
    # the body
    Reason.BODY_TOO_LARGE: _http(_LOOK, _S.REQUEST_ENTITY_TOO_LARGE, "The body is too large."),
    Reason.BODY_INCOMPLETE: _http("HTTP-1.1", _S.BAD_REQUEST, "The body is incomplete."),
    Reason.BODY_NOT_INSPECTABLE: _http(_LOOK, _S.FORBIDDEN, "The body cannot be inspected."),
    Reason.MULTIPART: _http("HTTP-MULTIPART", _S.FORBIDDEN, "The multipart body is malformed."),
    Reason.INNER_MEDIA_TYPE: _http(
        "HTTP-MULTIPART", _S.FORBIDDEN, "A part has a content type that is not allowed."
    ),
    Reason.COMPRESSION: _http(_LOOK, _S.FORBIDDEN, "The compressed part is malformed."),
    Reason.INFLATED_TOO_LARGE: _http(_LOOK, _S.FORBIDDEN, "The compressed part is too large."),
    Reason.ENCODING: _http(_LOOK, _S.FORBIDDEN, "The text is not in the encoding it must be in."),
    Reason.XML: _http(_LOOK, _S.FORBIDDEN, "The XML is not well-formed or not as it must be."),
    Reason.XML_DTD: _http(_LOOK, _S.FORBIDDEN, "The XML declares a document type or entities."),
    Reason.MESSAGE: _http(
        _LOOK, _S.FORBIDDEN, "This kind of message is not supported over the Internet."
    ),
    Reason.ENDPOINT: _http(
        _LOOK, _S.FORBIDDEN, "This endpoint of the management point is not published."
    ),
    Reason.PROPFIND: _http(_LOOK, _S.FORBIDDEN, "This PROPFIND asks for what no client asks for."),
    Reason.SOAP_ENVELOPE: _http(_WSUS, _S.FORBIDDEN, "The SOAP envelope is not as it must be."),
    Reason.SOAP_ACTION: _http(
        _WSUS, _S.FORBIDDEN, "This SOAP action is not one that clients on the Internet need."
    ),
    Reason.SOAP_CONTENT: _http(
        _WSUS, _S.FORBIDDEN, "A cookie or a report holds what no client sends."
    ),
    Reason.UPLOAD_PACKET: _upload(
        _S.BAD_REQUEST, "The upload packet is not as it must be.", INVALID
    ),
    # A thief of a session is not told that there is one: the client reads the requirement, too.
    Reason.UPLOAD_SESSION: _upload(
        _S.INTERNAL_SERVER_ERROR, "No such upload session is known.", SESSION_NOT_FOUND, _WHO
    ),
    Reason.UPLOAD_OF_ANOTHER: _upload(
        _S.INTERNAL_SERVER_ERROR, "No such upload session is known.", SESSION_NOT_FOUND, _WHO
    ),
    Reason.UPLOAD_GAP: _upload(
        _S.REQUESTED_RANGE_NOT_SATISFIABLE, "A fragment before this one is missing.", None
    ),
    Reason.UPLOAD_CHANGED: _upload(
        _S.BAD_REQUEST, "The upload is not what it was begun as.", INVALID
    ),
    Reason.UPLOAD_INCOMPLETE: _upload(
        _S.BAD_REQUEST, "The upload is closed before all of it was sent.", INVALID
    ),
    Reason.UPLOAD_TOO_LARGE: _upload(_S.FORBIDDEN, "The upload is too large.", TOO_LARGE),
    Reason.UPLOAD_UNAVAILABLE: _upload(
        _S.SERVICE_UNAVAILABLE, "The upload cannot be kept at the moment.", None
    ),
    Reason.ARCHIVE: _http(_LOOK, _S.FORBIDDEN, "An archive cannot be opened within bounds."),
    Reason.MALICIOUS_CONTENT: _http(_LOOK, _S.FORBIDDEN, "Malicious content was found."),
    Reason.ENGINE_UNAVAILABLE: _http(
        _LOOK, _S.SERVICE_UNAVAILABLE, "The content cannot be inspected at the moment."
    ),
    # whose message it is
    Reason.IDENTITY_MALFORMED: _http(
        _WHO, _S.FORBIDDEN, "What should be a client GUID does not have the form of one."
    ),
    Reason.IDENTITY_AMBIGUOUS: _http(
        _WHO, _S.FORBIDDEN, "The request names more than one client GUID."
    ),
    Reason.IDENTITY_MISSING: _http(_WHO, _S.FORBIDDEN, "The request does not say whose it is."),
    Reason.IDENTITY_OF_ANOTHER: _http(
        _WHO, _S.FORBIDDEN, "The client GUID belongs to another client's certificate."
    ),
    Reason.IDENTITY_UNKNOWN: _http(
        _WHO, _S.FORBIDDEN, "Which certificate the client GUID belongs to is not known."
    ),
    Reason.IDENTITY_UNAVAILABLE: _http(
        _WHO, _S.SERVICE_UNAVAILABLE, "Whose client GUID it is cannot be told at the moment."
    ),
    Reason.SIGNATURE_MISSING: _http(_WHO, _S.FORBIDDEN, "A signature is missing."),
    Reason.SIGNATURE_FORGED: _http(
        _WHO, _S.FORBIDDEN, "A signature is not that of the client it names."
    ),
    Reason.TIMESTAMP_STALE: _http(
        _WHO, _S.FORBIDDEN, "What is signed is from too long ago, or from the future."
    ),
    # the site-system leg
    Reason.SITE_SYSTEM_UNREACHABLE: _http(
        "BRIDGE-TERMINATE", _S.BAD_GATEWAY, "The site system cannot be reached."
    ),
    Reason.SITE_SYSTEM_UNVERIFIED: _http(
        "BRIDGE-TERMINATE", _S.BAD_GATEWAY, "The site system could not be authenticated."
    ),
    Reason.SITE_SYSTEM_RESPONSE: _http(
        "BRIDGE-TERMINATE", _S.BAD_GATEWAY, "The site system did not answer properly."
    ),
    Reason.SITE_SYSTEM_SLOW: _http(
        "BRIDGE-TERMINATE", _S.GATEWAY_TIMEOUT, "The site system did not answer in time."
    ),
    Reason.REPLY_HOST_NAMES: _http(
        _LOOK, _S.BAD_GATEWAY, "The site system's answer names hosts of the internal network."
    ),
    Reason.REPLY_INTRANET_ONLY: _http(
        _LOOK, _S.BAD_GATEWAY, "The site system's answer assigns policy for the intranet only."
    ),
    Reason.REPLY_UNREADABLE: _http(
        _LOOK, _S.BAD_GATEWAY, "The site system's answer cannot be inspected."
    ),
    # us
    Reason.OVERLOADED: _http(
        _LOOK, _S.SERVICE_UNAVAILABLE, "The bridge has too much to do at the moment."
    ),
    Reason.PIPELINED: _http("HTTP-1.1", _S.BAD_REQUEST, "Too much was sent ahead of an answer."),
    Reason.BRIDGE_DEFECT: _http(
        _LOOK, _S.INTERNAL_SERVER_ERROR, "The bridge could not decide, so nothing was sent on."
    ),
}


def refusal(deny: Deny) -> Refusal:
    """The row for a denial."""
    return REFUSALS[deny.reason]


def requirement(deny: Deny) -> str:
    """The requirement a denial enforces: its own, or its reason's."""
    return deny.requirement or REFUSALS[deny.reason].requirement
