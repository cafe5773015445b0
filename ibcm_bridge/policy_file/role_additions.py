"""What a policy file adds to a role: `extra_verbs`, `extra_headers` and the like, each with why.

There are things that no policy can add: the directories that answer without a certificate, a
distribution point's content library, framing and hop-by-hop fields, fields by which a proxy speaks
of its client (`never_headers` and the like in roles.yaml), TRACE and CONNECT.
"""

from __future__ import annotations

from ibcm_bridge.policy.bodies import BodyRule, Inspection
from ibcm_bridge.policy.endpoints import EndpointTable
from ibcm_bridge.policy.publications import Addition, AdditionKind
from ibcm_bridge.policy.resources import Resource
from ibcm_bridge.policy.roles import RoleAdditions, RoleProfile, RoleTable
from ibcm_bridge.policy_file import yaml_tree
from ibcm_bridge.policy_file.reading import Reading
from ibcm_bridge.policy_file.rows.roles import ExtraPathRow, PlaintextRoleRow, RoleRow
from ibcm_bridge.policy_file.tables.roles import expand_pattern

_NEVER_VERBS = frozenset(("CONNECT", "TRACE", "TRACK", "DEBUG", "PRI"))
"""RFC 9110 §9.3.6, §9.3.8: one makes a tunnel, the other gives back what it was sent, cookies and
all, as IIS's TRACK does; DEBUG is ASP.NET's; PRI begins HTTP/2 (RFC 9113 §3.4)."""


LONGEST = 2_048
"""Characters that a row of a policy file looks at. A pattern of its author's may cost the square of
that: a hundredth of a second, where 64 KB would be ten."""


def read_profile(
    reading: Reading,
    where: yaml_tree.Place,
    row: RoleRow | PlaintextRoleRow,
    profile: RoleProfile,
    table: RoleTable,
) -> RoleProfile:
    """The role as this policy publishes it."""
    if not row.observed_headers:
        profile = profile.without_observed_headers()
    if row.without_clamav is not None:
        profile = profile.without_engine("clamav")
    if row.windows_authentication is None:
        profile = profile.without_windows_authentication()
    elif profile.windows_authentication is None:
        text = f"{profile.name} has no Windows authentication"
        reading.report((*where, "windows_authentication"), text)
    else:
        profile = profile.with_windows_authentication()
    verbs = _verbs(reading, where, row, profile, table)
    # A verb of extra_verbs that is refused is told there, and not of each path that has it.
    methods = frozenset((*profile.bodies, *(one.verb.encode("ascii") for one in row.extra_verbs)))
    return profile.with_additions(
        RoleAdditions(
            verbs=verbs,
            headers=_headers(reading, where, row, table),
            resources=tuple(
                resource
                for index, extra in enumerate(row.extra_paths)
                for resource in _resource(
                    reading,
                    (*where, "extra_paths", index),
                    extra,
                    role=profile.name,
                    methods=methods,
                    table=table,
                )
            ),
            messages=_messages(reading, where, row, profile),
        )
    )


def read_additions(row: RoleRow | PlaintextRoleRow) -> tuple[Addition, ...]:
    """What a row adds to its role, and why."""
    kind = AdditionKind
    added = [Addition(kind.VERB, (one.verb,), one.because) for one in row.extra_verbs]
    added += (Addition(kind.HEADER, (one.name,), one.because) for one in row.extra_headers)
    added += (
        Addition(kind.PATH, (one.directory, one.path, ", ".join(one.verbs)), one.because)
        for one in row.extra_paths
    )
    added += (
        Addition(kind.MESSAGE, (one.root, one.endpoint), one.because) for one in row.extra_messages
    )
    if row.windows_authentication is not None:
        why = row.windows_authentication.because
        added.append(Addition(kind.WINDOWS_AUTHENTICATION, (), why))
    if row.without_clamav is not None:
        added.append(Addition(kind.WITHOUT_CLAMAV, (), row.without_clamav.because))
    return tuple(added)


def _verbs(
    reading: Reading,
    where: yaml_tree.Place,
    row: RoleRow | PlaintextRoleRow,
    profile: RoleProfile,
    table: RoleTable,
) -> dict[bytes, BodyRule]:
    verbs = {}
    known = {method.decode("ascii").upper(): method.decode("ascii") for method in profile.bodies}
    for index, extra in enumerate(row.extra_verbs):
        here = (*where, "extra_verbs", index)
        body = table.bodies.get(extra.body)
        if extra.verb.upper() in _NEVER_VERBS:
            reading.report((*here, "verb"), f"{extra.verb} is never published")
        elif extra.verb.upper() in known:
            # Verbs are told apart by case (RFC 9110 section 9.1), but not by every server.
            text = f"{known[extra.verb.upper()]} is a verb of {profile.name} already"
            reading.report((*here, "verb"), text)
        elif body is None or body.inspection is Inspection.BITS_UPLOAD:
            kinds = [
                name
                for name, rule in table.bodies.items()
                if rule.inspection is not Inspection.BITS_UPLOAD
            ]
            reading.report((*here, "body"), f"a kind of body: {', '.join(kinds)}")
        else:
            verbs[extra.verb.encode("ascii")] = body
            known[extra.verb.upper()] = extra.verb
    return verbs


def _headers(
    reading: Reading, where: yaml_tree.Place, row: RoleRow | PlaintextRoleRow, table: RoleTable
) -> frozenset[bytes]:
    headers = set()
    for index, extra in enumerate(row.extra_headers):
        name = extra.name.lower().encode("ascii")
        if table.never.has_header(name):
            text = f"{extra.name} is never sent on (framing, hop-by-hop, forwarding)"
            reading.report((*where, "extra_headers", index, "name"), text)
        elif name == b"authorization":
            text = "Authorization is sent on by windows_authentication, and not otherwise"
            reading.report((*where, "extra_headers", index, "name"), text)
        else:
            headers.add(name)
    return frozenset(headers)


def _messages(
    reading: Reading,
    where: yaml_tree.Place,
    row: RoleRow | PlaintextRoleRow,
    profile: RoleProfile,
) -> EndpointTable | None:
    messages = profile.messages
    for index, extra in enumerate(row.extra_messages):
        here = (*where, "extra_messages", index)
        if messages is None:
            reading.report(here, f"{profile.name} takes no messages")
            continue
        try:
            messages = messages.with_message(extra.endpoint, extra.root)
        except ValueError as error:
            reading.report((*here, "root"), str(error))
    return messages


def _resource(
    reading: Reading,
    where: yaml_tree.Place,
    row: ExtraPathRow,
    *,
    role: str,
    methods: frozenset[bytes],
    table: RoleTable,
) -> list[tuple[str, Resource]]:
    directory = row.directory.lower()
    problems = len(reading.tree.problems)
    extra_verbs = (*where[:-2], "extra_verbs")
    if directory in table.never.directories:
        text = f"/{row.directory} answers without a client certificate and is never published"
        reading.report((*where, "directory"), text)
    elif (cites := table.never.explained.get(directory)) is not None:
        text = f"/{row.directory} is published by no role ({cites})"
        reading.report((*where, "directory"), text)
    elif (owner := _owner(directory, table)) not in (None, role):
        text = f"/{row.directory} is a directory of {owner}: publish that role"
        reading.report((*where, "directory"), text)
    if directory in table.never.below:
        text = f"/{row.directory} is a content library and is never published"
        reading.report((*where, "directory"), text)
    if row.path.lower().partition("/")[0] in table.never.below:
        text = f"{row.path} is a content library and is never published"
        reading.report((*where, "path"), text)
    for index, verb in enumerate(row.verbs):
        if verb.encode("ascii") not in methods and reading.is_whole(extra_verbs):
            text = f"{verb} is not a verb of this role; extra_verbs can add it"
            reading.report((*where, "verbs", index), text)
    patterns = {}
    if row.path.startswith("/"):
        text = "without the slash at its beginning: what follows /directory/ is meant"
        reading.report((*where, "path"), text)
    for key, pattern in (("path", row.path), ("query", row.query)):
        if pattern is not None and pattern.startswith(("?", "\\?")):
            text = "without the question mark: what follows it is meant; give the rest as query"
            reading.report((*where, key), text)
            continue
        try:
            patterns[key] = None if pattern is None else expand_pattern(pattern, table.patterns)
        except ValueError as error:
            reading.report((*where, key), str(error))
    path = patterns.get("path")
    if path is None or len(reading.tree.problems) > problems:
        return []
    wanted = frozenset(verb.encode("ascii") for verb in row.verbs)
    # A distribution point finds a file by its query, so a library could be named there as well.
    resource = Resource(path, patterns["query"], wanted, "", LONGEST, table.never.below)
    return [(directory, resource)]


def _owner(directory: str, table: RoleTable) -> str | None:
    """The role that a directory belongs to."""
    for name, profile in table.roles.items():
        offered = profile.windows_authentication
        if directory in profile.directories or (offered and directory in offered.directories):
            return name
    return None
