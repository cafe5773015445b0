"""`config/clients.yaml`, parsed -> `ClientTable`.

The file ships with the code, so an error in it is a defect: KeyError, TypeError or ValueError.
"""

from __future__ import annotations

from collections.abc import Mapping

from ibcm_bridge.decisions.client_reaction import NextStep
from ibcm_bridge.decisions.role_clients import ANY, ClientTable, Reaction, RoleClient
from ibcm_bridge.policy.roles import RoleProfile, RoleTable
from ibcm_bridge.policy_file.tables.values import as_mapping, as_string, as_strings, only

_KEYS = {"also_asks", "log", "status", "alert", "upload", "errors", "next"}
_OTHER = "other"
_UPLOAD = "BITS_POST"
_OF_UPLOADS = frozenset((NextStep.STARTS_OVER, NextStep.GOES_ON))


def read_client_table(data: Mapping[str, object], roles: RoleTable) -> ClientTable:
    """Build the table from the parsed file: a row for each role whose requests can be refused."""
    if data.keys() != roles.roles.keys():
        raise ValueError(f"clients.yaml must have one row for each of {sorted(roles.roles)}")
    return ClientTable(
        {name: _client(roles.roles[name], as_mapping(row)) for name, row in data.items()}
    )


def _client(profile: RoleProfile, row: Mapping[str, object]) -> RoleClient:
    name = profile.name
    only(name, row, _KEYS)
    errors = as_mapping(row.get("errors", {}))
    offered = profile.windows_authentication
    directories = {*profile.directories, *(offered.directories if offered else ())}
    return RoleClient(
        role=name,
        directories=frozenset(
            directory.lower() for directory in (*directories, *as_strings(row.get("also_asks", [])))
        ),
        log=as_string(row["log"]),
        status=as_string(row["status"]),
        alert=as_string(row["alert"]),
        upload=as_string(row.get("upload", "")),
        errors={int(key): as_string(text) for key, text in errors.items() if key != _OTHER},
        other_error=as_string(errors[_OTHER]) if errors else "",
        steps={
            verb: _steps(name, as_mapping(steps), uploads=verb == _UPLOAD)
            for verb, steps in _verbs(profile, as_mapping(row["next"])).items()
        },
    )


def _verbs(profile: RoleProfile, rows: Mapping[str, object]) -> Mapping[str, object]:
    verbs = {verb.decode("ascii") for verb in profile.bodies}
    needed = {ANY, _UPLOAD} & {ANY, *verbs}
    only(f"{profile.name}/next", rows, {ANY, *verbs})
    if not rows.keys() >= needed:
        raise ValueError(f"{profile.name}/next: must have {sorted(needed)}")
    return rows


def _steps(role: str, rows: Mapping[str, object], *, uploads: bool) -> Mapping[NextStep, Reaction]:
    needed = [step for step in NextStep if uploads or step not in _OF_UPLOADS]
    if ANY in rows:
        only(f"{role}/next", rows, {ANY})
        return dict.fromkeys(needed, _reaction(role, rows[ANY]))
    only(f"{role}/next", rows, {step.short for step in needed})
    return {step: _reaction(role, rows[step.short]) for step in needed}


def _reaction(role: str, row: object) -> Reaction:
    fields = {name: as_string(text) for name, text in as_mapping(row).items()}
    only(f"{role}/next", fields, {"confirmed", "source", "inferred"})
    if not fields or ("confirmed" in fields) != ("source" in fields):
        raise ValueError(f"{role}/next: a step needs `confirmed` with its `source`, or `inferred`")
    return Reaction(
        fields.get("confirmed", ""), fields.get("source", ""), fields.get("inferred", "")
    )
