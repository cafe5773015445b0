"""Audit records: one for each request, tunnel and refused connection.

Others are about the audit itself: the start and the end of a process that writes it, and lost
records. A record is a flat mapping with the keys below, in this order. No key is for payload,
signatures, tokens or credentials, and `target_field` removes possible secrets from a target. `line`
limits each text, and JSON escapes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import StrEnum

from ibcm_bridge.audit.shadow import Outcome
from ibcm_bridge.authentication.certificate import CertificateFacts
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.observing import Observed
from ibcm_bridge.decisions.refusals import requirement
from ibcm_bridge.identity.approval import Approved


class Event(StrEnum):
    """The kind of event that a record is about."""

    REQUEST = "request"
    TUNNEL = "tunnel"
    CONNECTION_REFUSED = "connection-refused"
    RECORDS_LOST = "records-lost"
    WRITER_STARTED = "writer-started"
    WRITER_ENDED = "writer-ended"


class Verdict(StrEnum):
    """The result."""

    ALLOW = "allow"
    DENY = "deny"
    OBSERVED = "observed"
    """Forwarded only because the publication has `observe`."""


TIME = "time"
EVENT = "event"
REFERENCE = "reference"
VERDICT = "verdict"
REASON = "reason"
RULE = "rule"
REQUIREMENT = "requirement"
DETAIL = "detail"
LISTENER = "listener"
POLICY = "policy"
CLIENT_ADDRESS = "client_address"
VIA = "via"
SERVER_NAME = "server_name"
TLS_VERSION = "tls_version"
TLS_RESUMED = "tls_resumed"
CLIENT_NAME = "client_name"
CLIENT_CERTIFICATE = "client_certificate"
ROLE = "role"
SITE_SYSTEM = "site_system"
METHOD = "method"
TARGET = "target"
DROPPED_HEADERS = "dropped_headers"
MESSAGE_ENDPOINT = "message_endpoint"
MESSAGE_TYPES = "message_types"
CLIENT_GUID = "client_guid"
CLIENT_GUID_BINDING = "client_guid_binding"
SIGNED_WITH = "signed_with"
NAMES_ANOTHER = "names_another"
UPLOAD = "upload"
OBSERVED = "observed"
WOULD_REFUSE = "would_refuse"
SHADOW = "shadow"
INSPECTED = "inspected"
FORWARDED = "forwarded"
RESENT = "resent"
STATUS = "status"
TLS_ALERT = "tls_alert"
BYTES_FROM_CLIENT = "bytes_from_client"
BYTES_TO_CLIENT = "bytes_to_client"
LOST_RECORDS = "lost_records"
PROCESS_ID = "process_id"
DURATION_SECONDS = "duration_seconds"
NOTE = "note"
WRITER = "writer"
SEQUENCE = "sequence"
PREVIOUS = "previous"

MAX_TEXT = 512
"""Characters of a text."""

MAX_ITEMS = 32
"""Items of a list; the number of the remaining ones follows them."""

MAX_NAME = 64
"""Characters of the name of a dropped field."""

ALLOWED_BY = "allowed_by"
"""A key of the fields in WOULD_REFUSE: the line of the policy; empty if no policy can allow it."""

TUNNEL_NOTE = "TUNNEL-BLIND: tunneled without inspection"

Fields = dict[str, str]
Value = str | bool | int | float | tuple[str, ...] | Fields | list[Fields] | None
Record = dict[str, Value]


def denial_fields(deny: Deny) -> Record:
    """The fields of a refusal."""
    return {
        VERDICT: Verdict.DENY.value,
        REASON: deny.reason.value,
        RULE: deny.rule[:MAX_TEXT],
        REQUIREMENT: requirement(deny),
        DETAIL: deny.detail[:MAX_TEXT],
    }


def approved_fields(approved: Approved, observed: tuple[str, ...] = ()) -> Record:
    """The fields of an approved request; `observed` are those of its response."""
    inspected, identity = approved.inspected, approved.identity
    message = inspected.message
    return {
        MESSAGE_ENDPOINT: message.endpoint if message is not None else None,
        MESSAGE_TYPES: message.roots if message is not None else (),
        INSPECTED: inspected.views,
        CLIENT_GUID: identity.guid,
        CLIENT_GUID_BINDING: identity.binding_status.value
        if identity.binding_status is not None
        else None,
        SIGNED_WITH: identity.signed_with,
        NAMES_ANOTHER: identity.names_another,
        OBSERVED: (
            *(f"{deny.reason.value}: {deny.detail}" for deny in approved.observed),
            *(f"{Reason.ENGINE_UNAVAILABLE.value}: {engine}" for engine in inspected.missed),
            *observed,
        ),
    }


def observed_fields(would_refuse: tuple[Observed, ...]) -> Record:
    """The verdict of an allowed request, and the refusals that were not enforced.

    The first refusal has the keys of `denial_fields`; WOULD_REFUSE has all.
    """
    if not would_refuse:
        return {VERDICT: Verdict.ALLOW.value}
    return {
        **denial_fields(would_refuse[0].denial),
        VERDICT: Verdict.OBSERVED.value,
        WOULD_REFUSE: [
            {
                REASON: finding.denial.reason.value,
                RULE: finding.denial.rule,
                DETAIL: finding.denial.detail,
                ALLOWED_BY: finding.allowed_by,
            }
            for finding in would_refuse[:MAX_ITEMS]
        ],
    }


NOT_JUDGED = "not_judged"
"""A key of `shadow_field`: a `shadow.Unjudged` that the shadow would still judge."""


def shadow_field(outcome: Outcome | None) -> Fields | None:
    """The outcome of another policy, with the keys of a record; None without one."""
    if outcome is None:
        return None
    denial = outcome.denial
    verdict = Verdict.ALLOW if denial is None else Verdict.OBSERVED
    fields = {VERDICT: (Verdict.DENY if outcome.enforced else verdict).value}
    if denial is not None:
        fields |= {REASON: denial.reason.value, RULE: denial.rule, DETAIL: denial.detail}
    if outcome.not_judged is not None:
        fields[NOT_JUDGED] = outcome.not_judged.value
    return fields


def certificate_field(facts: CertificateFacts) -> dict[str, str]:
    """The fields that identify a certificate."""
    return {
        "subject": facts.subject[:MAX_TEXT],
        "issuer": facts.issuer[:MAX_TEXT],
        "serial": facts.serial[:MAX_TEXT],
        "sha256": facts.sha256,
        "not_after": facts.not_after,
    }


_REMOVED = "..."

_USER = re.compile(rb"(//|\A(?!/)(?:[A-Za-z][A-Za-z0-9+.-]*:)?)[^/?#]*@")
"""User information (RFC 3986 §3.2.1) in any form of target. Matching reads each byte at most twice,
because no two start positions scan the same bytes."""

_SEPARATORS = re.compile(r"([?&;#])")

_HARMLESS = {
    "operation": re.compile(r"[A-Za-z0-9]{1,32}"),  # RFC 8894 §4.1
    "documentid": re.compile(r"[A-Za-z0-9{}._:/-]{1,512}"),  # of a baseline, as in roles.yaml
}
"""Named values that are recorded: the name in lower case, and the form of the value."""


def target_field(target: bytes) -> str:
    """A request target without possible secrets and payload.

    Query values without a name are policies and files (`?MPLIST`, `?/setup.exe`) and are kept.
    Named values (`?message=`, which is SCEP's body; `?access_token=`) and user information are
    removed. They are removed before the text is cut, so that a cut cannot expose them.
    """
    text = _USER.sub(rb"\1" + _REMOVED.encode() + b"@", target)
    # Four times the limit: enough to fill the text after the removals, and quick to scan.
    path, *rest = _SEPARATORS.split(text[: 4 * MAX_TEXT].decode("ascii", "backslashreplace"))
    return "".join((path, *map(_without_value, rest)))[:MAX_TEXT]


def _without_value(part: str) -> str:
    name, equals, value = part.partition("=")
    harmless = _HARMLESS.get(name.lower())
    if not equals or (harmless is not None and harmless.fullmatch(value)):
        return part
    return f"{name}={_REMOVED}"


def dropped_field(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the dropped fields."""
    return tuple(name[:MAX_NAME] for name in _shortened(names))


def _shortened(texts: tuple[str, ...]) -> tuple[str, ...]:
    # One item more needs no more room than the count.
    if len(texts) <= MAX_ITEMS + 1:
        return texts
    return (*texts[:MAX_ITEMS], f"{len(texts) - MAX_ITEMS} more")


def _bounded(value: Value) -> Value:
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, tuple):
        return tuple(text[:MAX_TEXT] for text in _shortened(value))
    if isinstance(value, dict):
        return {key: text[:MAX_TEXT] for key, text in value.items()}
    if isinstance(value, list):
        return [{key: text[:MAX_TEXT] for key, text in fields.items()} for fields in value]
    return value


def without_empty[Field](record: Mapping[str, Field]) -> dict[str, Field]:
    """A record without None and empty values."""
    # Most values are true, and the comparison takes longer.
    return {key: value for key, value in record.items() if value or value not in (None, "", ())}


_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def members(record: Record) -> str:
    """The fields of a record as members of a JSON object in ASCII, each text limited."""
    bounded = {key: _bounded(value) for key, value in without_empty(record).items()}
    return _encode(bounded)[1:-1]


def plain_members(fields: Mapping[str, str]) -> str:
    """The same for texts of the bridge itself, in which JSON escapes nothing."""
    return ",".join([f'"{name}":"{text}"' for name, text in fields.items()])


def line(*parts: Record | str) -> str:
    """One line of the audit file, of records and of `members` that were made before."""
    texts = [part if isinstance(part, str) else members(part) for part in parts]
    return "{" + ",".join(filter(None, texts)) + "}\n"
