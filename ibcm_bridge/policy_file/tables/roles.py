"""`config/roles.yaml`, parsed -> `RoleTable`.

The file ships with the code, so an error in it is a defect: KeyError, TypeError or ValueError,
before a listener opens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ibcm_bridge.policy.bodies import BodyRule, Inspection, ReplyReading
from ibcm_bridge.policy.endpoints import EndpointTable
from ibcm_bridge.policy.resources import Directory, Resource
from ibcm_bridge.policy.roles import (
    CertificatePolicy,
    Mode,
    NeverPublished,
    RoleProfile,
    RoleTable,
    WindowsAuthentication,
)
from ibcm_bridge.policy.soap_actions import SoapTable
from ibcm_bridge.policy_file.patterns import compile_pattern
from ibcm_bridge.policy_file.tables.values import (
    as_flag,
    as_list,
    as_mapping,
    as_string,
    as_strings,
    only,
)


@dataclass(frozen=True, slots=True)
class _FieldTable:
    """What the roles share about header fields."""

    base: frozenset[bytes]
    repeatable: frozenset[bytes]
    dropped: Mapping[bytes, frozenset[bytes]]


def read_role_table(
    data: Mapping[str, object], messages: EndpointTable, actions: SoapTable
) -> RoleTable:
    """Build the table from the parsed file. A body may contain these `messages` and `actions`."""
    only("roles.yaml", data, _TOP_KEYS)
    fields = _FieldTable(
        base=_lower_bytes(data["base_headers"]),
        repeatable=_lower_bytes(data["repeatable_headers"]),
        dropped=_by_method(data["dropped_headers"]),
    )
    bodies = {
        name: _body_rule(name, row, messages, actions)
        for name, row in as_mapping(data["bodies"]).items()
    }
    patterns = {name: as_string(text) for name, text in as_mapping(data["patterns"]).items()}
    rows = {name: as_mapping(row) for name, row in as_mapping(data["roles"]).items()}
    modes = {
        name: frozenset(Mode(mode) for mode in as_strings(row["publish"]))
        for name, row in rows.items()
    }
    table = RoleTable(
        modes=modes,
        roles={
            name: _profile(name, row, fields, bodies, patterns)
            for name, row in rows.items()
            if modes[name] != {Mode.TUNNEL}
        },
        not_bridged={
            name: as_string(row["not_bridged"])
            for name, row in rows.items()
            if Mode.BRIDGE not in modes[name]
        },
        bodies=bodies,
        patterns=patterns,
        never=NeverPublished(
            directories=_lower(data["bypass_directories"]),
            below=_lower(data["never_below"]),
            headers=_lower_bytes(data["never_headers"]),
            header_patterns=re.compile(
                "|".join(as_strings(data["never_header_patterns"])).encode("ascii")
            ),
            explained={
                name.lower(): as_string(why)
                for name, why in as_mapping(data["unpublished_directories"]).items()
            },
        ),
    )
    _check_never(table)
    return table


def expand_pattern(text: str, patterns: Mapping[str, str]) -> re.Pattern[str]:
    """Compile a pattern with names in braces for other patterns. ValueError if it is not usable."""
    # A pattern can use those after it.
    for name, meaning in patterns.items():
        text = text.replace(f"{{{name}}}", f"(?:{meaning})")
    if unknown := re.search(r"\{[A-Z]\w*\}", text):
        raise ValueError(f"unknown name {unknown[0]}; use one of {', '.join(patterns)}")
    return compile_pattern(text)


_TOP_KEYS = {
    "base_headers",
    "repeatable_headers",
    "dropped_headers",
    "never_headers",
    "never_header_patterns",
    "bodies",
    "patterns",
    "roles",
    "bypass_directories",
    "never_below",
    "unpublished_directories",
}
_ROLE_KEYS = {
    "publish",
    "not_bridged",
    "certificate",
    "requirements",
    "verbs",
    "headers",
    "request_head",
    "denied_extensions",
    "dots_in_path",
    "directories",
    "windows_authentication",
}
_BODY_KEYS = {
    "inspection",
    "required",
    "media_types",
    "limit",
    "inflated_limit",
    "messages",
    "actions",
    "depths",
    "properties",
}
_RESOURCE_KEYS = {"path", "query", "verbs", "refused", "reply", "dots", "acts"}
_WINDOWS_KEYS = {"otherwise", "directories"}


def _check_never(table: RoleTable) -> None:
    for role in table.roles.values():
        offered = role.windows_authentication
        directories = {*role.directories, *(offered.directories if offered else ())}
        if published := (table.never.directories | table.never.explained.keys()) & directories:
            raise ValueError(f"{role.name} publishes {sorted(published)}")
        if passed := {name for name in role.headers if table.never.has_header(name)}:
            raise ValueError(f"{role.name} forwards {sorted(passed)}")


def _profile(
    name: str,
    row: Mapping[str, object],
    fields: _FieldTable,
    bodies: Mapping[str, BodyRule],
    patterns: Mapping[str, str],
) -> RoleProfile:
    only(name, row, _ROLE_KEYS)
    by_method = {
        method.encode("ascii"): bodies[as_string(body)]
        for method, body in as_mapping(row["verbs"]).items()
    }
    requirements = as_mapping(row["requirements"])
    headers = as_mapping(row["headers"])
    only(f"{name}/headers", headers, {"microsoft", "observed", "base"})
    observed = _lower_bytes(headers["observed"])
    return RoleProfile(
        name=name,
        certificates=tuple(CertificatePolicy(kind) for kind in as_strings(row["certificate"])),
        bodies=by_method,
        headers=fields.base
        | _lower_bytes(headers["microsoft"])
        | observed
        | _lower_bytes(headers["base"]),
        observed_headers=observed,
        repeatable_headers=fields.repeatable,
        dropped_headers=fields.dropped,
        directories=_directories(name, row["directories"], frozenset(by_method), patterns),
        windows_authentication=_windows_authentication(
            name, row.get("windows_authentication"), frozenset(by_method), patterns
        ),
        request_head=_size(f"{name}/request_head", row.get("request_head", 0)),
        denied_extensions=_lower(row.get("denied_extensions", [])),
        dots_in_path=as_flag(row.get("dots_in_path", True)),
        verbs_requirement=as_string(requirements["verbs"]),
        headers_requirement=as_string(requirements["headers"]),
    )


def _windows_authentication(
    name: str, row: object, methods: frozenset[bytes], patterns: Mapping[str, str]
) -> WindowsAuthentication | None:
    if row is None:
        return None
    fields = as_mapping(row)
    only(f"{name}/windows_authentication", fields, _WINDOWS_KEYS)
    return WindowsAuthentication(
        directories=_directories(name, fields["directories"], methods, patterns),
        otherwise=as_string(fields["otherwise"]),
    )


def _directories(
    role: str, rows: object, methods: frozenset[bytes], patterns: Mapping[str, str]
) -> Mapping[str, Directory]:
    directories = {}
    for name, resources in as_mapping(rows).items():
        read = tuple(_resource(as_mapping(row), patterns) for row in as_list(resources))
        if not frozenset[bytes]().union(*(resource.methods for resource in read)) <= methods:
            raise ValueError(f"{role}/{name} has verbs that the role does not have")
        directories[name.lower()] = Directory(name.lower(), read)
    return directories


def _resource(row: Mapping[str, object], patterns: Mapping[str, str]) -> Resource:
    only("a resource", row, _RESOURCE_KEYS)
    methods = frozenset(method.encode("ascii") for method in as_strings(row["verbs"]))
    if not methods:
        raise ValueError("a resource without verbs")
    if "reply" in row and "refused" in row:
        raise ValueError("a refused resource cannot have a reply")
    return Resource(
        path=expand_pattern(as_string(row["path"]), patterns),
        query=expand_pattern(as_string(row["query"]), patterns) if "query" in row else None,
        methods=methods,
        refused=as_string(row.get("refused", "")),
        reply=ReplyReading(as_string(row["reply"])) if "reply" in row else None,
        dots=as_flag(row.get("dots", False)),
        acts=as_flag(row.get("acts", False)),
    )


def _body_rule(name: str, row: object, messages: EndpointTable, actions: SoapTable) -> BodyRule:
    fields = as_mapping(row)
    only(f"bodies/{name}", fields, _BODY_KEYS)
    return BodyRule(
        name=name,
        inspection=Inspection(as_string(fields["inspection"])),
        required=as_flag(fields["required"]),
        media_types=_lower_bytes(fields["media_types"]),
        limit=_size(f"bodies/{name}/limit", fields["limit"]),
        inflated_limit=_size(f"bodies/{name}/inflated_limit", fields["inflated_limit"]),
        messages=messages if as_flag(fields.get("messages", False)) else None,
        actions=actions if as_flag(fields.get("actions", False)) else None,
        depths=_lower_bytes(fields.get("depths", [])),
        properties=frozenset(as_strings(fields.get("properties", []))),
    )


def _size(where: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{where}: expected a whole number of bytes")
    return value


def _by_method(fields: object) -> Mapping[bytes, frozenset[bytes]]:
    """Method -> fields, from a table of field -> methods."""
    rows = as_mapping(fields)
    methods = {method for row in rows.values() for method in as_strings(row)}
    return {
        method.encode("ascii"): _lower_bytes(
            [name for name, row in rows.items() if method in as_strings(row)]
        )
        for method in methods
    }


def _lower(names: object) -> frozenset[str]:
    return frozenset(name.lower() for name in as_strings(names))


def _lower_bytes(names: object) -> frozenset[bytes]:
    return frozenset(name.lower().encode("ascii") for name in as_strings(names))
