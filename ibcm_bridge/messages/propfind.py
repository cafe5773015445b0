"""What a PROPFIND asks for (RFC 4918 sections 9.1, 14.20).

Clients ask for two properties of the files of a package (protocol.md §7). What WebDAV itself
knows is let pass; anything else would be there for an extension of some server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.xml import check_xml

_KINDS = frozenset(("DAV: prop", "DAV: allprop", "DAV: propname"))


def read_propfind(text: str, where: str, properties: frozenset[str]) -> str | Deny:
    """All character data and values of attributes, or the refusal.

    `properties` are the names, in the namespace DAV:, that may be asked for.
    """
    found = _Found(properties)
    rule = rules.DOCUMENT_PROPFIND.of(where)
    try:
        refusal = check_xml(
            text.encode(), where, found.start, found.end, found.texts.append, namespaces=True
        )
    except _ShapeError as error:
        return Deny(Reason.PROPFIND, rule, str(error))
    if refusal is not None:
        return refusal
    if not found.kind:
        return Deny(Reason.PROPFIND, rule, "it does not say what is asked for")
    return "".join(found.texts) + "\n".join(found.attributes)


class _ShapeError(Exception):
    """Not the form that a PROPFIND has."""


@dataclass(slots=True)
class _Found:
    """What expat's events leave behind. Names are as expat writes them: namespace, space, name."""

    properties: frozenset[str]
    depth: int = 0
    kind: str = ""
    texts: list[str] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)

    def start(self, written: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        if self.depth == 0:
            self._root(written)
        elif self.depth == 1:
            self._kind(written)
        else:
            self._property(written)
        self.depth += 1
        self.attributes += attributes.values()

    def end(self, _written: str) -> None:
        """An element ends."""
        self.depth -= 1

    def _root(self, written: str) -> None:
        if written != "DAV: propfind":
            raise _ShapeError("another root than propfind of DAV:")

    def _kind(self, written: str) -> None:
        if written not in _KINDS or self.kind:
            raise _ShapeError("not one of prop, allprop and propname")
        self.kind = written

    def _property(self, written: str) -> None:
        namespace, _, name = written.rpartition(" ")
        known = namespace == "DAV:" and name in self.properties
        if not known or self.kind != "DAV: prop" or self.depth > 2:
            raise _ShapeError(f"{name[:64]} is no property that is known")
