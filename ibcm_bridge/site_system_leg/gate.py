"""The last gate: only an approved request is sent to a site system.

mitmproxy forwards a request if an addon raises instead of refusing it. So the layer that sends
calls this function for every request of a connection, with the received bytes and the decision. A
missing decision, or one for an earlier or another request, is a denial.
"""

from __future__ import annotations

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.request.head import RequestHead

Decision = Approved | Deny | None
"""The decision on a request; None until one is made."""


def gate(decision: Decision, head: RequestHead, body: bytes) -> Approved | Deny:
    """Return the approval of this head and this body, or a denial."""
    if isinstance(decision, Deny):
        return decision
    if not isinstance(decision, Approved):
        return _defect("the request is not approved")
    if decision.body != body:
        return _defect("the approval is for another body")
    sent = decision.authorized.head
    if head.length is None and sent.length == 0:
        # It is the same message (RFC 9112 §6.3), and the body is compared above.
        head = head.with_zero_length()
    if (sent.method, sent.target, sent.length) != (head.method, head.target, head.length):
        return _defect("the approval is for another request")
    # Fields may be dropped, but not added, changed or moved.
    remaining = iter(head.fields)
    if sent.fields != head.fields and not all(field in remaining for field in sent.fields):
        return _defect("the approval is for other header fields")
    return decision


def _defect(detail: str) -> Deny:
    return Deny(Reason.BRIDGE_DEFECT, rules.GATE, detail)
