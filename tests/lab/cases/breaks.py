"""Ways to break the bridge: each takes one decision away, and names the cases that must notice.

A target is `module:name`, or `module:class.name`. The replacement is made from the original.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.inspection.subject import Content
from ibcm_bridge.policy.bodies import Inspection
from ibcm_bridge.policy.endpoints import Endpoint
from ibcm_bridge.policy.roles import CertificatePolicy

type Replacement = Callable[[Any], Any]


@dataclass(frozen=True)
class Break:
    """A target, its replacement, and the ids of the cases that must fail."""

    target: str
    replacement: Replacement
    cases: tuple[str, ...]


def returns(value: object) -> Replacement:
    """A function that always returns this."""
    return lambda _original: lambda *_args, **_options: value


def _never(_original: object) -> re.Pattern[bytes]:
    return re.compile(rb"(?!)")


def _any_endpoint(original: Callable[..., Any]) -> Callable[..., Any]:
    def judge(table: object, message: Any, observation: object, *, user: bool) -> object:
        found = original(table, message, observation, user=user)
        if isinstance(found, Deny) and found.reason in (Reason.ENDPOINT, Reason.MESSAGE):
            return Endpoint(message.header.target_endpoint, frozenset(), False, False)
        return found

    return judge


def _without_row(requirement: str) -> Replacement:
    def make(original: Callable[..., bool]) -> Callable[..., bool]:
        return lambda row, document: row.requirement != requirement and original(row, document)

    return make


def _every_verb(original: Callable[..., Any]) -> Callable[..., Any]:
    def body_rule(profile: Any, head: Any) -> object:
        found = original(profile, head)
        known = next(iter(profile.bodies))
        return (
            original(profile, dataclasses.replace(head, method=known))
            if isinstance(found, Deny)
            else found
        )

    return body_rule


def _for_clients(original: Callable[..., Any]) -> Callable[..., Any]:
    def authenticate(publication: object, certificate: Any) -> object:
        uses = frozenset(("1.3.6.1.5.5.7.3.2",))
        return original(publication, dataclasses.replace(certificate, purposes=uses))

    return authenticate


def _for_either_kind(original: Callable[..., Any]) -> Callable[..., Any]:
    def authenticate(publication: Any, certificate: object) -> object:
        either = dataclasses.replace(publication, certificate_policy=CertificatePolicy.EITHER)
        return original(either, certificate)

    return authenticate


def _with_authorization(original: Callable[..., Any]) -> Callable[..., Any]:
    def listed(*args: object) -> object:
        fields = original(*args)
        more = fields.forwarded | {b"authorization"}
        return dataclasses.replace(fields, forwarded=more)

    return listed


def _version_1_0(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda raw, *limits: original(raw.replace(b"HTTP/1.0", b"HTTP/1.1", 1), *limits)


def _without_transfer_encoding(original: Callable[..., Any]) -> Callable[..., Any]:
    def read(method: bytes, target: bytes, fields: Any) -> object:
        kept = tuple(field for field in fields if field[0].lower() != b"transfer-encoding")
        return original(method, target, kept)

    return read


def _nothing_excluded(original: Callable[..., Any]) -> Callable[..., Any]:
    nothing = SimpleNamespace(directories=frozenset(), below=frozenset(), explained={})
    return lambda publication, target, _never: original(publication, target, nothing)


def _without_refused_rows(original: Callable[..., Any]) -> Callable[..., Any]:
    def requested(profile: Any, target: object, head: object) -> object:
        directories = {
            name: dataclasses.replace(
                directory, resources=tuple(row for row in directory.resources if not row.refused)
            )
            for name, directory in profile.directories.items()
        }
        return original(dataclasses.replace(profile, directories=directories), target, head)

    return requested


def _any_time(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: original(*args[:-1], datetime.timedelta(days=100_000))


def _unread(original: dict[Inspection, object]) -> dict[Inspection, object]:
    return {**original, Inspection.XML_TEXT: lambda _subject, _limit: Content({})}


def _verified(original: Callable[..., int]) -> Callable[..., int]:
    return lambda _preverified, *rest: original(1, *rest)


def _not_replaced(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: dataclasses.replace(original(*args), replaced=False)


_CORE = "ibcm_bridge"

BREAKS = {
    # Connections and certificates
    "host": Break(f"{_CORE}.request.host:check_host", returns(None), ("other-host",)),
    "path": Break(
        f"{_CORE}.addons.tls.verify_callback:_judge_certificate",
        _verified,
        ("foreign-certificate", "wrong-site-system"),
    ),
    "revocation": Break(
        f"{_CORE}.authentication.certification_path:judge_path",
        returns(()),
        ("revoked-certificate",),
    ),
    "purpose": Break(f"{_CORE}.authentication.client:authenticate", _for_clients, ("no-purpose",)),
    "user taken for a computer": Break(
        f"{_CORE}.authentication.client:authenticate", _for_either_kind, ("user-for-computers",)
    ),
    # The client GUID
    "another client's GUID": Break(
        f"{_CORE}.identity.approval:_check_binding",
        returns(None),
        ("spoofed-guid", "spoofed-payload"),
    ),
    "two GUIDs": Break(f"{_CORE}.identity.claims:_contradiction", returns(None), ("two-guids",)),
    "malformed GUID": Break(
        f"{_CORE}.identity.claims:read_guid",
        lambda _original: lambda text: text,
        ("injected-guid",),
    ),
    "bindings": Break(
        f"{_CORE}.identity.approval:_binding_status",
        lambda original: lambda _binding, *rest: original(None, *rest),
        ("inventory-report", "policy-download"),
    ),
    "signatures": Break(
        f"{_CORE}.identity.approval:_verify",
        returns(None),
        ("forged-signature", "unsigned-message", "registration-of-another", "policy-request"),
    ),
    "time of a signature": Break(
        f"{_CORE}.identity.approval:_verify", _any_time, ("replayed-download",)
    ),
    # The head
    "verbs": Break(
        f"{_CORE}.request.authorization:_body_rule",
        _every_verb,
        ("forbidden-verb", "upload-to-distribution-point", "catalog-verb", "state-question"),
    ),
    "version": Break(f"{_CORE}.request.head:read_request_head", _version_1_0, ("http-1.0",)),
    "two lengths": Break(
        f"{_CORE}.request.head:_with_framing", _without_transfer_encoding, ("two-lengths",)
    ),
    "escaped separator": Break(
        f"{_CORE}.request.target:_SEPARATOR", _never, ("encoded-directory",)
    ),
    "names that are never published": Break(
        f"{_CORE}.request.resources:published_role",
        _nothing_excluded,
        ("alternate-directory", "content-library", "client-setup"),
    ),
    "refused resources": Break(
        f"{_CORE}.request.resources:requested_resources",
        _without_refused_rows,
        ("boot-media", "update-administration", "update-inventory"),
    ),
    "extensions": Break(
        f"{_CORE}.request.resources:_check_extensions", returns(None), ("update-script",)
    ),
    "announced body": Break(
        f"{_CORE}.request.body_announcement:_check_body_announcement",
        returns(None),
        ("wrong-media-type", "body-of-a-get"),
    ),
    "options of Connection": Break(
        f"{_CORE}.request.fields:check_connection_options",
        returns(None),
        ("removed-by-connection",),
    ),
    "unlisted fields": Break(
        f"{_CORE}.request.head:RequestHead.keeping",
        lambda _original: lambda head, _names: (head, ()),
        ("forbidden-header", "method-override"),
    ),
    "Authorization": Break(
        f"{_CORE}.request.fields:listed_fields", _with_authorization, ("credentials",)
    ),
    "schemes of Authorization": Break(
        f"{_CORE}.request.credentials:check_credentials", returns(None), ("catalog-password",)
    ),
    "bound of Range": Break(
        f"{_CORE}.request.byte_ranges:read_byte_ranges", returns(None), ("overlapping-ranges",)
    ),
    # The body
    "engines": Break(
        f"{_CORE}.inspection.scan:_scan", returns(None), ("malware-in-zlib", "state-malware")
    ),
    "values in base64": Break(
        f"{_CORE}.inspection.encoded_values:decoded_views", returns({}), ("malware-in-base64",)
    ),
    "fallback status report": Break(
        f"{_CORE}.inspection.scan:_READERS", _unread, ("state-malware",)
    ),
    "document type": Break(
        f"{_CORE}.messages.xml:_refuse_document_type", returns(None), ("external-entity",)
    ),
    "endpoints": Break(
        f"{_CORE}.inspection.message_rules:judge_message",
        _any_endpoint,
        ("forbidden-endpoint", "forbidden-root"),
    ),
    "refused messages": Break(
        f"{_CORE}.inspection.message_rules:_refused_by_name",
        returns(None),
        ("server-update", "site-assignment", "out-of-band", "boot-media-registration"),
    ),
    "row of user policy": Break(
        f"{_CORE}.inspection.message_rules:_is_about",
        _without_row("NO-USER-DEPLOYMENT"),
        ("user-policy-message",),
    ),
    "encrypted messages": Break(
        f"{_CORE}.inspection.message_rules:_judge_encrypted",
        lambda _original: lambda _table, endpoint: endpoint,
        ("encrypted-inventory",),
    ),
    "SOAP actions": Break(
        f"{_CORE}.inspection.soap_rules:judge_soap",
        returns(None),
        ("update-rollup", "update-two-actions"),
    ),
    "SOAP fields": Break(
        f"{_CORE}.messages.soap_fields:check_fields",
        returns(None),
        ("update-serialized-cookie",),
    ),
    "upload sessions": Break(
        f"{_CORE}.uploads.session:judge_packet",
        returns(None),
        ("upload-gap", "upload-stolen", "upload-closed-early"),
    ),
    # The response
    "replies": Break(
        f"{_CORE}.inspection.response:_found",
        returns(()),
        ("leaked-host-name", "leaked-policy", "leaked-listing"),
    ),
    "error pages": Break(
        f"{_CORE}.inspection.error_page:judge_error_page", _not_replaced, ("catalog-challenge",)
    ),
    "fields of a response": Break(
        f"{_CORE}.site_system_leg.response_head:_DROPPED",
        lambda original: original - {b"server"},
        ("inventory-report", "package-download"),
    ),
}
