"""Site system roles, as the tables of `config/roles.yaml` describe them.

A `RoleProfile` is data: which verbs, with which kind of body, which header fields, which virtual
directories, which kind of client certificate. Nothing in the code branches on a role's name.
"""

from __future__ import annotations

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
class Directory:
    """A virtual directory: its name in lower case, the methods it takes, what is closed below."""

    name: str
    methods: frozenset[bytes]
    closed: frozenset[str]


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
    closed = {
        name.lower(): frozenset(entry.lower() for entry in _strings(entries))
        for name, entries in _mapping(data["closed_directories"]).items()
    }
    roles = {
        name: _profile(name, _mapping(row), base, bodies, closed)
        for name, row in _mapping(data["roles"]).items()
    }
    bypass = frozenset(name.lower() for name in _strings(data["bypass_directories"]))
    for role in roles.values():
        if published := bypass & role.directories.keys():
            raise ValueError(f"{role.name} publishes {sorted(published)}")
    return RoleTable(roles, bypass)


def _profile(
    name: str,
    row: Mapping[str, object],
    base: frozenset[bytes],
    bodies: Mapping[str, BodyRule],
    closed: Mapping[str, frozenset[str]],
) -> RoleProfile:
    by_method = {
        method.encode("ascii"): bodies[str(body)] for method, body in _mapping(row["verbs"]).items()
    }
    requirements = _mapping(row["requirements"])
    headers = _mapping(row["headers"])
    listed = _lower_bytes(_strings(headers["microsoft"]) + _strings(headers["observed"]))
    directories = {}
    for directory, methods in _mapping(row["directories"]).items():
        taken = frozenset(method.encode("ascii") for method in _strings(methods))
        if not taken <= by_method.keys():
            raise ValueError(f"{name}/{directory} takes verbs the role does not have")
        lower = directory.lower()
        directories[lower] = Directory(lower, taken, closed.get(lower, frozenset()))
    return RoleProfile(
        name=name,
        certificate=CertificatePolicy(str(row["certificate"])),
        bodies=by_method,
        headers=base | listed,
        directories=directories,
        verbs_requirement=str(requirements["verbs"]),
        headers_requirement=str(requirements["headers"]),
    )


def _body_rule(name: str, row: object) -> BodyRule:
    fields = _mapping(row)
    limit, inflated = fields["limit"], fields["inflated_limit"]
    if not isinstance(limit, int) or not isinstance(inflated, int):
        raise TypeError(f"bodies/{name}: limits are whole numbers of bytes")
    return BodyRule(
        name=name,
        inspection=Inspection(str(fields["inspection"])),
        required=fields["required"] is True,
        media_types=_lower_bytes(_strings(fields["media_types"])),
        limit=limit,
        inflated_limit=inflated,
    )


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"expected a mapping, found {value!r}")
    return value


def _strings(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"expected a list of names, found {value!r}")
    return value


def _lower_bytes(names: list[str]) -> frozenset[bytes]:
    return frozenset(name.lower().encode("ascii") for name in names)
