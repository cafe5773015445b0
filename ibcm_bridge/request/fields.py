"""Which header fields of a request are forwarded, and which may occur more than once.

A field that occurs twice can be read in two ways: the first value, the last, or both. Only fields
that are lists by definition may repeat (`repeatable_headers` in `config/roles.yaml`), and fields
that are not forwarded anyway.
"""

from __future__ import annotations

from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.observing import Observation
from ibcm_bridge.policy.publications import UnlistedHeaders
from ibcm_bridge.policy.resources import Directory
from ibcm_bridge.policy.roles import RoleProfile
from ibcm_bridge.request.credentials import check_credentials
from ibcm_bridge.request.head import TOKEN, RequestHead

_AUTHORIZATION = b"authorization"
_CREDENTIALS = frozenset((_AUTHORIZATION,))

_HOP_BY_HOP = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"expect"))
"""Fields for the bridge itself (RFC 9110 §7.6.1, §10.1.1). They are never forwarded, and are not
reported as dropped unlisted fields."""

_FRAMING = frozenset((b"content-length", b"host", b"trailer", b"transfer-encoding"))
"""Fields for the length and the recipient of a message. RFC 9110 §7.6.1 forbids Connection options
for fields that are meant for all recipients; without these fields the message would be another."""


@dataclass(frozen=True, slots=True)
class ListedFields:
    """The fields of requests with one method to one directory. All names are in lower case."""

    forwarded: frozenset[bytes]
    dropped: frozenset[bytes]
    """They are dropped, and do not refuse a request (`unlisted_headers: refuse`)."""


def listed_fields(profile: RoleProfile, directory: Directory, method: bytes) -> ListedFields:
    """Return the fields that requests to a directory may have."""
    dropped = profile.dropped_headers.get(method, frozenset())
    forwarded = profile.headers - dropped if dropped else profile.headers
    if directory.authenticates_users:
        return ListedFields(forwarded | _CREDENTIALS, dropped)  # USER-WINDOWS-AUTH
    # WinHTTP sends credentials before a site system asks for them.
    return ListedFields(forwarded, dropped | _CREDENTIALS)


def check_connection_options(listed: ListedFields, head: RequestHead) -> Deny | None:
    """Return the refusal of a Connection option that names a field of another recipient."""
    # RFC 9110 §7.6.1: an option names a hop-by-hop field, which a proxy removes. A field that is
    # not forwarded is removed anyway. A client must not remove a field that is.
    for option in b",".join(head.values(b"connection")).lower().split(b","):
        name = option.strip(b" \t")
        if name in _FRAMING or name in listed.forwarded:
            detail = (
                f"Connection lists {name.decode('ascii')[:64]}, which is not a hop-by-hop field"
            )
            return Deny(Reason.HEADER, rules.HEAD_CONNECTION, detail, "HTTP-1.1")
        if name and not TOKEN.fullmatch(name):
            detail = "Connection is not a list of field names"
            return Deny(Reason.HEADER, rules.HEAD_CONNECTION, detail, "HTTP-1.1")
    return None


def select_fields(
    profile: RoleProfile,
    listed: ListedFields,
    unlisted: UnlistedHeaders,
    head: RequestHead,
    observation: Observation,
) -> tuple[RequestHead, tuple[str, ...]] | Deny:
    """Return the head to forward, and the names of the dropped fields; or a refusal."""
    refusal = check_credentials(head.values(_AUTHORIZATION))
    if refusal is None and len(head.names) < len(head.fields):
        refusal = _check_repetition(profile, listed, head)
    if refusal is not None:
        return refusal
    # HEADER-MP, HEADER-DP, and the fields that HTTP requires.
    kept, removed = head.keeping(listed.forwarded)
    dropped = tuple(name for name in removed if name.lower().encode() not in _HOP_BY_HOP)
    if unlisted is UnlistedHeaders.REFUSE:
        for name in dropped:
            if name.lower().encode() not in listed.dropped:
                rule = rules.ROLE_HEADERS.of(profile.name)
                detail = f"{name[:64]} is not listed"
                refusal = observation.enforce(
                    Deny(Reason.HEADER, rule, detail, profile.headers_requirement)
                )
                if refusal is not None:
                    return refusal
    return kept, dropped


def _check_repetition(profile: RoleProfile, listed: ListedFields, head: RequestHead) -> Deny | None:
    once = (listed.forwarded | _CREDENTIALS) - profile.repeatable_headers
    for name in head.names:
        count = len(head.values(name))
        if count > 1 and name in once:
            detail = f"{count} {name.decode('ascii')[:64]} fields"
            return Deny(Reason.MALFORMED_HEAD, rules.HEAD_REPEATED, detail)
    return None
