"""Cancel a finally refused upload at the site system, with a Cancel-Session packet.

The site system has the fragments before the refused one. The bridge's packet makes it delete them.
It is checked like a client's packet.
"""

from __future__ import annotations

from ibcm_bridge.decisions.client_reaction import NextStep
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.refusals import refusal
from ibcm_bridge.request.head import RequestHead
from ibcm_bridge.uploads.session import Session

_KEPT_FIELDS = frozenset((b"host", b"user-agent", b"accept"))


def withdrawal(head: RequestHead, session: Session | None, denial: Deny) -> RequestHead | None:
    """The packet to send before the refusal; None without a session, or if the session continues.

    `session` is the client's own session of the packet with this head. It continues if the client
    can try again.
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
