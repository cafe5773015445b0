"""What the bridge refuses, as values.

A decision is made once and carried along; it is never derived again from its parts. There are three
allowing values. Each is defined beside its one maker, and a later one can only be made from the one
before:

    request.authorization.authorize  -> Authorized   this head may be sent, after its body passed
    inspection.body.inspect          -> Inspected    nothing malicious is in this very body
    identity.approval.approve        -> Approved     the client speaks for itself: it may be sent

`site_system_leg.gate` asks for an `Approved` and compares it with what is about to be sent.
Everything else is a `Deny`. None of the four can be used as a truth value: `if decision:` is a
defect, and raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from ibcm_bridge.decisions.rules import Rule


class Reason(StrEnum):
    """Every reason for which the bridge refuses; closed. `refusals` says what each becomes."""

    # the listener
    PLAINTEXT = "plaintext"
    NOT_TLS = "not-tls"
    TLS_ON_PLAINTEXT = "tls-on-plaintext"
    CLIENT_HELLO_TOO_LARGE = "client-hello-too-large"
    UNKNOWN_NAME = "unknown-name"
    TOO_SLOW = "too-slow"
    TOO_MANY_CONNECTIONS = "too-many-connections"
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
    # whose message it is
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
    # us
    OVERLOADED = "overloaded"
    PIPELINED = "pipelined"
    BRIDGE_DEFECT = "bridge-defect"


class NotATruthValue:
    __slots__ = ()

    def __bool__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} is a decision, not a truth value; use isinstance(..., Deny)"
        )


@dataclass(frozen=True, slots=True)
class Deny(NotATruthValue):
    """A refusal: why, by which rule, and what the audit may say about it.

    `rule` names the line of policy or the check that refused, such as
    ``management-point.verbs``. `detail` is bounded text for the operator; it never goes to the
    client and never holds payload or credentials. `requirement` is given where it depends on the
    role (VERB-MP, VERB-DP ...); otherwise the table in `refusals` has it. `allowed_methods` is
    for a refused verb: RFC 9110 §15.5.6 has the answer name those that would do. `received` is for
    a fragment out of place: the offset from which the client is to go on ([MC-BUP] §2.2.7).
    """

    reason: Reason
    rule: Rule
    detail: str = ""
    requirement: str = ""
    allowed_methods: tuple[str, ...] = ()
    received: int | None = None


class Refused(Exception):
    """Carries a denial from wherever it was found to the one place that answers it."""

    def __init__(self, denial: Deny) -> None:
        super().__init__(denial.reason.value)
        self.denial = denial
