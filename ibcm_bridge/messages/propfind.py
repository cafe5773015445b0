"""The body of a PROPFIND (RFC 4918 sections 9.1, 14.20).

Clients request two properties of the files of a package (protocol.md §7). Only properties that
WebDAV defines are allowed, because others could address a server's extensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.limits import MAX_PROPFIND_ELEMENTS
from ibcm_bridge.messages.xml import UTF_8, check_xml

_KINDS = frozenset(("DAV: prop", "DAV: allprop", "DAV: propname"))


def read_propfind(text: str, where: str, properties: frozenset[str]) -> str | Deny:
    """Return all character data and attribute values, or the refusal.

    `properties` are the allowed names in the namespace DAV:.
    """
    found = _Found(properties)
    rule = rules.DOCUMENT_PROPFIND.of(where)
    try:
        refusal = check_xml(
            text.encode(),
            where,
            found.start,
            found.end,
            found.texts.append,
            namespaces=True,
            encodings=UTF_8,
            max_elements=MAX_PROPFIND_ELEMENTS,
        )
    except _ShapeError as error:
        return Deny(Reason.PROPFIND, rule, str(error))
    if refusal is not None:
        return refusal
    if not found.kind:
        return Deny(Reason.PROPFIND, rule, "none of prop, allprop and propname")
    return "".join(found.texts) + "\n".join(found.attributes)


class _ShapeError(Exception):
    """The document is not a valid PROPFIND."""


@dataclass(slots=True)
class _Found:
    """The values collected from expat's events. Names are namespace, space, local name."""

    properties: frozenset[str]
    depth: int = 0
    kind: str = ""
    texts: list[str] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)

    def start(self, written: str, attributes: Mapping[str, str]) -> None:
        """Handle a start tag."""
        if self.depth == 0:
            self._root(written)
        elif self.depth == 1:
            self._kind(written)
        else:
            self._property(written)
        self.depth += 1
        self.attributes += attributes.values()

    def end(self, _written: str) -> None:
        """Handle an end tag."""
        self.depth -= 1

    def _root(self, written: str) -> None:
        if written != "DAV: propfind":
            raise _ShapeError("the root element is not DAV: propfind")

    def _kind(self, written: str) -> None:
        if written not in _KINDS or self.kind:
            raise _ShapeError("more or other elements than one of prop, allprop and propname")
        self.kind = written

    def _property(self, written: str) -> None:
        namespace, _, name = written.rpartition(" ")
        known = namespace == "DAV:" and name in self.properties
        if not known or self.kind != "DAV: prop" or self.depth > 2:
            raise _ShapeError(f"{name[:64]} is not an allowed property")
