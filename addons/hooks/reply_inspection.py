"""Decides on responses that are collected before they are forwarded: replies and error pages."""

from __future__ import annotations

from ibcm_bridge.addons.stages import ErrorCollected, ReplyCollected
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.inspection.error_page import ErrorPage, judge_error_page
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

    def error_collected(self, error: ErrorCollected) -> ErrorPage | Deny:
        """Decide on the body of an error."""
        return judge_error_page(error.content_type, error.codings, error.body, self._message_policy)
