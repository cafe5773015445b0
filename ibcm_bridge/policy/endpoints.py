"""Which messages an Internet client may send: endpoints of a management point and what about.

Tables, read from `config/endpoints.yaml` by `policy_file.tables.endpoints`. Nothing in the
code branches on an endpoint's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ibcm_bridge.messages.document import Place, SubjectElement


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint that clients may write to. `roots` in lower case."""

    name: str
    roots: frozenset[str]
    anonymous: bool
    """Whether it may be written to without a client GUID and without a signature."""
    encrypted: bool
    """Whether clients encrypt messages for it where the site wants that."""


@dataclass(frozen=True, slots=True)
class RefusedMessage:
    """A message that is refused, by what it says of itself; what is empty does not matter.

    Names and values are in lower case, and compared without regard to it.
    """

    requirement: str
    endpoint: str = ""
    reply_to: str = ""
    root: str = ""
    element: str = ""
    """Whose being there is what is asked for, whatever is in it."""
    subject: SubjectElement | None = None
    """Whom it is about; one that names nobody asks for nothing."""
    at: Place | None = None
    value: str = ""
    users: bool = False
    """Whether it is about messages without Windows authentication only."""
    opt_in: bool = False
    """Whether a policy may let it pass."""

    @property
    def is_about_documents(self) -> bool:
        """Whether anything but the header matters."""
        return bool(self.root or self.element or self.subject or self.at)

    def covers(self, endpoint: str, root: str) -> bool:
        """Whether it is about every message with such a root for an endpoint."""
        if self.reply_to or self.subject or self.at or (self.root and self.element):
            return False
        return self.endpoint in ("", endpoint) and (self.root or self.element) in ("", root)


@dataclass(frozen=True, slots=True)
class EndpointTable:
    """All of them, by name in lower case, and what is refused by name."""

    endpoints: Mapping[str, Endpoint]
    refused: tuple[RefusedMessage, ...]
    added: frozenset[tuple[str, str]] = frozenset()
    """What a policy lets pass: endpoint and root, in lower case."""
    encrypted: bool = False
    """Whether the policy lets encrypted messages pass, unread."""

    def with_message(self, endpoint: str, root: str) -> EndpointTable:
        """And another message. ValueError for one that is never published, and why."""
        added = (endpoint.lower(), root.lower())
        for row in self.refused:
            if row.covers(*added) and not row.opt_in:
                raise ValueError(f"{root} for {endpoint} is refused for {row.requirement}")
        return replace(self, added=self.added | {added})

    def with_encrypted(self) -> EndpointTable:
        """And messages that nobody can read."""
        return replace(self, encrypted=True)

    def fingerprint(self) -> str:
        """What tells this table from every other, in any process."""
        # Sets have another order in each.
        endpoints = [(name, sorted(one.roots), one) for name, one in self.endpoints.items()]
        rows = [(name, roots, one.anonymous, one.encrypted) for name, roots, one in endpoints]
        return repr((sorted(rows), self.refused, sorted(self.added), self.encrypted))
