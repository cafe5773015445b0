"""Decisions as values: `Deny`, and the base of the values that allow.

A decision is made once, as a value; no later stage derives it again. Three values allow. Each
is defined beside the only function that makes it, from the value before it:

    request.authorization.authorize  -> Authorized   the head may be sent once its body is inspected
    inspection.verdict.inspect       -> Inspected    the inspection of this body found nothing
    identity.approval.approve        -> Approved     the client GUID is the client's: it may be sent

`site_system_leg.gate` requires an `Approved` and compares it with the bytes about to be sent. Every
other decision is a `Deny`. `if decision:` is a defect and raises TypeError for all four.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NoReturn

from ibcm_bridge.decisions.rules import Rule


class Reason(StrEnum):
    """All reasons for a refusal. `refusals` has the status or alert of each."""

    # the listener
    PROXY_HEADER = "proxy-header"
    PLAINTEXT = "plaintext"
    NOT_TLS = "not-tls"
    TLS_ON_PLAINTEXT = "tls-on-plaintext"
    CLIENT_HELLO_MALFORMED = "client-hello-malformed"
    CLIENT_HELLO_TOO_LARGE = "client-hello-too-large"
    UNKNOWN_NAME = "unknown-name"
    TOO_SLOW = "too-slow"
    TOO_MANY_CONNECTIONS = "too-many-connections"
    TOO_MANY_HANDSHAKES = "too-many-handshakes"
    CONNECTIONS_RESERVED = "connections-reserved"
    # the client's certificate
    CERTIFICATE_MISSING = "certificate-missing"
    CERTIFICATE_UNTRUSTED = "certificate-untrusted"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NOT_YET_VALID = "certificate-not-yet-valid"
    CERTIFICATE_REVOKED = "certificate-revoked"
    CERTIFICATE_PURPOSE = "certificate-purpose"
    CERTIFICATE_NAME = "certificate-name"
    CERTIFICATE_WEAK = "certificate-weak"
    CERTIFICATE_INVALID = "certificate-invalid"
    REVOCATION_UNKNOWN = "revocation-unknown"
    HANDSHAKE_FAILED = "handshake-failed"
    # the request head
    MALFORMED_HEAD = "malformed-head"
    HEAD_TOO_LARGE = "head-too-large"
    HTTP_VERSION = "http-version"
    FRAMING = "framing"
    LENGTH_REQUIRED = "length-required"
    HOST_MISMATCH = "host-mismatch"
    TARGET_FORM = "target-form"
    TARGET_UNSAFE = "target-unsafe"
    DIRECTORY = "directory"
    BYPASS_DIRECTORY = "bypass-directory"
    RESOURCE = "resource"
    VERB = "verb"
    HEADER = "header"
    MEDIA_TYPE = "media-type"
    EXPECTATION = "expectation"
    # the body
    BODY_NOT_ALLOWED = "body-not-allowed"
    BODY_TOO_LARGE = "body-too-large"
    BODY_INCOMPLETE = "body-incomplete"
    BODY_NOT_INSPECTABLE = "body-not-inspectable"
    MULTIPART = "multipart"
    INNER_MEDIA_TYPE = "inner-media-type"
    COMPRESSION = "compression"
    INFLATED_TOO_LARGE = "inflated-too-large"
    ENCODING = "encoding"
    XML = "xml"
    XML_DTD = "xml-dtd"
    ENDPOINT = "endpoint"
    MESSAGE = "message"
    PROPFIND = "propfind"
    SOAP_ENVELOPE = "soap-envelope"
    SOAP_ACTION = "soap-action"
    SOAP_CONTENT = "soap-content"
    UPLOAD_PACKET = "upload-packet"
    UPLOAD_SESSION = "upload-session"
    UPLOAD_OF_ANOTHER = "upload-of-another"
    UPLOAD_GAP = "upload-gap"
    UPLOAD_CHANGED = "upload-changed"
    UPLOAD_INCOMPLETE = "upload-incomplete"
    UPLOAD_TOO_LARGE = "upload-too-large"
    UPLOAD_UNAVAILABLE = "upload-unavailable"
    ARCHIVE = "archive"
    MALICIOUS_CONTENT = "malicious-content"
    ENGINE_UNAVAILABLE = "engine-unavailable"
    # client GUIDs and signatures
    IDENTITY_MALFORMED = "identity-malformed"
    IDENTITY_AMBIGUOUS = "identity-ambiguous"
    IDENTITY_MISSING = "identity-missing"
    IDENTITY_OF_ANOTHER = "identity-of-another"
    IDENTITY_UNKNOWN = "identity-unknown"
    IDENTITY_UNAVAILABLE = "identity-unavailable"
    SIGNATURE_MISSING = "signature-missing"
    SIGNATURE_FORGED = "signature-forged"
    TIMESTAMP_STALE = "timestamp-stale"
    # the site-system leg
    SITE_SYSTEM_UNREACHABLE = "site-system-unreachable"
    SITE_SYSTEM_UNVERIFIED = "site-system-unverified"
    SITE_SYSTEM_RESPONSE = "site-system-response"
    SITE_SYSTEM_SLOW = "site-system-slow"
    REPLY_HOST_NAMES = "reply-host-names"
    REPLY_INTRANET_ONLY = "reply-intranet-only"
    REPLY_UNREADABLE = "reply-unreadable"
    # the bridge itself
    OVERLOADED = "overloaded"
    PIPELINED = "pipelined"
    BRIDGE_DEFECT = "bridge-defect"


class NotATruthValue:
    """Base of all decisions: bool() raises, so that no decision is mistaken for true or false."""

    __slots__ = ()

    def __bool__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} is a decision, not a truth value; use isinstance(..., Deny)"
        )


@dataclass(frozen=True, slots=True)
class Deny(NotATruthValue):
    """A refusal: its reason, its rule, and a detail for the audit.

    `rule` is the policy line or the check that refused, such as ``management-point.verbs``.
    `detail` is a bounded text for the operator. It is never sent to the client, and never contains
    payload or credentials. `requirement` is set only if it depends on the role (VERB-MP,
    VERB-DP ...); otherwise the table in `refusals` has it. `allowed_methods` are for the Allow
    field of a 405 (RFC 9110 §15.5.6). `received` is for a fragment after a gap: the offset from
    which the client resumes the upload ([MC-BUP] §2.2.7). `names` are for the line of the policy
    that would allow the request (`observing`); they are from the client.
    """

    reason: Reason
    rule: Rule
    detail: str = ""
    requirement: str = ""
    allowed_methods: tuple[str, ...] = ()
    received: int | None = None
    names: tuple[str, ...] = field(default=(), compare=False, repr=False)


class Refused(Exception):
    """Carries a denial to the one place that responds to it."""

    def __init__(self, denial: Deny) -> None:
        super().__init__(denial.reason.value)
        self.denial = denial
