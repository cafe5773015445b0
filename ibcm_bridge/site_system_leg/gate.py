"""The last gate: nothing is sent to a site system unless this very request was approved.

mitmproxy forwards a request when an addon that should have refused it raises. Here the layer that
sends asks this function, with what it received and the decision it holds, on every request of a
connection; a missing, older or other decision is a denial.
"""

from __future__ import annotations

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.inspection.body import Inspected
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead

Decision = Authorized | Inspected | Approved | Deny | None
"""Where a request stands: undecided, head allowed, body inspected, wholly approved, or refused."""


def gate(decision: Decision, head: RequestHead, body: bytes) -> Approved | Deny:
    """The approval of this head and this body, or the denial."""
    if isinstance(decision, Deny):
        return decision
    if not isinstance(decision, Approved):
        return _defect("the request was never approved")
    if decision.body != body:
        return _defect("another body was approved")
    sent = decision.authorized.head
    if head.length is None and sent.length == 0:
        # The same message (RFC 9112 §6.3), and the body was compared above.
        head = head.with_zero_length()
    if (sent.method, sent.target, sent.length) != (head.method, head.target, head.length):
        return _defect("another request was approved")
    # Fields may have been left out, none else added, changed or moved.
    remaining = iter(head.fields)
    if not all(field in remaining for field in sent.fields):
        return _defect("other header fields were approved")
    return decision


def _defect(detail: str) -> Deny:
    return Deny(Reason.BRIDGE_DEFECT, rules.GATE, detail)
