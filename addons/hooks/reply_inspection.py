"""Decides on responses that are inspected before they are forwarded: `inspection.response`."""

from __future__ import annotations

from ibcm_bridge.addons.stages import ReplyCollected
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.inspection.response import InspectedReply, ReadReply, judge_reply, read_reply
from ibcm_bridge.policy.message_policy import MessagePolicy


class ReplyInspection:
    """Inspects responses. The layer forwards nothing before, and refuses without a decision."""

    def __init__(self, message_policy: MessagePolicy) -> None:
        self._message_policy = message_policy

    def reply_collected(self, collected: ReplyCollected) -> InspectedReply | Deny:
        """Decide on the response."""
        reply: ReadReply | Deny
        if isinstance(collected.body, Deny):
            reply = collected.body
        else:
            reply = read_reply(collected.reading, collected.content_type, collected.body)
        return judge_reply(reply, self._message_policy)
