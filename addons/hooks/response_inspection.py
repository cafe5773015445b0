"""Decides on answers that are read before they pass: `reply_collected` -> `inspection.response`.

Whoever learns from an answer comes after this, with a function for the same hook: `exchange.reply`
is what was read, and `exchange.decision` says whether it is refused.
"""

from __future__ import annotations

from mitmproxy.http import HTTPFlow

from ibcm_bridge.addons.connections import exchange_of
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.inspection.response import ReadReply, judge_reply, read_reply
from ibcm_bridge.policy.message_rules import MessageRules


class ReplyInspection:
    """Nothing of an answer has been passed on yet; the layer refuses what is not decided on."""

    def __init__(self, rules: MessageRules) -> None:
        self._rules = rules

    def reply_collected(self, flow: HTTPFlow) -> None:
        """Decide on the answer."""
        exchange = exchange_of(flow)
        approved, collected = exchange.decision, exchange.collected
        assert isinstance(approved, Approved)
        assert approved.authorized.reply is not None
        assert collected is not None
        reply: ReadReply | Deny
        if isinstance(collected.body, Deny):
            reply = collected.body
        else:
            reply = read_reply(approved.authorized.reply, collected.content_type, collected.body)
        if isinstance(reply, ReadReply):
            exchange.reply = reply.message
        judged = judge_reply(reply, self._rules)
        if isinstance(judged, Deny):
            exchange.decision = judged
        else:
            exchange.inspected_reply = judged
            exchange.observed = judged.observed
