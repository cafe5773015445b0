"""Site system roles, as the tables of `config/roles.yaml` describe them.

A `RoleProfile` is data: which verbs, with which kind of body, which header fields, which virtual
directories, which kind of client certificate. Nothing in the code branches on a role's name.
`role_table` makes profiles from the file; a policy may widen one (`Widening`), within bounds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from ibcm_bridge.endpoints import EndpointTable
from ibcm_bridge.soap_actions import SoapTable


class Inspection(StrEnum):
    """How a body is looked at. `inspection.inspect` has one function for each."""

    NO_BODY = "no-body"
    CCM_MESSAGE = "ccm-message"
    PROPFIND = "propfind"
    SOAP = "soap"
    XML_TEXT = "xml-text"
    SCANNED = "scanned"
    SCEP_QUERY = "scep-query"
    FORM = "form"
    BITS_UPLOAD = "bits-upload"


class ReplyReading(StrEnum):
    """How the answer to a request is read before it is passed on; `inspection.replies` does it."""

    CCM_MESSAGE = "ccm-message"
    XML = "xml"


class CertificatePolicy(StrEnum):
    """Whom the client's certificate must name."""

    COMPUTER = "computer"
    USER = "user"
    EITHER = "either"
    OPTIONAL = "optional"
    """Asked for; a client without one is let in, one with a certificate that fails is not."""
    NONE = "none"
    """Not asked for."""


class Mode(StrEnum):
    """How something is published."""

    BRIDGE = "bridge"
    TUNNEL = "tunnel"
    PLAINTEXT = "plaintext"


@dataclass(frozen=True, slots=True)
class BodyRule:
    """What a request body may be. Sizes in bytes; `media_types` in lower case.

    `required`: whether there must be one. An empty media type stands for no Content-Type.
    """

    name: str
    inspection: Inspection
    required: bool
    media_types: frozenset[bytes]
    limit: int
    inflated_limit: int
    messages: EndpointTable | None = None
    actions: SoapTable | None = None
    """Of a body that is a message or SOAP, which ones there may be."""
    depths: frozenset[bytes] = frozenset()
    properties: frozenset[str] = frozenset()
    """Of a PROPFIND, what Depth may say (in lower case), and what may be asked for."""


_WORDS = re.compile(r"[a-z0-9_$]+")


_LETTERS = {
    "a": "\u00c6\u00e6\u03b1",
    "b": "\u0180",
    "d": "\u00d0\u00f0\u0110\u0111\u0189\u03b4\u266a\u266b",
    "e": "\u03b5\u2107\u212e",
    "f": "\u0191\u0192\u03a6\u03c6",
    "i": "\u0131\u0197",
    "l": "\u00a3\u0141\u0142\u019a\u221f\u2514\u2558\u2559\u255a",
    "t": "\u00de\u00fe\u0166\u0167\u01ab\u01ae\u0398\u03c4\u252c\u2564\u2565\u2566",
}
"""Letters of the content library's names, and what becomes them by best fit alone (Unicode's
mappings for Windows)."""
_BEST_FIT = {ord(one): letter for letter, others in _LETTERS.items() for one in others}
_READINGS = (
    {ord("\u0131"): "i"},
    _BEST_FIT,
    _BEST_FIT | {ord("\u00f0"): "e"},  # in code pages 936 and 950; a "d" in 932
)


def _as_read(query: str) -> str:
    """A query in lower case, as readers have it that know no letters beyond ASCII ("best fit").

    Marks go, and what is compatible with an ASCII letter becomes one. What is only similar goes in
    the first reading, and becomes one in the others; a line each.
    """
    if query.isascii():
        return query.lower()
    plain = "\n".join(
        unicodedata.normalize("NFKD", query.translate(reading)) for reading in _READINGS
    )
    return plain.encode("ascii", "ignore").decode("ascii").lower()


@dataclass(frozen=True, slots=True)
class Resource:
    """What is published below a virtual directory, or refused with a requirement of its own."""

    path: re.Pattern[str]
    """What follows the directory and its slash, whole."""
    query: re.Pattern[str] | None
    """The query, decoded; None where there must be none."""
    methods: frozenset[bytes]
    refused: str
    """The requirement for which it is refused; empty where it is published."""
    longest: int = 65_536
    """Characters of a path or a query; what is longer is not what this row is about."""
    never_in_query: frozenset[str] = frozenset()
    """Words in lower case; a query that has one is not what this row is about."""
    reply: ReplyReading | None = None
    """How what answers it is read; None where it is passed on unread."""
    dots: bool = False
    """Whether its last name may have more dots than one, where the role has none of these."""
    acts: bool = False
    """Whether a request for it changes something, whatever its method says."""

    def has(self, path: str, query: str | None) -> bool:
        """Whether this row is about that path and query."""
        if len(path) > self.longest or len(query or "") > self.longest:
            return False
        if self.refused:
            return self._refuses(path, query)
        if not self.publishes(path):
            return False
        if self.query is None or query is None:
            return self.query is None and query is None
        if not self.never_in_query.isdisjoint(_WORDS.findall(_as_read(query))):
            return False
        return self.query.fullmatch(query) is not None

    def publishes(self, path: str) -> bool:
        """Whether this row publishes that path, with the right query."""
        return (
            not self.refused and len(path) <= self.longest and self.path.fullmatch(path) is not None
        )

    def _refuses(self, path: str, query: str | None) -> bool:
        """More than by the letter: with path info, and with whatever else is in the query.

        What is refused by name must not pass under a row that takes anything.
        """
        # With re's own cache; `match` would settle for the first alternative that is long enough.
        if not re.fullmatch(f"(?:{self.path.pattern})(?:/.*)?", path, self.path.flags | re.DOTALL):
            return False
        if self.query is None:
            return True
        return query is not None and self.query.search(query) is not None


@dataclass(frozen=True, slots=True)
class Directory:
    """A virtual directory: its name in lower case, and what is published below it."""

    name: str
    resources: tuple[Resource, ...]
    authenticates_users: bool = False
    """Whether Windows does (USER-WINDOWS-AUTH)."""


@dataclass(frozen=True, slots=True)
class WindowsAuthentication:
    """What a role publishes only where users are authenticated by Windows (USER-WINDOWS-AUTH)."""

    headers: frozenset[bytes]
    directories: Mapping[str, Directory]
    otherwise: str
    """The requirement for which the directories are refused where it was not opted into."""


@dataclass(frozen=True, slots=True)
class Widening:
    """What a policy adds to a role: each item with its reason, which the policy file demands."""

    verbs: Mapping[bytes, BodyRule]
    headers: frozenset[bytes]
    resources: tuple[tuple[str, Resource], ...]
    """(directory in lower case, resource)."""
    messages: EndpointTable | None
    """What its bodies may be, with what was there already."""


@dataclass(frozen=True, slots=True)
class RoleProfile:
    """One row of the role table. Methods are exact bytes; header and directory names lower case."""

    name: str
    certificates: tuple[CertificatePolicy, ...]
    """The certificate policies it can have; the first is the default."""
    bodies: Mapping[bytes, BodyRule]
    """Method -> what its body may be; the keys are the role's verbs (VERB-*)."""
    headers: frozenset[bytes]
    """Fields that are sent on (HEADER-*, and those HTTP needs)."""
    observed_headers: frozenset[bytes]
    """Those of `headers` that are in no list of Microsoft's."""
    directories: Mapping[str, Directory]
    windows_authentication: WindowsAuthentication | None
    request_head: int
    """Bytes; 0 where the role needs no more than any other."""
    verbs_requirement: str
    headers_requirement: str
    denied_extensions: frozenset[str] = frozenset()
    dots_in_path: bool = True
    """With their dot, in lower case; and whether other dots than that of the last one may be there.
    Of every path, whatever a policy publishes; a row of the role's own may have more (`dots`)."""
    may_miss: frozenset[str] = frozenset()
    """Content engines without whose answer it is published all the same; the policy says why."""
    of_no_use: str = ""
    """The requirement for which nobody can use it: Windows authentication, which was not opted
    into, is all it authenticates by. Empty where that is not so."""

    def without_observed_headers(self) -> RoleProfile:
        """This role with Microsoft's list only."""
        return replace(
            self, headers=self.headers - self.observed_headers, observed_headers=frozenset()
        )

    def without_engine(self, name: str) -> RoleProfile:
        """This role where an engine need not answer."""
        return replace(self, may_miss=self.may_miss | {name})

    def with_windows_authentication(self) -> RoleProfile:
        """This role with users authenticated by Windows. ValueError where it has nothing of it."""
        offered = self.windows_authentication
        if offered is None:
            raise ValueError(f"{self.name} has no Windows authentication")
        return replace(
            self,
            headers=self.headers | offered.headers,
            directories={
                **self.directories,
                **{
                    name: replace(one, authenticates_users=True)
                    for name, one in offered.directories.items()
                },
            },
            windows_authentication=None,
        )

    def without_windows_authentication(self) -> RoleProfile:
        """This role with what needs Windows authentication refused, and saying so."""
        offered = self.windows_authentication
        if offered is None:
            return self
        anything = re.compile(".*", re.DOTALL)
        refused = {
            name: Directory(
                name, (Resource(anything, None, frozenset(self.bodies), offered.otherwise),)
            )
            for name in offered.directories
        }
        return replace(
            self,
            directories={**self.directories, **refused},
            windows_authentication=None,
            # Without directories of its own it is about all of the role's.
            of_no_use="" if offered.directories else offered.otherwise,
        )

    def widened(self, more: Widening) -> RoleProfile:
        """This role and what a policy adds. Adding never takes away: a row that is refused stays.

        A verb that is added is one of every resource the role publishes.
        """
        added = frozenset(more.verbs)
        directories = {
            name: replace(
                directory,
                resources=tuple(
                    row if row.refused else replace(row, methods=row.methods | added)
                    for row in directory.resources
                ),
            )
            for name, directory in self.directories.items()
        }
        for name, resource in more.resources:
            known = directories.get(name, Directory(name, ()))
            directories[name] = replace(known, resources=(*known.resources, resource))
        bodies = {**more.verbs, **self.bodies}
        return replace(
            self,
            bodies={
                method: rule if rule.messages is None else replace(rule, messages=more.messages)
                for method, rule in bodies.items()
            },
            headers=self.headers | more.headers,
            directories=directories,
        )

    @property
    def messages(self) -> EndpointTable | None:
        """The messages its bodies may be; None where none is a message."""
        return next((one.messages for one in self.bodies.values() if one.messages), None)


@dataclass(frozen=True, slots=True)
class NeverPublished:
    """What no policy can publish. All names in lower case."""

    directories: frozenset[str]
    """They answer without a client certificate (protocol.md §1.1, §7)."""
    below: frozenset[str]
    """Path segments below a directory: a distribution point's content library (§7)."""
    headers: frozenset[bytes]
    header_patterns: re.Pattern[bytes]
    """The same in other products' words."""
    explained: Mapping[str, str]
    """Directories that no role publishes -> the requirement that says why."""

    def has_header(self, lower_name: bytes) -> bool:
        """Whether a field is never sent on, by its name with `_` read as `-`."""
        seen = lower_name.replace(b"_", b"-")
        return seen in self.headers or self.header_patterns.search(seen) is not None


@dataclass(frozen=True, slots=True)
class RoleTable:
    """All roles, and what none of them may publish."""

    modes: Mapping[str, frozenset[Mode]]
    """Role -> how it may be published; every role is here."""
    roles: Mapping[str, RoleProfile]
    """Those whose requests can be decided on: bridged, or plaintext."""
    not_bridged: Mapping[str, str]
    """Role -> the requirement for which it may not be bridged."""
    bodies: Mapping[str, BodyRule]
    """Kinds of bodies by name, for verbs that a policy adds."""
    patterns: Mapping[str, str]
    """Names in braces -> what they stand for in a pattern."""
    never: NeverPublished
