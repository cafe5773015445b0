"""What is inspected, and what an inspection finds, as values."""

from __future__ import annotations

import hashlib
from collections.abc import Set
from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.inspection.message_facts import MessageFacts
from ibcm_bridge.policy.bodies import BodyRule
from ibcm_bridge.uploads.session import StoredObject

Views = dict[str, bytes]
"""Name of a view -> its bytes."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A body, and all that it depends on how it is read."""

    rule: BodyRule
    content_type: bytes
    body: bytes
    query: bytes = b""
    """As sent; some verbs carry what would be a body in it."""
    user: bool = False
    """Whether Windows authenticates the user who sends it."""
    path: str = ""
    """Of SOAP, as `Authorized` has it: which web service it is for."""
    soap_action: tuple[bytes, ...] = ()
    """Of SOAP, the values of the field SOAPAction, which says what is asked for."""
    optional_engines: frozenset[str] = frozenset()
    """Names of engines without which the policy of its role lets it pass."""
    whole: bool = False
    """Of an upload, whether `body` is the whole object and not a fragment."""
    stored: StoredObject | None = None
    """Of an upload, where the whole lies; `body` is then its last fragment."""

    @property
    def where(self) -> rules.Rule:
        """What a refusal's rule begins with: the row of `roles.yaml`."""
        return rules.BODY.of(self.rule.name)

    def put_together(self, whole: bytes) -> Subject:
        """The whole of an upload in the place of its last fragment."""
        return Subject(
            self.rule, self.content_type, whole, optional_engines=self.optional_engines, whole=True
        )

    def digest(self) -> str:
        """What tells this subject from every other."""
        rule = self.rule
        messages = rule.messages.fingerprint() if rule.messages is not None else ""
        actions = rule.actions.fingerprint() if rule.actions is not None else ""
        terms = (rule.name, rule.inspection.value, rule.inflated_limit, messages, actions)
        asked = (self.content_type, self.query, self.path, self.soap_action)
        # What is stored under a name only grows, so the name and a length say what it is.
        optional_engines = sorted(self.optional_engines)
        sent = (*asked, self.user, optional_engines, self.whole, self.stored, len(self.body))
        digest = hashlib.sha256(repr((terms, sent)).encode())
        digest.update(self.body)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class CleanBody:
    """A body in which no engine found anything."""

    views: tuple[str, ...]
    """Names and sizes, such as ``inflated:28672``."""
    message: MessageFacts | None
    """Of a CCM_POST, what it says of itself."""
    engines: tuple[str, ...]
    """Those that have looked at every view, by their identity."""
    missed: tuple[str, ...] = ()
    """Those that failed, where that may be: name and why."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a body holds: the views to look at, and what a message says of itself."""

    views: Views
    message: MessageFacts | None = None
    opened: Set[str] = frozenset()
    """Names of the views that are archives, whose members are views, too."""
