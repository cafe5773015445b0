"""The input and the results of an inspection, as values."""

from __future__ import annotations

import hashlib
from collections.abc import Set
from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.observing import Observed
from ibcm_bridge.inspection.message_facts import MessageFacts
from ibcm_bridge.policy.bodies import BodyRule, Inspection
from ibcm_bridge.request.head import content_type_parts
from ibcm_bridge.uploads.session import StoredObject

Views = dict[str, bytes]
"""Name of a view -> its bytes."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A body, and everything that affects its inspection."""

    body_rule: BodyRule
    content_type: bytes
    body: bytes
    query: bytes = b""
    """As sent; SCEP sends messages in it."""
    user: bool = False
    """Whether Windows authenticates the user."""
    path: str = ""
    """For SOAP, the path of the web service, as in `Authorized`."""
    soap_action: tuple[bytes, ...] = ()
    """For SOAP, the values of the field SOAPAction."""
    optional_engines: frozenset[str] = frozenset()
    """Names of engines whose failure does not cause a refusal, by the role's policy."""
    whole: bool = False
    """For an upload, whether `body` is the complete object and not a fragment."""
    stored: StoredObject | None = None
    """For an upload, the location of the complete object; `body` is then its last fragment."""
    observing: bool = False
    """True if some refusals are not enforced (`decisions.observing`)."""

    @property
    def where(self) -> rules.Rule:
        """The prefix of a refusal's rule: the row of `roles.yaml`."""
        return rules.BODY.of(self.body_rule.name)

    @property
    def has_unlisted_type(self) -> bool:
        """True if the media type is not one of the row. Authorization only observed that."""
        listed = self.body_rule.media_types
        media_type, _ = content_type_parts(self.content_type)
        return self.observing and bool(listed) and media_type not in listed

    @property
    def has_any_format(self) -> bool:
        """True for the body of an unlisted verb."""
        return self.body_rule.inspection is Inspection.ANY_FORMAT

    def put_together(self, whole: bytes) -> Subject:
        """Replace the last fragment of an upload with the complete object."""
        return Subject(
            self.body_rule,
            self.content_type,
            whole,
            optional_engines=self.optional_engines,
            whole=True,
            observing=self.observing,
        )

    def digest(self) -> str:
        """SHA-256, in hexadecimal, of all values that affect the inspection."""
        row = self.body_rule
        messages = row.messages.fingerprint() if row.messages is not None else ""
        actions = row.actions.fingerprint() if row.actions is not None else ""
        terms = (row.name, row.inspection.value, row.inflated_limit, messages, actions)
        head = (self.content_type, self.query, self.path, self.soap_action)
        # A stored object is only appended to, so its name and length identify its bytes.
        optional_engines = sorted(self.optional_engines)
        flags = self.user, self.whole, self.observing
        request = (*head, *flags, optional_engines, self.stored, len(self.body))
        digest = hashlib.sha256(repr((terms, request)).encode())
        digest.update(self.body)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class CleanBody:
    """A body in which no engine found anything."""

    views: tuple[str, ...]
    """Names and sizes, such as ``inflated:28672``."""
    message: MessageFacts | None
    """The facts of a CCM_POST; None for other requests."""
    engines: tuple[str, ...]
    """The identities of the engines that scanned every view."""
    missed: tuple[str, ...] = ()
    """Optional engines that failed: names and problems."""
    would_refuse: tuple[Observed, ...] = ()
    """The refusals that are not enforced."""


@dataclass(frozen=True, slots=True)
class Content:
    """A parsed body: its views, and the facts of a message."""

    views: Views
    message: MessageFacts | None = None
    opened: Set[str] = frozenset()
    """Names of the views that are archives whose members are views, too."""
    texts: tuple[str, ...] | None = None
    """Names of the views that together have all text, for values in it; None: all views."""
    documents: tuple[bytes, ...] = ()
    """XML documents whose text is in the views. A value in an element of them may follow other text
    in the views."""
    would_refuse: tuple[Observed, ...] = ()
    """The refusals that are not enforced."""
