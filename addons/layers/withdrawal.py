"""Withdraws a finally refused upload, so that the site system discards what it has received.

The bridge sends its own packet, Cancel-Session, before the client gets its refusal. The packet is
decided on, sent and recorded like a packet of the client.
"""

from __future__ import annotations

from ibcm_bridge.addons.events import ExchangeEndedHook
from ibcm_bridge.addons.layers.client_stream import ClientDisconnected
from ibcm_bridge.addons.layers.exchange import BridgedConnection, Exchange
from ibcm_bridge.addons.layers.procedure import Steps
from ibcm_bridge.addons.stages import result_of
from ibcm_bridge.decisions.denial import Deny, Refused
from ibcm_bridge.request.head import RequestHead
from ibcm_bridge.uploads.withdrawal import withdrawal

WITHDRAW_SECONDS = 5.0
"""How long a client waits for its refusal at most, in seconds: once for the handshake, if there is
no leg yet, and once for the response."""


def withdraw(bridged: BridgedConnection, refused: Exchange, denial: Deny) -> Steps[None]:
    """Withdraw the upload that a refused request belongs to, if any.

    Raise ClientDisconnected if the client closes meanwhile.
    """
    stream, connection = bridged.stream, bridged.connection
    head = refused.head and withdrawal(refused.head, refused.session, denial)
    if head is None or stream.closed or stream.responding:
        return
    # The rest of the refused response must not be taken for the response to this packet.
    yield from bridged.legs.close_in_use()
    note = f"sent by the bridge, which refused the upload ({refused.reference})"
    own = Exchange(bridged, stream.short_wait(WITHDRAW_SECONDS), note)
    connection.under_way = (refused, own)
    client_left = None
    try:
        yield from _send(own, head)
        yield from bridged.legs.close_in_use()
    except Refused as failed:
        own.deny(failed.denial)
    except ClientDisconnected as left:
        client_left = left
    if (ended := own.end()) is not None:
        yield from result_of(bridged.hooks, ExchangeEndedHook(ended))
    # Only now: a defect in the hook must not become the reason of the refused request.
    connection.under_way = (refused,)
    if client_left is not None:
        raise client_left


def _send(own: Exchange, head: RequestHead) -> Steps[None]:
    authorized = yield from own.decide_on_head(head)
    yield from own.decide_on_body(authorized, b"")
    yield from own.send(head)
