"""The decision on a described request, step by step: `ibcm-bridge explain`.

A described request passes the same functions as in the bridge, in the same order, without a
connection. The caller provides the function that verifies the client's certificate path; it needs
OpenSSL.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cryptography import x509

from ibcm_bridge.authentication.certificate import certificate_facts
from ibcm_bridge.authentication.client import (
    AuthenticatedClient,
    Client,
    admit_anonymous,
    authenticate,
)
from ibcm_bridge.authentication.revocation import Notes
from ibcm_bridge.commands.check.publications import publication_text
from ibcm_bridge.commands.explain.described_request import DescribedRequest
from ibcm_bridge.commands.explain.explanation import Explanation
from ibcm_bridge.commands.explain.ports import choose_port, published_at
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason, Refused
from ibcm_bridge.decisions.refusals import refusal
from ibcm_bridge.decisions.role_clients import ClientTable, RoleClient
from ibcm_bridge.identity.approval import Approved, FindBinding, approve
from ibcm_bridge.identity.bindings import BindingStatus
from ibcm_bridge.inspection.engines import ContentEngine
from ibcm_bridge.inspection.verdict import Inspected, inspect
from ibcm_bridge.policy.addresses import address_text
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import (
    BridgePublication,
    HttpPublication,
    TunnelPublication,
)
from ibcm_bridge.policy.trust import Trust
from ibcm_bridge.request.authorization import Authorized, authorize
from ibcm_bridge.request.bits_packet import read_content_range
from ibcm_bridge.request.head import RequestHead, read_request_head
from ibcm_bridge.site_system_leg.selection import preferred

VerifyPath = Callable[[Trust, Sequence[x509.Certificate]], Notes | Deny]
"""Verifies a client's certificates as the client leg does. Returns audit notes, or a denial."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The inputs of a decision besides the policy and the request."""

    engines: Sequence[ContentEngine]
    verify_path: VerifyPath
    find: FindBinding
    """Finds the binding of a client GUID."""
    now: datetime.datetime
    clients: ClientTable
    """How clients show a refusal."""


def explain(
    policy: Policy,
    request: DescribedRequest,
    environment: Environment,
) -> Explanation:
    """Follow a request through the bridge. Raises NoListenerError if its port has no listener."""
    explanation = Explanation()
    try:
        _follow(explanation, policy, request, environment)
    except Refused as refused:
        explanation.denial = refused.denial
        role_clients = environment.clients.requesting(request.url.target, explanation.roles)
        explanation.steps += _refusal_steps(refused.denial, request.method, role_clients)
    return explanation


def _follow(
    explanation: Explanation,
    policy: Policy,
    request: DescribedRequest,
    environment: Environment,
) -> None:
    add_step = explanation.steps.append
    plain = request.url.scheme == "http"
    url, explanation.port = choose_port(policy, request.url)
    if not plain and url.server_name is None:
        add_step("For an IP address, a client sends no server name (SNI).")
    publication = published_at(policy, url)
    if isinstance(publication, Deny):
        raise Refused(publication)
    add_step(f"{publication_text(publication)}.")
    if isinstance(publication, TunnelPublication):
        add_step("The request is forwarded without inspection; only the site system can refuse it.")
        return

    explanation.roles = frozenset(role.profile.name for role in publication.directories.values())
    client = _client(publication, request.certificates, environment.verify_path)
    if isinstance(client, AuthenticatedClient):
        add_step(f"The client is authenticated as the {client.kind} {client.name}.")
    else:
        add_step("The client needs no certificate.")
    decision = _decide(policy, publication, client, request)
    authorized = explanation.authorized = _allowed(decision)
    requirement = authorized.role.verbs_requirement
    add_step(f"The request head is allowed by {authorized.rule} ({requirement}).")
    add_findings = explanation.add_findings
    add_findings(authorized.would_refuse)
    if authorized.dropped:
        add_step(f"Dropped header fields (not listed): {', '.join(authorized.dropped)}.")
    explanation.site_system, to = _site_systems(authorized, client)
    if authorized.packet is not None:
        explanation.body_not_inspected = True
        add_step(f"The request is a BITS {authorized.packet.type} packet.")
        add_step("`explain` cannot check the packet's upload session.")
        add_step(f"If the session accepts the packet, the bridge forwards it to {to}.")
        return
    if request.body is None and authorized.body_rule.limit and authorized.head.length != 0:
        explanation.body_not_inspected = True
        add_step("The body would still be inspected; add it with --body.")
        add_step(f"If it is accepted, the bridge forwards the request to {to}.")
        return
    body, announced = request.body or b"", authorized.head.length or 0
    if len(body) > announced:
        add_step(
            f"Only the first {announced} bytes (Content-Length) are the body; the rest would start "
            "the next request."
        )
        body = body[:announced]
    inspected = _allowed(inspect(authorized, body, environment.engines))
    add_findings(inspected.would_refuse)
    explanation.steps += _inspection_steps(inspected, with_clamav=policy.clamav is not None)
    approved = explanation.approved = _allowed(
        approve(inspected, client, environment.find, policy.messages, environment.now)
    )
    add_findings(approved.would_refuse)
    explanation.steps += _identity_steps(approved)
    how = "with the bridge's client certificate" if not plain else "over plain HTTP"
    add_step(f"The bridge forwards the request to {to}, {how}.")


def _decide(
    policy: Policy, publication: HttpPublication, client: Client, request: DescribedRequest
) -> Authorized | Deny:
    head = _allowed(_head(request, policy, publication))
    decision = authorize(client, publication, policy.never, head)
    if (
        request.body is None
        and isinstance(decision, Deny)
        and decision.reason is Reason.LENGTH_REQUIRED
    ):
        # Clients send a length, but without the body it is unknown. A fragment's length follows
        # from its range.
        place = read_content_range(head)
        length = 1 if place is None else max(1, place.length)
        sized = request.with_field("Content-Length", str(length))
        head = _allowed(_head(sized, policy, publication))
        decision = authorize(client, publication, policy.never, head)
    return decision


def _client(
    publication: HttpPublication,
    certificates: tuple[x509.Certificate, ...],
    verify_path: VerifyPath,
) -> Client:
    # Without a certificate request, a client presents no certificate.
    if (
        not isinstance(publication, BridgePublication)
        or publication.client_trust is None
        or not certificates
    ):
        return _allowed(admit_anonymous(publication))
    try:
        facts = certificate_facts(certificates[0])
    except ValueError:
        # The same denial as in the handshake (`addons.tls`).
        raise Refused(
            Deny(Reason.CERTIFICATE_INVALID, rules.CLIENTS, "the certificate cannot be read")
        ) from None
    _allowed(verify_path(publication.client_trust, certificates))
    return _allowed(authenticate(publication, facts))


def _head(
    request: DescribedRequest, policy: Policy, publication: HttpPublication
) -> RequestHead | Deny:
    raw, limit = request.head_bytes(), publication.request_head
    if raw.find(b"\r\n\r\n") > limit:
        # The same denial as in `addons.layers.exchange`.
        return Deny(Reason.HEAD_TOO_LARGE, rules.LIMITS_REQUEST_HEAD, f"more than {limit} bytes")
    return read_request_head(raw, policy.limits.header_fields)


def _inspection_steps(inspected: Inspected, *, with_clamav: bool) -> Iterator[str]:
    if inspected.views:
        views = ", ".join(inspected.views)
        yield f"The engines scanned these views (name:bytes) and found nothing: {views}."
        if with_clamav:
            yield "ClamAV would also scan them; `explain` does not connect to it."
    if (message := inspected.message) is not None:
        kind = f"of type {', '.join(message.roots)}" if message.roots else "encrypted"
        yield f"The message is {kind}, for the endpoint {message.endpoint}."


def _identity_steps(approved: Approved) -> Iterator[str]:
    identity = approved.identity
    if identity.binding_status is not None:
        yield f"The client GUID is {identity.guid}, {_BINDINGS[identity.binding_status]}."
    if identity.signed_with is not None:
        yield f"The request is signed ({identity.signed_with})."
    for guid in identity.names_another:
        yield f"The message mentions {guid}, which is bound to another client's certificate."
    for deny in approved.observed:
        yield f"Report-only, not refused: {deny.reason.value}, {deny.detail}."


_BINDINGS = {
    BindingStatus.UNBOUND: "not bound yet",
    BindingStatus.BOUND: "bound to this certificate",
    BindingStatus.NEWLY_BOUND: "imported, and would be bound to this certificate",
    BindingStatus.RENEWED: "bound to another certificate of this name until now",
    BindingStatus.ANOTHER_CLIENT: "bound to another client's certificate",
}


def _site_systems(authorized: Authorized, client: Client) -> tuple[str, str]:
    """Return the name of the site system that the request is sent to, and all in words.

    The name is empty if it depends on the session of an upload.
    """
    key = client.certificate.public_key if isinstance(client, AuthenticatedClient) else b""
    listed = preferred(authorized.site_systems, key)
    if len(listed) > 1 and authorized.packet is not None and authorized.packet.needs_session:
        return "", "the site system that has the session"
    words = (f"{each.name} at {address_text(each.address)}" for each in listed)
    return listed[0].name, " or, if it cannot be connected to, ".join(words)


def _refusal_steps(denial: Deny, verb: str, role_clients: Sequence[RoleClient]) -> Iterator[str]:
    row = refusal(denial)
    response = f"status {row.status.value}" if row.status else f"the TLS alert {row.alert}"
    if denial.detail:
        yield f"Refused: {denial.detail}."
    yield f"The client receives {response}: {row.text}"
    if len(role_clients) == 1:
        yield f"Expected client log (inferred): {role_clients[0].shows(row)}."
        yield f"As a result, {role_clients[0].does(verb, row.next_step)}."
        return
    # Neither the path nor the publication shows the role.
    step = row.next_step.short
    yield f"As a result, the client {step}; its log depends on the role (docs/refusals.md)."


def _allowed[Value](value: Value | Deny) -> Value:
    if isinstance(value, Deny):
        raise Refused(value)
    return value
