"""Site system roles, as the tables of `config/roles.yaml` describe them.

A `RoleProfile` is data: which verbs, with which kind of body, which header fields, which virtual
directories, which kind of client certificate. Nothing in the code branches on a role's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Inspection(StrEnum):
    """How a body is looked at. `inspection.inspect` has one function for each."""

    NO_BODY = "no-body"
    CCM_MESSAGE = "ccm-message"
    XML = "xml"
    NOT_INSPECTABLE = "not-inspectable"


class CertificatePolicy(StrEnum):
    """Whom the client's certificate must name. Only what can be enforced today is here."""

    COMPUTER = "computer"


@dataclass(frozen=True, slots=True)
class BodyRule:
    """What a request body may be. Sizes in bytes; `media_types` in lower case.

    `required`: whether there must be one.
    """

    name: str
    inspection: Inspection
    required: bool
    media_types: frozenset[bytes]
    limit: int
    inflated_limit: int


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

    def has(self, path: str, query: str | None) -> bool:
        """Whether this row is about that path and query."""
        if not self.path.fullmatch(path):
            return False
        if self.query is None or query is None:
            return self.query is None and query is None
        return self.query.fullmatch(query) is not None


@dataclass(frozen=True, slots=True)
class Directory:
    """A virtual directory: its name in lower case, and what is published below it."""

    name: str
    resources: tuple[Resource, ...]


@dataclass(frozen=True, slots=True)
class RoleProfile:
    """One row of the role table. Methods are exact bytes; header and directory names lower case."""

    name: str
    certificate: CertificatePolicy
    bodies: Mapping[bytes, BodyRule]
    """Method -> what its body may be; the keys are the role's verbs (VERB-*)."""
    headers: frozenset[bytes]
    """Fields that are sent on (HEADER-*, and those HTTP needs)."""
    directories: Mapping[str, Directory]
    verbs_requirement: str
    headers_requirement: str


@dataclass(frozen=True, slots=True)
class RoleTable:
    """All roles that can be bridged, and the directories that no role may publish."""

    roles: Mapping[str, RoleProfile]
    bypass_directories: frozenset[str]


def read_role_table(data: Mapping[str, object]) -> RoleTable:
    """Build the table from the parsed `roles.yaml`.

    The file is ours and ships with the code, so a mistake in it is a defect: KeyError, TypeError
    or ValueError, before any listener exists.
    """
    base = _lower_bytes(_strings(data["base_headers"]))
    bodies = {name: _body_rule(name, row) for name, row in _mapping(data["bodies"]).items()}
    patterns = {name: str(text) for name, text in _mapping(data["patterns"]).items()}
    roles = {
        name: _profile(name, _mapping(row), base, bodies, patterns)
        for name, row in _mapping(data["roles"]).items()
    }
    bypass = frozenset(name.lower() for name in _strings(data["bypass_directories"]))
    for role in roles.values():
        if published := bypass & role.directories.keys():
            raise ValueError(f"{role.name} publishes {sorted(published)}")
    return RoleTable(roles, bypass)


_ROLE_KEYS = {"certificate", "requirements", "verbs", "headers", "directories"}
_BODY_KEYS = {"inspection", "required", "media_types", "limit", "inflated_limit"}
_RESOURCE_KEYS = {"path", "query", "verbs", "refused"}


def _only(where: str, row: Mapping[str, object], keys: set[str]) -> None:
    if unknown := row.keys() - keys:
        raise ValueError(f"{where} has no {sorted(unknown)}")


def _profile(
    name: str,
    row: Mapping[str, object],
    base: frozenset[bytes],
    bodies: Mapping[str, BodyRule],
    patterns: Mapping[str, str],
) -> RoleProfile:
    _only(name, row, _ROLE_KEYS)
    by_method = {
        method.encode("ascii"): bodies[str(body)] for method, body in _mapping(row["verbs"]).items()
    }
    requirements = _mapping(row["requirements"])
    headers = _mapping(row["headers"])
    listed = _lower_bytes(_strings(headers["microsoft"]) + _strings(headers["observed"]))
    directories = {}
    for directory, rows in _mapping(row["directories"]).items():
        resources = tuple(_resource(_mapping(one), patterns) for one in _rows(rows))
        if not frozenset().union(*(one.methods for one in resources)) <= by_method.keys():
            raise ValueError(f"{name}/{directory} takes verbs the role does not have")
        directories[directory.lower()] = Directory(directory.lower(), resources)
    return RoleProfile(
        name=name,
        certificate=CertificatePolicy(str(row["certificate"])),
        bodies=by_method,
        headers=base | listed,
        directories=directories,
        verbs_requirement=str(requirements["verbs"]),
        headers_requirement=str(requirements["headers"]),
    )


def _resource(row: Mapping[str, object], patterns: Mapping[str, str]) -> Resource:
    _only("a resource", row, _RESOURCE_KEYS)
    methods = frozenset(method.encode("ascii") for method in _strings(row["verbs"]))
    if not methods:
        raise ValueError("a resource without verbs")
    return Resource(
        path=_pattern(_string(row["path"]), patterns),
        query=_pattern(_string(row["query"]), patterns) if "query" in row else None,
        methods=methods,
        refused=_string(row.get("refused", "")),
    )


def _pattern(text: str, patterns: Mapping[str, str]) -> re.Pattern[str]:
    # One pattern may be made of those that stand after it.
    for name, meaning in patterns.items():
        text = text.replace(f"{{{name}}}", f"(?:{meaning})")
    if re.search(r"\{[A-Z]", text):
        raise ValueError(f"{text} names a pattern that there is not")
    try:
        return re.compile(text, re.IGNORECASE | re.ASCII)
    except re.error as error:
        raise ValueError(f"{text}: {error}") from error


def _rows(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list of rows, found {value!r}")
    return value


def _body_rule(name: str, row: object) -> BodyRule:
    fields = _mapping(row)
    _only(f"bodies/{name}", fields, _BODY_KEYS)
    limit, inflated, required = fields["limit"], fields["inflated_limit"], fields["required"]
    if not isinstance(limit, int) or not isinstance(inflated, int):
        raise TypeError(f"bodies/{name}: limits are whole numbers of bytes")
    if not isinstance(required, bool):
        raise TypeError(f"bodies/{name}: required is true or false")
    return BodyRule(
        name=name,
        inspection=Inspection(str(fields["inspection"])),
        required=required,
        media_types=_lower_bytes(_strings(fields["media_types"])),
        limit=limit,
        inflated_limit=inflated,
    )


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"expected a mapping, found {value!r}")
    return value


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {value!r}")
    return value


def _strings(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"expected a list of names, found {value!r}")
    return value


def _lower_bytes(names: list[str]) -> frozenset[bytes]:
    return frozenset(name.lower().encode("ascii") for name in names)
