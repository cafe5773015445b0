"""Additions of a policy file to a role: `extra_verbs`, `extra_headers` ..., each with a reason.

No policy can add directories without client authentication, a distribution point's content library,
framing and hop-by-hop fields, fields in which a proxy describes its client (`never_headers` and
`never_header_patterns` in roles.yaml), TRACE or CONNECT.
"""

from __future__ import annotations

from ibcm_bridge.policy.bodies import BodyRule, Inspection
from ibcm_bridge.policy.endpoints import EndpointTable
from ibcm_bridge.policy.publications import Addition, AdditionKind
from ibcm_bridge.policy.resources import Resource
from ibcm_bridge.policy.roles import NEVER_VERBS, RoleAdditions, RoleProfile, RoleTable
from ibcm_bridge.policy_file import yaml_tree
from ibcm_bridge.policy_file.reading import Reading
from ibcm_bridge.policy_file.rows.roles import ExtraPathRow, PlaintextRoleRow, RoleRow
from ibcm_bridge.policy_file.tables.roles import expand_pattern

LONGEST = 2_048
"""Characters that a row of a policy file can match. The matching time of an administrator's pattern
may be quadratic: 10 ms for this length, 10 s for 64 KiB."""


def read_profile(
    reading: Reading,
    where: yaml_tree.Place,
    row: RoleRow | PlaintextRoleRow,
    profile: RoleProfile,
    table: RoleTable,
) -> RoleProfile:
    """Return the role with the additions of its row."""
    if not row.observed_headers:
        profile = profile.without_observed_headers()
    if row.without_clamav is not None:
        profile = profile.without_engine("clamav")
    if row.windows_authentication is None:
        profile = profile.without_windows_authentication()
    elif profile.windows_authentication is None:
        text = f"{profile.name} does not support Windows authentication; remove this key"
        reading.report((*where, "windows_authentication"), text)
    else:
        profile = profile.with_windows_authentication()
    verbs = _verbs(reading, where, row, profile, table)
    # Includes refused verbs of extra_verbs, which are reported there and not for each path.
    methods = frozenset(
        (*profile.bodies, *(extra.verb.encode("ascii") for extra in row.extra_verbs))
    )
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
    """Return the additions of a row, with their reasons."""
    kind = AdditionKind
    added = [Addition(kind.VERB, (extra.verb,), extra.because) for extra in row.extra_verbs]
    added += (Addition(kind.HEADER, (extra.name,), extra.because) for extra in row.extra_headers)
    added += (
        Addition(kind.PATH, (extra.directory, extra.path, ", ".join(extra.verbs)), extra.because)
        for extra in row.extra_paths
    )
    added += (
        Addition(kind.MESSAGE, (extra.root, extra.endpoint), extra.because)
        for extra in row.extra_messages
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
        if extra.verb.upper().encode("ascii") in NEVER_VERBS:
            reading.report((*here, "verb"), f"{extra.verb} is never published; remove it")
        elif extra.verb.upper() in known:
            # Verbs are case-sensitive (RFC 9110 section 9.1), but not on every server.
            text = f"{known[extra.verb.upper()]} is already a verb of {profile.name}; remove it"
            reading.report((*here, "verb"), text)
        elif body is None or body.inspection is Inspection.BITS_UPLOAD:
            kinds = [
                name
                for name, row in table.bodies.items()
                if row.inspection is not Inspection.BITS_UPLOAD
            ]
            reading.report(
                (*here, "body"), f"invalid kind of body; write one of {', '.join(kinds)}"
            )
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
            text = f"{extra.name} is never forwarded (framing, hop-by-hop, proxy); remove it"
            reading.report((*where, "extra_headers", index, "name"), text)
        elif name == b"authorization":
            text = "Authorization is never an extra header; write windows_authentication instead"
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
            reading.report(here, f"{profile.name} does not accept messages; remove this row")
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
    if directory in table.never.directories:
        text = f"/{row.directory} has no client authentication and is never published"
        reading.report((*where, "directory"), text)
    elif (cites := table.never.explained.get(directory)) is not None:
        text = f"/{row.directory} is never published ({cites})"
        reading.report((*where, "directory"), text)
    elif (owner := _owner(directory, table)) not in (None, role):
        text = f"/{row.directory} is a directory of {owner}; publish that role instead"
        reading.report((*where, "directory"), text)
    if directory in table.never.below:
        text = f"/{row.directory} is a content library and is never published"
        reading.report((*where, "directory"), text)
    if row.path.lower().partition("/")[0] in table.never.below:
        text = f"{row.path} is a content library and is never published"
        reading.report((*where, "path"), text)
    for index, verb in enumerate(row.verbs):
        if verb.encode("ascii") not in methods:
            text = f"{verb} is not a verb of this role; add it to extra_verbs"
            reading.report((*where, "verbs", index), text)
    patterns = {}
    if row.path.startswith("/"):
        text = "starts with a slash; write only the part after /DIRECTORY/"
        reading.report((*where, "path"), text)
    for key, pattern in (("path", row.path), ("query", row.query)):
        if pattern is not None and pattern.startswith(("?", "\\?")):
            text = "starts with a question mark; write only the part after it, as query"
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
    # A distribution point selects files by query, so a query can name a content library too.
    resource = Resource(path, patterns["query"], wanted, "", LONGEST, table.never.below)
    return [(directory, resource)]


def _owner(directory: str, table: RoleTable) -> str | None:
    """Return the role that has a directory, if any."""
    for name, profile in table.roles.items():
        offered = profile.windows_authentication
        if directory in profile.directories or (offered and directory in offered.directories):
            return name
    return None
