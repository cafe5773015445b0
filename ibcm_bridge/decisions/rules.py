"""By which rule the bridge refuses or allows: a closed list.

A rule is a check of the bridge (`head.host`), or a line of the policy file or of a role's table
(`management-point.verbs`). The audit and `explain` show it, and operators search for it.

Only this file makes a `Rule`. docs/refusals.md says what each rule means, and for which reasons it
refuses; tests/repository/test_rules.py holds that list to this one.
"""

from __future__ import annotations

import re
from typing import NewType

Rule = NewType("Rule", str)

_NAME = re.compile(r"\{[a-z_]+\}")


class RuleOf:
    """Rules that differ in a name: one for each role, publication, kind of body."""

    __slots__ = ("_form", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._form = _NAME.sub("%s", pattern)

    def of(self, *names: str) -> Rule:
        """The rule with these names in the pattern's braces, in order. TypeError if not as many."""
        return Rule(self._form % names)


# The listener
LISTENER = Rule("listener")
LISTENER_PLAINTEXT = Rule("listener.plaintext")
LISTENER_TLS = Rule("listener.tls")

# The client's certificate
CLIENTS = Rule("clients")
CLIENTS_OF = RuleOf("{publication}.clients")
CLIENTS_TRUST = Rule("clients.trust")

# The request head
HEAD_LINE_END = Rule("head.line-end")

# Whose message it is
MESSAGES_BINDINGS = Rule("messages.bindings")

# Uploads
UPLOADS_SESSION_ID = Rule("uploads.bits-session-id")
UPLOADS_SPOOL = Rule("uploads.spool")

# The site-system leg
SITE_SYSTEM = Rule("site_system")
SITE_SYSTEM_TRUST = Rule("site_system.trust")

# Limits
LIMITS_BODY_SECONDS = Rule("limits.body_seconds")
LIMITS_CLIENT_HELLO = Rule("limits.client_hello")
LIMITS_CONNECTIONS = Rule("limits.connections")
LIMITS_HANDSHAKE_SECONDS = Rule("limits.handshake_seconds")
LIMITS_HEAD_SECONDS = Rule("limits.head_seconds")
LIMITS_BUFFERED_BYTES = Rule("limits.buffered_bytes")
LIMITS_INSPECTION_WORKERS = Rule("limits.inspection_workers")
LIMITS_REQUEST_HEAD = Rule("limits.request_head")
LIMITS_RESPONSE_SECONDS = Rule("limits.response_seconds")

# The bridge itself
DEFECT_IN = RuleOf("{part}")
EXCHANGE = Rule("exchange")
EXCHANGE_AHEAD = Rule("exchange.ahead")
HOOK = Rule("hook")
TLS_VERIFY = Rule("tls.verify")
