"""Site system roles, from the tables of `config/roles.yaml`.

A `RoleProfile` has the verbs of a role, their bodies, its header fields, its virtual directories
and its client certificates. The code never branches on the name of a role.
`policy_file.tables.roles` makes the profiles from the file. A policy may add to a profile, within
limits (`RoleAdditions`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from ibcm_bridge.policy.bodies import BodyRule, Inspection
from ibcm_bridge.policy.endpoints import EndpointTable
from ibcm_bridge.policy.resources import Directory, Resource

NEVER_VERBS = frozenset((b"CONNECT", b"TRACE", b"TRACK", b"DEBUG", b"PRI"))
"""Verbs that no policy can add, in upper case. CONNECT opens a tunnel (RFC 9110 §9.3.6). TRACE
returns the request with its cookies (§9.3.8), as IIS's TRACK does. DEBUG is for ASP.NET. PRI starts
HTTP/2 (RFC 9113 §3.4)."""

_UNLISTED_LIMIT = 65_536
"""Bytes of the body of an unlisted verb, in a role without bodies."""


class CertificatePolicy(StrEnum):
    """The subject that the client's certificate must name."""

    COMPUTER = "computer"
    USER = "user"
    EITHER = "either"
    OPTIONAL = "optional"
    """Requested but not required. A certificate that fails verification is refused."""
    NONE = "none"
    """Not requested."""


class Mode(StrEnum):
    """The mode of a publication."""

    BRIDGE = "bridge"
    TUNNEL = "tunnel"
    PLAINTEXT = "plaintext"


@dataclass(frozen=True, slots=True)
class WindowsAuthentication:
    """The part of a role that requires Windows authentication of users (USER-WINDOWS-AUTH)."""

    directories: Mapping[str, Directory]
    """Empty: all directories of the role require it."""
    otherwise: str
    """The requirement by which the directories are refused if the policy does not opt in."""


@dataclass(frozen=True, slots=True)
class RoleAdditions:
    """The policy's additions to a role."""

    verbs: Mapping[bytes, BodyRule]
    headers: frozenset[bytes]
    resources: tuple[tuple[str, Resource], ...]
    """(directory in lower case, resource)."""
    messages: EndpointTable | None
    """The allowed messages, including those of the role."""


@dataclass(frozen=True, slots=True)
class RoleProfile:
    """A row of the role table. Methods are case-sensitive; header and directory names are in lower
    case."""

    name: str
    certificates: tuple[CertificatePolicy, ...]
    """The allowed certificate policies; the first is the default."""
    bodies: Mapping[bytes, BodyRule]
    """Method -> allowed bodies. The keys are the role's verbs (VERB-*)."""
    headers: frozenset[bytes]
    """The forwarded fields (HEADER-*, and those that HTTP requires)."""
    observed_headers: frozenset[bytes]
    """The part of `headers` that is not in a list of Microsoft."""
    repeatable_headers: frozenset[bytes]
    """The fields that may occur more than once. Every other field of `headers` may not."""
    dropped_headers: Mapping[bytes, frozenset[bytes]]
    """Method -> the fields that are dropped with it, even if `headers` has them."""
    directories: Mapping[str, Directory]
    windows_authentication: WindowsAuthentication | None
    request_head: int
    """Minimum for `limits.request_head`, in bytes; 0 for none."""
    verbs_requirement: str
    headers_requirement: str
    denied_extensions: frozenset[str] = frozenset()
    """With their dot, in lower case. They apply to every path, including a policy's."""
    dots_in_path: bool = True
    """False: a path may have only the dot of its extension. A row of the role can allow more
    (`Resource.dots`); a policy cannot."""
    optional_engines: frozenset[str] = frozenset()
    """Content engines whose failure does not refuse a request."""
    unusable_by: str = ""
    """The requirement that makes the role unusable: it authenticates only with Windows
    authentication, and the policy did not opt in. Empty if the role is usable."""

    def without_observed_headers(self) -> RoleProfile:
        """Return the role with only the fields in Microsoft's list."""
        return replace(
            self, headers=self.headers - self.observed_headers, observed_headers=frozenset()
        )

    def without_engine(self, name: str) -> RoleProfile:
        """Return the role with an optional content engine."""
        return replace(self, optional_engines=self.optional_engines | {name})

    def with_windows_authentication(self) -> RoleProfile:
        """Return the role with Windows authentication. ValueError if it does not support it."""
        offered = self.windows_authentication
        if offered is None:
            raise ValueError(f"{self.name} has no Windows authentication")
        # Without separate directories, all directories of the role require it.
        authenticating = offered.directories or self.directories
        return replace(
            self,
            directories={
                **self.directories,
                **{
                    name: replace(directory, authenticates_users=True)
                    for name, directory in authenticating.items()
                },
            },
            windows_authentication=None,
        )

    def without_windows_authentication(self) -> RoleProfile:
        """Return the role with refusals for the directories that require Windows authentication."""
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
            # Without separate directories, all directories of the role require it.
            unusable_by="" if offered.directories else offered.otherwise,
        )

    def with_additions(self, more: RoleAdditions) -> RoleProfile:
        """Return the role with a policy's additions. Refused rows stay refused.

        An added verb applies to every published resource of the role.
        """
        added = frozenset(more.verbs)
        # If all directories of the role authenticate users, an added one does, too.
        users = all(directory.authenticates_users for directory in self.directories.values())
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
            known = directories.get(name, Directory(name, (), users))
            directories[name] = replace(known, resources=(*known.resources, resource))
        bodies = {**more.verbs, **self.bodies}
        return replace(
            self,
            bodies={
                method: row if row.messages is None else replace(row, messages=more.messages)
                for method, row in bodies.items()
            },
            headers=self.headers | more.headers,
            directories=directories,
        )

    @property
    def messages(self) -> EndpointTable | None:
        """The allowed messages in its bodies; None if no body is a message."""
        return next((body.messages for body in self.bodies.values() if body.messages), None)

    def may_add_verb(self, verb: bytes) -> bool:
        """Return whether a policy can add a verb. Servers may ignore the case of verbs."""
        return verb.upper() not in NEVER_VERBS.union(map(bytes.upper, self.bodies))

    @property
    def unlisted_body(self) -> BodyRule:
        """The body of a verb that the role does not list: of any format, and read as its own."""
        rows = [row for row in self.bodies.values() if row.inspection is not Inspection.BITS_UPLOAD]
        return BodyRule(
            name="unlisted",
            inspection=Inspection.ANY_FORMAT,
            required=False,
            media_types=frozenset(),
            limit=max(row.limit for row in rows) or _UNLISTED_LIMIT,
            inflated_limit=max(row.inflated_limit for row in rows) or _UNLISTED_LIMIT,
            messages=self.messages,
            actions=next((row.actions for row in rows if row.actions), None),
        )


@dataclass(frozen=True, slots=True)
class NeverPublished:
    """The names that no policy can publish. All are in lower case."""

    directories: frozenset[str]
    """They require no client certificate (protocol.md §1.1, §7)."""
    below: frozenset[str]
    """Path segments below a directory: a distribution point's content library (§7)."""
    headers: frozenset[bytes]
    header_patterns: re.Pattern[bytes]
    """Similar names of other products."""
    explained: Mapping[str, str]
    """Directories that no role publishes -> the requirement that excludes them."""

    def has_header(self, lower_name: bytes) -> bool:
        """Return whether a field is never forwarded. `_` in the name is the same as `-`."""
        name = lower_name.replace(b"_", b"-")
        return name in self.headers or self.header_patterns.search(name) is not None


@dataclass(frozen=True, slots=True)
class RoleTable:
    """All roles, and the names that are never published."""

    modes: Mapping[str, frozenset[Mode]]
    """Role -> its allowed modes, for every role."""
    roles: Mapping[str, RoleProfile]
    """The roles that can be bridged, or published in plaintext."""
    not_bridged: Mapping[str, str]
    """Role -> the requirement that forbids bridging it."""
    bodies: Mapping[str, BodyRule]
    """Body rules by name, for verbs that a policy adds."""
    patterns: Mapping[str, str]
    """Names in braces -> their replacement in a pattern."""
    never: NeverPublished
