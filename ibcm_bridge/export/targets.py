"""The published targets as one ordered list of patterns; the first that matches decides.

A pattern is for `METHOD TARGET`, as sent, and ignores case. It has only syntax that PCRE and RE2
share. A request that no line matches is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ibcm_bridge.export.raw_patterns import raw_literal, raw_pattern
from ibcm_bridge.policy.publications import PublishedRole
from ibcm_bridge.policy.resources import Directory, Resource
from ibcm_bridge.policy.roles import NeverPublished, RoleProfile

_ANY = "[^ ]+ "
_PATH = f"{_ANY}[^?]*"
_FILE = f"{_ANY}[^?]*\\?/"
"""A query that begins with a slash has a file name (protocol.md 7)."""
_QUERY = f"{_ANY}[^?]*\\?(?:[^/].*)?"
_END = "(?:[./]|$)"
_DOT_OR_SPACE = "(?:[.+]|%20)"
_DOTS_OR_SPACES = "[.+]*(?:%20[.+]*)*"
"""Any number. A group is repeated for escapes only (`raw_patterns`)."""
_IN_A_ROW = 32
"""No file name of a client has so many dots or spaces in a row."""


@dataclass(frozen=True, slots=True)
class Line:
    """A pattern for a method and a target, with both ends anchored where it needs them."""

    pattern: str
    role: str
    """The role that receives the request; empty if the line refuses it."""
    requirement: str
    comment: str
    users: bool = False
    """True for a directory with Windows authentication."""

    @property
    def methods(self) -> str:
        """A pattern for the methods; empty for any."""
        return "" if self._is_for_any else self.pattern.removeprefix("^").partition(" ")[0]

    @property
    def target(self) -> str:
        """The pattern for the target alone."""
        any_method = f"^{_ANY}"
        rest = self.pattern.removeprefix(any_method)
        return f"^{rest if self._is_for_any else self.pattern.partition(' ')[2]}"

    @property
    def _is_for_any(self) -> bool:
        return self.pattern.startswith(f"^{_ANY}")

    @property
    def cased(self) -> str:
        """The pattern with a case-sensitive method, for proxies that accept every method."""
        return with_cased_method(self.pattern)


def with_cased_method(pattern: str) -> str:
    """Return a pattern that ignores case only after the method."""
    if pattern.startswith(f"^{_ANY}"):
        return f"^{_ANY}(?i:{pattern.removeprefix(f'^{_ANY}')})"
    method, _, rest = pattern.partition(" ")
    return f"{method} (?i:{rest})"


SPELLINGS = (
    # HAProxy skips a line if its stack for regular expressions is full, so this one has no
    # unlimited repetition of a group, and makes the repetitions of the other lines short.
    Line(
        f"^{_ANY}[^?]*\\?.*{_DOT_OR_SPACE}{{{_IN_A_ROW}}}",
        "",
        "BRIDGE-INSPECT",
        "many dots or spaces in a row",
    ),
    # Each of the others is also a refusal of the bridge (`request.target`, `request.file_names`).
    Line(f"^{_PATH}//", "", "BRIDGE-INSPECT", "an empty segment"),
    Line(
        f"^{_PATH}(?:\\.|%20)(?:[/?]|$)",
        "",
        "BRIDGE-INSPECT",
        "a dot segment, or one that ends with a dot or a space",
    ),
    Line(
        f"^{_PATH}(?:[:;*\\\\]|%2[235af]|%3[abcef]|%5c|%7c|%[0189a-f][0-9a-f])",
        "",
        "BRIDGE-INSPECT",
        "a character with a meaning for NTFS, IIS or a URL parser, or a second encoding",
    ),
    Line(
        f"^{_PATH}/[^./?]{{1,6}}~[0-9]+(?:\\.[^./?]{{0,3}})?(?:[/?]|$)",
        "",
        "BRIDGE-INSPECT",
        "an 8.3 name",
    ),
    Line(
        f"^{_FILE}(?:.*/)?(?:{_DOTS_OR_SPACES}/|{_DOT_OR_SPACE}{_DOTS_OR_SPACES}$"
        f"|[^/]*(?:\\.|%20)(?:/|$)|{_DOTS_OR_SPACES}\\.{_DOTS_OR_SPACES}(?:;|%3b|%23))",
        "",
        "BRIDGE-INSPECT",
        "a file name with a dot segment, or one that ends with a dot or a space",
    ),
    Line(
        f"^{_FILE}.*(?:[:*?\\\\]|%2[2af]|%3[acef]|%5c|%7c|%[01][0-9a-f]|%7f)",
        "",
        "BRIDGE-INSPECT",
        "a file name with a data stream, a wildcard or an escaped separator",
    ),
    Line(
        f"^{_FILE}(?:.*/)?(?:con|prn|aux|nul|com[0-9]|lpt[0-9]|con(?:in|out)(?:\\$|%24)"
        f"|clock(?:\\$|%24))\\+*(?:%20\\+*)*{_END}",
        "",
        "BRIDGE-INSPECT",
        "the name of a device",
    ),
    Line(
        f"^{_FILE}(?:.*/)?[^./]{{1,6}}~[0-9]+(?:\\.[^./]{{0,3}})?(?:/|$)",
        "",
        "BRIDGE-INSPECT",
        "an 8.3 file name",
    ),
    Line(
        f"^{_FILE}.*%25(?:[0-9a-f]{{2}}|u[0-9a-f]{{4}})",
        "",
        "BRIDGE-INSPECT",
        "a file name that is escaped twice",
    ),
    Line(
        f"^{_QUERY}(?:%25|%5c|\\\\|(?:[&=]|\\?)//|(?:[?&=/])[a-z](?::|%3a))",
        "",
        "BRIDGE-INSPECT",
        "a query with a second encoding, a share or a drive",
    ),
    Line(
        f"^{_ANY}[^?]*\\?(?:[^/].*[/&=])?{_DOTS_OR_SPACES}\\.{_DOTS_OR_SPACES}(?:[/&]|$)",
        "",
        "BRIDGE-INSPECT",
        "a query with a dot segment",
    ),
)
"""Other spellings, which the pattern of a row could match."""


def target_lines(
    roles: Iterable[PublishedRole], never: NeverPublished, *, holds_legs: bool
) -> list[Line]:
    """Return the lines for the roles of a publication.

    Without `holds_legs`, there is no line for directories with Windows authentication.
    """
    lines = [*SPELLINGS, *_never_published(never)]
    for role in roles:
        lines += _lines_of(role.profile, holds_legs)
    return lines


def _never_published(never: NeverPublished) -> Iterator[Line]:
    below = f"^{_PATH}/{_any_of(never.below)}(?:[/?]|$)"
    yield Line(below, "", "BRIDGE-INSPECT", "the content library")
    bypass = f"^{_ANY}/{_any_of(never.directories)}(?:[/?]|$)"
    yield Line(bypass, "", "BRIDGE-AUTH-COMPUTER", "directories for clients without a certificate")
    for requirement in sorted(set(never.explained.values())):
        names = [name for name, reason in never.explained.items() if reason == requirement]
        pattern = f"^{_ANY}/{_any_of(names)}(?:[/?]|$)"
        yield Line(pattern, "", requirement, "not for clients on the Internet")


def published_directories(
    profile: RoleProfile, *, with_users: bool = False
) -> Mapping[str, Directory]:
    """Return the directories with a published row.

    Those with Windows authentication only if `with_users` is true.
    """
    return {
        name: directory
        for name, directory in profile.directories.items()
        if (with_users or not directory.authenticates_users)
        and any(not row.refused for row in directory.resources)
    }


def _lines_of(profile: RoleProfile, holds_legs: bool) -> Iterator[Line]:
    directories = published_directories(profile, with_users=holds_legs)
    # A refused row wins over all others.
    for name, directory in profile.directories.items():
        for row in directory.resources:
            if row.refused:
                yield _refused(name, row)
    for name, directory in directories.items():
        for row in directory.resources:
            yield from _words(name, row)
    if profile.denied_extensions and directories:
        extensions = "|".join(re.escape(each[1:]) for each in sorted(profile.denied_extensions))
        pattern = f"^{_ANY}/{_any_of(directories)}/[^?]*\\.(?:{extensions})(?:[./?]|$)"
        yield Line(pattern, "", profile.verbs_requirement, "denied extensions")
    for dots in (True, False):
        if not dots and not profile.dots_in_path and directories:
            prefix = f"^{_ANY}/{_any_of(directories)}/[^?]*\\.[^?]*[./][^?]*(?:\\?|$)"
            comment = "a dot elsewhere than before the extension"
            yield Line(prefix, "", profile.verbs_requirement, comment)
        for directory in directories.values():
            for row in directory.resources:
                if not row.refused and row.dots == dots:
                    yield _published(profile, directory, row)


def _any_of(directories: Iterable[str]) -> str:
    return f"(?:{'|'.join(raw_literal(name) for name in sorted(directories))})"


def _published(profile: RoleProfile, directory: Directory, row: Resource) -> Line:
    name = directory.name
    verbs = "|".join(sorted(method.decode("ascii") for method in row.methods))
    query = "" if row.query is None else f"\\?(?:{raw_pattern(row.query)})"
    pattern = f"^(?:{verbs}) /{raw_literal(name)}{_below(row)}{query}$"
    users = directory.authenticates_users
    return Line(pattern, profile.name, profile.verbs_requirement, f"/{name}", users)


def _below(row: Resource) -> str:
    path = f"/(?:{raw_pattern(row.path)})"
    return f"(?:{path})?" if row.path.fullmatch("") else path


def _refused(directory: str, row: Resource) -> Line:
    """A refused row also matches with path info, and if its query is anywhere in the query."""
    query = "" if row.query is None else f"\\?.*(?:{raw_pattern(row.query)})"
    path = f"(?:/(?:{raw_pattern(row.path)})(?:/[^?]*)?)"
    if row.path.fullmatch(""):
        path += "?"
    end = "(?:\\?|$)" if row.query is None else ""
    pattern = f"^{_ANY}/{raw_literal(directory)}{path}{query}{end}"
    return Line(pattern, "", row.refused, f"/{directory}: not for clients on the Internet")


def _words(directory: str, row: Resource) -> Iterator[Line]:
    """A row of a policy does not match a query with these words."""
    if row.never_in_query and not row.refused and row.query is not None:
        words = "|".join(raw_literal(word) for word in sorted(row.never_in_query))
        pattern = f"^{_ANY}/{raw_literal(directory)}[/?].*\\?(?:.*[^a-z0-9_$])?(?:{words})"
        pattern += "(?:[^a-z0-9_$]|$)"
        yield Line(pattern, "", "BRIDGE-INSPECT", "the content library, in a query")
