"""Check a message and its endpoint against the tables of `config/endpoints.yaml`."""

from __future__ import annotations

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.observing import Observation
from ibcm_bridge.messages.ccm import CcmRequest
from ibcm_bridge.messages.document import Document
from ibcm_bridge.messages.msg_header import MsgHeader
from ibcm_bridge.policy.endpoints import Endpoint, EndpointTable, RefusedMessage


def judge_message(
    table: EndpointTable, message: CcmRequest, observation: Observation, *, user: bool
) -> Endpoint | Deny:
    """Return the endpoint of an allowed message, or the refusal.

    `user`: Windows authenticates a user.
    """
    refusal = _refused_by_name(table, message, observation, user=user)
    if refusal is not None:
        return refusal
    header = message.header
    name = header.target_endpoint.lower()
    endpoint = table.endpoints.get(name)
    if endpoint is None and any(name == added for added, _ in table.added):
        endpoint = Endpoint(header.target_endpoint, frozenset(), False, False)
    if endpoint is None:
        detail = f"{_endpoint_name(header)} is not published"
        for names in _names(message) or ((),):
            refusal = Deny(Reason.ENDPOINT, rules.ENDPOINTS, detail, names=names)
            if (enforced := observation.enforce(refusal)) is not None:
                return enforced
        # Its messages are unknown. An encrypted one is refused.
        endpoint = Endpoint(header.target_endpoint, frozenset(), False, False)
        return _judge_encrypted(table, endpoint) if message.encrypted else endpoint
    if message.encrypted:
        return _judge_encrypted(table, endpoint)
    for names in _names(message):
        root = names[1].lower()
        if root not in endpoint.roots and (name, root) not in table.added:
            detail = f"{names[1][:64]} for {_endpoint_name(header)}"
            rule = rules.ENDPOINT_ROOTS.of(endpoint.name)
            refusal = observation.enforce(Deny(Reason.MESSAGE, rule, detail, names=names))
            if refusal is not None:
                return refusal
    return endpoint


def _names(message: CcmRequest) -> list[tuple[str, str]]:
    """The endpoint and the root of each document, for a line of the policy."""
    return [(message.header.target_endpoint, document.root) for document in message.documents]


def _refused_by_name(
    table: EndpointTable, message: CcmRequest, observation: Observation, *, user: bool
) -> Deny | None:
    header = message.header
    name, reply_to = header.target_endpoint.lower(), header.reply_to.lower()
    for row in table.refused:
        if row.endpoint not in ("", name) or not reply_to.startswith(row.reply_to):
            continue
        if row.users and user:
            continue
        roots = [document.root for document in message.documents if _is_about(row, document)]
        if row.opt_in:
            roots = [root for root in roots if (name, root.lower()) not in table.added]
        if roots or not row.is_about_documents:
            what = roots[0][:64] if roots else "a message"
            detail = f"{what} for {_endpoint_name(header)}"
            names = (header.target_endpoint, roots[0]) if row.opt_in and roots else ()
            refusal = Deny(
                Reason.MESSAGE, rules.ENDPOINTS_REFUSED, detail, row.requirement, names=names
            )
            # A later row may be enforced.
            if (enforced := observation.enforce(refusal)) is not None:
                return enforced
    return None


def _judge_encrypted(table: EndpointTable, endpoint: Endpoint) -> Endpoint | Deny:
    detail = f"an encrypted message for {endpoint.name}"
    if not endpoint.encrypted:
        rule = rules.ENDPOINT_ENCRYPTED.of(endpoint.name)
    elif not table.encrypted:
        rule = rules.MESSAGES_ENCRYPTED
    else:
        return endpoint
    return Deny(Reason.BODY_NOT_INSPECTABLE, rule, detail)


def _is_about(row: RefusedMessage, document: Document) -> bool:
    """Return whether a row applies to a document."""
    if row.root not in ("", document.root.lower()):
        return False
    if row.element and row.element not in document.elements:
        return False
    if row.subject is not None and row.subject not in document.subjects:
        return False
    return row.at is None or any(
        value.strip().lower() == row.value for value in document.at(row.at)
    )


def _endpoint_name(header: MsgHeader) -> str:
    return header.target_endpoint or "no endpoint"
