"""What is written down: one record per request, tunnel and refused connection.

A record is a flat mapping whose keys are the constants below, in this order. Payload, signatures,
tokens and credentials have no key and so cannot be written. Whatever a client can choose (a
target, a name) is bounded and escaped by JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum

from ibcm_bridge.decisions import Deny
from ibcm_bridge.identity import CertificateFacts
from ibcm_bridge.responses import requirement


class Event(StrEnum):
    """What a record is about."""

    REQUEST = "request"
    TUNNEL = "tunnel"
    CONNECTION_REFUSED = "connection-refused"
    RECORDS_LOST = "records-lost"


class Verdict(StrEnum):
    """How it ended."""

    ALLOW = "allow"
    DENY = "deny"


TIME = "time"
EVENT = "event"
REFERENCE = "reference"
VERDICT = "verdict"
REASON = "reason"
RULE = "rule"
REQUIREMENT = "requirement"
DETAIL = "detail"
LISTENER = "listener"
PEER = "peer"
SERVER_NAME = "server_name"
TLS_VERSION = "tls_version"
RESUMED = "tls_resumed"
CLIENT = "client"
CERTIFICATE = "certificate"
ROLE = "role"
SITE_SYSTEM = "site_system"
METHOD = "method"
TARGET = "target"
DROPPED_HEADERS = "dropped_headers"
ENDPOINT = "endpoint"
INSPECTED = "inspected"
FORWARDED = "forwarded"
STATUS = "status"
ALERT = "alert"
BYTES_IN = "bytes_from_client"
BYTES_OUT = "bytes_to_client"
LOST = "lost"
SECONDS = "seconds"
NOTE = "note"

MAX_TEXT = 512
"""Characters of anything a client chose."""

MAX_NAMES = 32
MAX_NAME = 64
"""Of the header fields that were dropped."""

TUNNEL_NOTE = "TUNNEL-BLIND: passed without inspection"

Value = str | bool | int | float | tuple[str, ...] | dict[str, str] | None
Record = dict[str, Value]


def denial_fields(deny: Deny) -> Record:
    """The fields that say why something was refused."""
    return {
        VERDICT: Verdict.DENY.value,
        REASON: deny.reason.value,
        RULE: deny.rule[:MAX_TEXT],
        REQUIREMENT: requirement(deny),
        DETAIL: deny.detail[:MAX_TEXT],
    }


def certificate_field(facts: CertificateFacts) -> dict[str, str]:
    """A certificate, by what finds it again."""
    return {
        "subject": facts.subject[:MAX_TEXT],
        "issuer": facts.issuer[:MAX_TEXT],
        "serial": facts.serial[:MAX_TEXT],
        "sha256": facts.sha256,
        "not_after": facts.not_after,
    }


def target_field(target: bytes) -> str:
    """A request target. What follows a `?` names policies and files, not secrets, and is kept."""
    return target[:MAX_TEXT].decode("ascii", "backslashreplace")


def said[Field](record: Mapping[str, Field]) -> dict[str, Field]:
    """A record without the fields that have nothing to say."""
    return {key: value for key, value in record.items() if value not in (None, "", ())}


def line(record: Record) -> str:
    """One line of the audit file: JSON in ASCII."""
    return json.dumps(said(record), ensure_ascii=True, separators=(",", ":")) + "\n"
