"""The messages that Internet clients may send: endpoints of a management point, and subjects.

`policy_file.tables.endpoints` reads these tables from `config/endpoints.yaml`. The code never
branches on the name of an endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ibcm_bridge.messages.document_values import Place, SubjectElement
from ibcm_bridge.messages.guid_places import NO_PLACES, GuidPlaces


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint that clients may send messages to. `roots`: root elements, in lower case."""

    name: str
    roots: frozenset[str]
    anonymous: bool
    """True if a message needs neither a client GUID nor a signature."""
    encrypted: bool
    """True if clients encrypt its messages when the site requires encryption."""
    client_guids: Mapping[str, GuidPlaces] = field(default_factory=dict)
    """Root element, in lower case -> the places of client GUIDs, if it has more than others."""


@dataclass(frozen=True, slots=True)
class RefusedMessage:
    """A message that is refused by its content. An empty attribute matches anything.

    Names and values are in lower case; the comparison ignores case.
    """

    requirement: str
    endpoint: str = ""
    reply_to: str = ""
    root: str = ""
    element: str = ""
    """An element that the message contains, with any content."""
    subject: SubjectElement | None = None
    """The element that names the subject of the message. An empty one does not match."""
    at: Place | None = None
    value: str = ""
    users: bool = False
    """True if it matches only messages without Windows authentication."""
    opt_in: bool = False
    """True if a policy may allow the message."""

    @property
    def is_about_documents(self) -> bool:
        """True if it matches by more than the header."""
        return bool(self.root or self.element or self.subject or self.at)

    def covers(self, endpoint: str, root: str) -> bool:
        """Return whether it matches every message with this root for this endpoint."""
        if self.reply_to or self.subject or self.at or (self.root and self.element):
            return False
        return self.endpoint in ("", endpoint) and (self.root or self.element) in ("", root)


@dataclass(frozen=True, slots=True)
class EndpointTable:
    """All endpoints, by name in lower case, and the refused messages."""

    endpoints: Mapping[str, Endpoint]
    refused: tuple[RefusedMessage, ...]
    client_guids: GuidPlaces = NO_PLACES
    """The places of client GUIDs in every message, including those that the policy adds."""
    added: frozenset[tuple[str, str]] = frozenset()
    """Messages that the policy adds: endpoint and root, in lower case."""
    encrypted: bool = False
    """True if the policy allows encrypted messages, which cannot be inspected."""

    def client_guid_places(self, endpoint: str, root: str) -> GuidPlaces:
        """Return the places of client GUIDs in a document. Names in lower case."""
        row = self.endpoints.get(endpoint)
        return row.client_guids.get(root, self.client_guids) if row else self.client_guids

    def with_message(self, endpoint: str, root: str) -> EndpointTable:
        """Return the table with another message. ValueError if it is never published."""
        added = (endpoint.lower(), root.lower())
        for row in self.refused:
            if row.covers(*added) and not row.opt_in:
                raise ValueError(f"{root} for {endpoint} is refused for {row.requirement}")
        return replace(self, added=self.added | {added})

    def with_encrypted(self) -> EndpointTable:
        """Return the table with encrypted messages allowed."""
        return replace(self, encrypted=True)

    def fingerprint(self) -> str:
        """A text that differs for different tables, and is the same in all processes."""
        # The order of a set differs between processes.
        rows = [
            (
                name,
                sorted(endpoint.roots),
                endpoint.anonymous,
                endpoint.encrypted,
                sorted(endpoint.client_guids.items()),
            )
            for name, endpoint in self.endpoints.items()
        ]
        added = sorted(self.added)
        return repr((sorted(rows), self.refused, self.client_guids, added, self.encrypted))
