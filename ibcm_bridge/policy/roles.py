"""Site system roles, as the tables of `config/roles.yaml` describe them.

A `RoleProfile` is data: which verbs, with which kind of body, which header fields, which virtual
directories, which kind of client certificate. Nothing in the code branches on a role's name.
`policy_file.tables.roles` makes profiles from the file; a policy may add to one, within bounds
(`RoleAdditions`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from ibcm_bridge.policy.bodies import BodyRule
from ibcm_bridge.policy.endpoints import EndpointTable
from ibcm_bridge.policy.resources import Directory, Resource


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
class WindowsAuthentication:
    """What a role publishes only where users are authenticated by Windows (USER-WINDOWS-AUTH)."""

    headers: frozenset[bytes]
    directories: Mapping[str, Directory]
    otherwise: str
    """The requirement for which the directories are refused where it was not opted into."""


@dataclass(frozen=True, slots=True)
class RoleAdditions:
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
    unusable_by: str = ""
    """The requirement that leaves the role unusable: it authenticates only by Windows
    authentication, and the policy did not opt in. Empty where it can be used."""

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
            unusable_by="" if offered.directories else offered.otherwise,
        )

    def with_additions(self, more: RoleAdditions) -> RoleProfile:
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
