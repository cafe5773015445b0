"""The broken twins of the checks: bridges with one decision off, or with one rule too many.

Some are breaks of the cases of the demo (`tests.lab.cases.breaks`). `twin_of` names one for each
check, which must fail against it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from OpenSSL import SSL

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.identity.approval import Approved, ClientIdentity
from ibcm_bridge.identity.claims import Claim
from ibcm_bridge.inspection.verdict import Inspected
from ibcm_bridge.policy.publications import BridgePublication, TunnelPublication
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.target import RequestTarget
from tests.conformance import broken_heads as heads
from tests.lab.cases.breaks import Break, returns

SANITY = b"/SMS_MP/.sms_aut?MPLIST"
"""The target of the sanity exchange."""

MARKED_SANITY = b"/sanity.bin"
"""The end of its target for a check that runs beside others."""


def _only_sanity(original: Callable[..., Any]) -> Callable[..., Any]:
    def authorize(client: Any, publication: Any, never: Any, head: Any) -> object:
        if head.target.raw == SANITY or head.target.raw.endswith(MARKED_SANITY):
            return original(client, publication, never, head)
        return Deny(Reason.DIRECTORY, rules.DIRECTORIES.of(publication.name), "one rule too many")

    return authorize


def _every_head(original: Callable[..., Any]) -> Callable[..., Any]:
    """Authorize each head for a role of the publication."""

    def authorize(client: Any, publication: Any, never: Any, head: Any) -> object:
        found = original(client, publication, never, head)
        if not isinstance(found, Deny):
            return found
        roles = {role.profile.name: role for role in publication.directories.values()}
        role = next(iter(roles.values()))
        if head.target.raw.startswith(b"/SMS_DP"):
            role = roles["distribution-point"]
        reading = head.target.reading
        target = RequestTarget(("x",), None) if isinstance(reading, Deny) else reading
        bodies = role.profile.bodies
        body_rule = bodies.get(head.method) or next(iter(bodies.values()))
        rule = rules.ROLE_VERBS.of(role.profile.name)
        return Authorized(
            role.profile, role.site_systems, head, body_rule, target, rule, dropped=()
        )

    return authorize


def _every_body(original: Callable[..., Any]) -> Callable[..., Any]:
    def decide(authorized: Any, body: bytes, result: object) -> object:
        if isinstance(result, Deny):
            return Inspected(authorized, body, (), None)
        return original(authorized, body, result)

    return decide


def _every_claim(original: Callable[..., Any]) -> Callable[..., Any]:
    def read_claim(inspected: Any) -> object:
        found = original(inspected)
        nothing = Claim(inspected, "", None, False, (), b"", ())
        return nothing if isinstance(found, Deny) else found

    return read_claim


def _every_identity(original: Callable[..., Any]) -> Callable[..., Any]:
    def approve_claim(claim: Any, *rest: object) -> object:
        found = original(claim, *rest)
        return Approved(claim.inspected, ClientIdentity()) if isinstance(found, Deny) else found

    return approve_claim


def _any_name(original: Callable[..., Any]) -> Callable[..., Any]:
    def route(listener: Any, hello: Any) -> object:
        found = original(listener, hello)
        bridged = (p for p in listener.publications.values() if isinstance(p, BridgePublication))
        return next(bridged) if isinstance(found, Deny) else found

    return route


def _no_tunnel(original: Callable[..., Any]) -> Callable[..., Any]:
    def route(listener: Any, hello: Any) -> object:
        found = original(listener, hello)
        if isinstance(found, TunnelPublication):
            return Deny(Reason.UNKNOWN_NAME, rules.LISTENER_PUBLICATIONS, "one rule too many")
        return found

    return route


def _unverified(original: Callable[[Any], None]) -> Callable[[Any], None]:
    """Request no certificate, and accept the handshake."""

    def set_accept_state(connection: Any) -> None:
        original(connection)
        connection.set_verify(SSL.VERIFY_NONE, lambda *_: True)

    return set_accept_state


def _patient(*limits: str) -> Callable[..., Any]:
    """Wait an hour instead of these limits."""

    def make(original: Callable[..., None]) -> Callable[..., None]:
        def init(layer: Any, context: Any, connection: Any, given: Any, *rest: Any) -> None:
            hour = dict.fromkeys(limits, 3_600.0)
            original(layer, context, connection, dataclasses.replace(given, **hour), *rest)

        return init

    return make


def _without_lists(original: Callable[..., Any]) -> Callable[..., Any]:
    """Resume a session, and keep a connection, without the revocation lists."""

    def verify_again(trust: Any, certificate: Any, sent: Any) -> object:
        with patch("ibcm_bridge.addons.tls.current_trust.judge_path", lambda *_: ()):
            return original(trust, certificate, sent)

    return verify_again


def _legs_for(requests: int) -> Callable[..., Any]:
    """Keep a leg for this number of requests."""

    def make(original: Callable[..., bool]) -> Callable[..., bool]:
        def usable(leg: Any, idle_seconds: float) -> bool:
            leg.uses = getattr(leg, "uses", 0) + 1
            return leg.uses < requests and original(leg, idle_seconds)

        return usable

    return make


def _with_status_200(original: Callable[..., bytes]) -> Callable[..., bytes]:
    def response(*args: object, **options: object) -> bytes:
        return re.sub(rb"^HTTP/1.1 [0-9]+ [^\r]*", b"HTTP/1.1 200 OK", original(*args, **options))

    return response


_CORE = "ibcm_bridge"

TWINS = {
    name: Break(target, replacement, ())
    for name, target, replacement in (
        ("only the MP list", f"{_CORE}.request.authorization:authorize", _only_sanity),
        ("every head", f"{_CORE}.request.authorization:authorize", _every_head),
        ("every body", f"{_CORE}.inspection.verdict:_decide", _every_body),
        ("every claim", f"{_CORE}.identity.claims:read_claim", _every_claim),
        ("every identity", f"{_CORE}.identity.approval:approve_claim", _every_identity),
        ("tolerant head", f"{_CORE}.request.head:read_request_head", heads.tolerant),
        ("any version", f"{_CORE}.request.head:read_request_head", heads.version_1_1),
        ("borrowed sign-in", f"{_CORE}.request.head:read_request_head", heads.borrowed_sign_in),
        ("first Host", f"{_CORE}.request.head:read_request_head", heads.first_host),
        ("published Host", f"{_CORE}.request.head:read_request_head", heads.published_host),
        (
            "large head",
            f"{_CORE}.addons.layers.client_stream:ClientStream.read_head",
            heads.large_head,
        ),
        ("many fields", f"{_CORE}.request.head:read_request_head", heads.many_fields),
        *(
            (
                f"patient {limit}",
                f"{_CORE}.addons.layers.front_door:FrontDoorLayer.__init__",
                _patient(f"{limit}_seconds"),
            )
            for limit in ("handshake", "head", "body", "idle", "response")
        ),
        (
            "verified again without lists",
            f"{_CORE}.addons.tls.current_trust:ClientTrust.verify_again",
            _without_lists,
        ),
        *(
            (
                f"legs for {name}",
                f"{_CORE}.addons.layers.site_system_leg:SiteSystemLeg.usable",
                _legs_for(requests),
            )
            for name, requests in (("one request", 1), ("two requests", 2))
        ),
        ("any name", f"{_CORE}.routing.publication:route", _any_name),
        ("no tunnel", f"{_CORE}.routing.publication:route", _no_tunnel),
        ("anonymous", f"{_CORE}.authentication.client:may_be_anonymous", returns(True)),
        (
            "unverified",
            f"{_CORE}.addons.tls.connection:LegConnection.set_accept_state",
            _unverified,
        ),
        (
            "polite refusal",
            f"{_CORE}.decisions.refusal_response:response_bytes",
            _with_status_200,
        ),
    )
}

_STRICT = "only the MP list"

_OF_TOPIC = {
    "bits": "upload sessions",
    "certificates": "path",
    "content_types": "every head+every body",
    "downloads": _STRICT,
    "enrollment": "every head",
    "headers": "unlisted fields",
    "identity": "every claim+every identity",
    "leaks": "replies",
    "limits": _STRICT,
    "names": "host",
    "paths": "every head+every body",
    "payloads": "every body",
    "revocation": "revocation",
    "smuggling": "tolerant head",
    "tunnel": "no tunnel",
    "updates": "every head+every body",
    "users": _STRICT,
    "verbs": "every head",
    "versions": "any version",
}
"""The twin of most checks of a topic."""

_OF_CHECK = {
    "bits::malware_across_fragments": "every body",
    "bits::upload": _STRICT,
    "certificates::another_computer": _STRICT,
    "certificates::authority_names": "anonymous+unverified",
    "certificates::computer": _STRICT,
    "certificates::foreign": "path+revocation",
    "certificates::self_signed": "path+revocation",
    "certificates::no_purpose": "purpose",
    "certificates::none": "anonymous+unverified",
    "certificates::own_certificate_of_the_proxy": _STRICT,
    "certificates::revoked": "revocation",
    "certificates::server_purpose": "path+purpose",
    "certificates::user_on_a_computer_publication": "user taken for a computer",
    "certificates::user_on_a_user_publication": _STRICT,
    "enrollment::authority_certificates": _STRICT,
    "headers::a_thousand_fields": "many fields",
    "headers::field_of_200_kilobytes": "large head",
    "headers::connection_option": "every head+every claim+every identity",
    "headers::overlapping_ranges": "every head",
    "headers::range_with_overflow": "every head",
    "headers::signed_fields": _STRICT,
    "headers::two_client_guids": "every head+every claim+every identity",
    "identity::own_guid": _STRICT,
    "identity::registration": _STRICT,
    "leaks::server_software": "fields of a response",
    "limits::body_byte_by_byte": "patient body",
    "limits::body_of_a_terabyte": "announced body+patient body",
    "limits::handshake_byte_by_byte": "patient handshake",
    "limits::head_byte_by_byte": "patient head",
    "limits::idle_after_a_response": "patient idle",
    "limits::idle_connection": "patient idle",
    "limits::silent_connection": "patient handshake",
    "limits::silent_site_system": "patient response",
    "limits::stalled_body": "patient body",
    "limits::stalled_handshake": "patient handshake",
    "limits::stalled_head": "patient head",
    "limits::stalled_head_without_tls": "patient head",
    "limits::stalled_response": "patient idle",
    "limits::unfinished_handshake": "patient handshake",
    "names::host_in_upper_case": _STRICT,
    "names::host_with_port": _STRICT,
    "names::empty_host": "published Host",
    "names::host_with_a_list": "published Host",
    "names::host_with_a_path": "published Host",
    "names::host_with_a_user": "published Host",
    "names::no_host": "first Host",
    "names::server_name_in_upper_case": _STRICT,
    "names::two_hosts": "first Host",
    "names::plaintext_on_the_tls_port": "polite refusal",
    "names::unknown_server_name": "any name",
    "paths::certificate_of_the_site": _STRICT,
    "paths::directory_in_another_case": _STRICT,
    "paths::management_points_of_a_site": _STRICT,
    "paths::trusted_root_key": _STRICT,
    "payloads::heartbeat": _STRICT,
    "payloads::inventory": _STRICT,
    "payloads::task_sequence": _STRICT,
    "revocation::after_resumption": "verified again without lists",
    "revocation::connected_client": "verified again without lists",
    "smuggling::connect": "every head",
    **dict.fromkeys(
        (
            "smuggling::chunked_twice",
            "smuggling::coding_after_chunked",
            "smuggling::coding_with_a_vertical_tab",
            "smuggling::empty_length",
            "smuggling::http_2_without_agreement",
            "smuggling::quoted_coding",
            "smuggling::second_of_two_requests",
            "smuggling::two_codings",
            "smuggling::unknown_coding",
        ),
        "tolerant head+every head+every body",
    ),
    "updates::scan": _STRICT,
    "users::ntlm_sign_in": "legs for one request",
    # No break lends a leg: test_careless_proxies has a proxy that does.
    "users::ntlm_sign_in_of_another_client": "legs for one request",
    "users::password": "schemes of Authorization",
    "users::sign_in_of_another_client": "borrowed sign-in",
    "users::signed_in_connection": "legs for two requests",
    "verbs::ccm_post": _STRICT,
    "verbs::get_of_a_fallback_status_point": "every head+every body",
    "verbs::get_of_a_management_point": _STRICT,
    "verbs::head_of_a_file": _STRICT,
    "verbs::head_of_a_management_point": _STRICT,
    "verbs::post_to_a_fallback_status_point": _STRICT,
    "verbs::propfind_of_a_package": _STRICT,
    "versions::no_version": "tolerant head",
    "versions::refusal_after_a_valid_request": "every head",
    "versions::resumed_session": _STRICT,
    "versions::session_of_another_publication": "anonymous+unverified",
    "versions::several_requests": _STRICT,
    "versions::tls_1_2": _STRICT,
}


def twin_of(check: str) -> str:
    """Return the names of the breaks, with `+` between them, that a check must notice."""
    return _OF_CHECK.get(check) or _OF_TOPIC[check.partition("::")[0]]


def checks_with_an_own_twin() -> set[str]:
    """Return the checks that have another twin than their topic."""
    return {*_OF_CHECK}
