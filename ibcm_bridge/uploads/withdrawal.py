"""How an upload that was refused for good ends at the site system: Cancel-Session.

The site system has the fragments before the refused one. It is told to throw them away by a packet
of the bridge's own, which is decided on like one of the client's.
"""

from __future__ import annotations

from ibcm_bridge.decisions.client_reaction import NextStep
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.refusals import refusal
from ibcm_bridge.request.head import RequestHead
from ibcm_bridge.uploads.session import Session

_KEPT_FIELDS = frozenset((b"host", b"user-agent", b"accept"))


def withdrawal(head: RequestHead, session: Session | None, denial: Deny) -> RequestHead | None:
    """The packet to send before `denial` is told; None where the session goes on, or is none.

    `session` is the one that the packet with this head belongs to, its client's own. What another
    try may mend leaves it as it is.
    """
    if session is None or denial.reason is Reason.UPLOAD_GAP:
        return None
    if refusal(denial).next_step is NextStep.TRIES_AGAIN:
        return None
    kept = tuple(field for field in head.fields if field[0].lower() in _KEPT_FIELDS)
    cancel = (
        (b"BITS-Packet-Type", b"Cancel-Session"),
        (b"BITS-Session-Id", session.id.encode("ascii")),
        (b"Content-Length", b"0"),
    )
    return RequestHead(head.method, head.target, (*kept, *cancel), 0)
