"""The policy file: YAML text -> `Policy`. It reads the files that the policy names.

1. `yaml_tree` reads the text, with the line of every value.
2. `rows` defines the shape. `shape` reports values that do not fit and leaves out their sections.
   `wording` has the messages, and `known_keys` finds the key that a misspelt one means.
3. `listeners`, `publications` and `messages` convert rows to values, with the role tables;
   `certificates` and `trust` read the files.

The reader is strict and reports each problem with its file, line and place: unknown and duplicate
keys, values of the wrong type, unreadable files, keys that do not match their certificates. One run
reports all problems, but not those behind a problem of shape in the same section. The bridge opens
no listener until the policy has no problem. Paths in the file are relative to the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

from ibcm_bridge.decisions.role_clients import ClientTable
from ibcm_bridge.policy.policy import (
    ClamAv,
    Limits,
    PerSource,
    Policy,
    UploadPolicy,
    WhenUnwritable,
)
from ibcm_bridge.policy.roles import RoleTable
from ibcm_bridge.policy.site_systems import PerSiteSystem
from ibcm_bridge.policy_file import yaml_tree
from ibcm_bridge.policy_file.addresses import read_address, read_networks
from ibcm_bridge.policy_file.folders import is_folder
from ibcm_bridge.policy_file.listeners import read_listeners
from ibcm_bridge.policy_file.messages import read_messages
from ibcm_bridge.policy_file.operations import read_operations
from ibcm_bridge.policy_file.reading import PolicyError, Reading, database_file, duration, why
from ibcm_bridge.policy_file.rows.policy import policy_schema
from ibcm_bridge.policy_file.rows.settings import ClamAvRow, LimitsRow, PerSourceRow, UploadsRow
from ibcm_bridge.policy_file.rule_files import rule_files
from ibcm_bridge.policy_file.shape import read_shape
from ibcm_bridge.policy_file.state import read_state
from ibcm_bridge.policy_file.tables.clients import read_client_table
from ibcm_bridge.policy_file.tables.endpoints import read_endpoint_table
from ibcm_bridge.policy_file.tables.roles import read_role_table
from ibcm_bridge.policy_file.tables.soap_actions import read_soap_table

__all__ = [
    "LimitsRow",
    "PolicyError",
    "load_policy",
    "policy_schema",
    "shipped_clients",
    "shipped_roles",
]


@cache
def shipped_roles(*, encrypted: bool = False) -> RoleTable:
    """Return the role tables of `config/roles.yaml`.

    The messages are from `config/endpoints.yaml`, the SOAP actions from `config/soap_actions.yaml`.
    `encrypted` is true if the policy allows encrypted messages.
    """
    messages = read_endpoint_table(_shipped("endpoints.yaml"))
    if encrypted:
        messages = messages.with_encrypted()
    actions = read_soap_table(_shipped("soap_actions.yaml"))
    return read_role_table(_shipped("roles.yaml"), messages, actions)


@cache
def shipped_clients() -> ClientTable:
    """Return the reactions of clients to a refusal, by role: `config/clients.yaml`."""
    return read_client_table(_shipped("clients.yaml"), shipped_roles(encrypted=False))


def _shipped(name: str) -> Mapping[str, object]:
    tree = yaml_tree.read_yaml(files("ibcm_bridge.config").joinpath(name).read_text("utf-8"))
    if tree.problems or not isinstance(tree.value, dict):
        raise ValueError(f"config/{name}: {tree.problems}")
    return tree.value


def load_policy(path: Path, source: bytes | None = None) -> Policy:
    """Read and check a policy file. PolicyError with all problems.

    `source` is used instead of the text of the file, if it is given.
    """
    try:
        data = path.read_bytes() if source is None else source
        tree = yaml_tree.read_yaml(data.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError([f"{path}: cannot be read: {why(error)}"]) from error
    reading = Reading(path, tree)
    row = read_shape(reading, shipped_roles(encrypted=False))
    table = shipped_roles(encrypted=row.messages.encrypted is not None)
    publications = {
        index: publication
        for index, publication in enumerate(row.publications)
        if not reading.is_left_out(("publications", index))
    }
    listeners = read_listeners(reading, publications, row.listeners, row.limits, table)
    policy = Policy(
        listeners=listeners,
        never=table.never,
        audit_file=_audit_file(reading, row.audit.file),
        when_unwritable=WhenUnwritable(row.audit.when_unwritable),
        rule_files=tuple(_rule_files(reading, row.rules)),
        clamav=_clamav(reading, row.engines.clamav),
        limits=Limits(**row.limits.model_dump(exclude={"per_source", "per_site_system"})),
        messages=read_messages(reading, row.messages, listeners, shared=row.state is not None),
        per_source=_per_source(reading, row.limits.per_source),
        per_site_system=PerSiteSystem(**row.limits.per_site_system.model_dump()),
        uploads=_uploads(reading, row.uploads),
        state=read_state(reading, row),
        workers=row.workers,
        web_because=row.web.because if row.web else None,
        operations=read_operations(
            reading, row.operations, [listener.address for listener in listeners]
        ),
        source=data,
        files=tuple(reading.files.values()),
        digest=hashlib.sha256(data).hexdigest()[:16],
    )
    if tree.problems or reading.left_out:
        raise PolicyError(reading.sorted_problems())
    return policy


def _audit_file(reading: Reading, name: str | None) -> Path | None:
    if name is None:
        return None
    path = reading.relative(name)
    if not is_folder(path.parent):
        reading.report(("audit", "file"), f"there is no folder {path.parent}; create it")
    return path


def _per_source(reading: Reading, row: PerSourceRow) -> PerSource:
    where = ("limits", "per_source", "exceptions")
    exceptions = {
        network: exception.because
        for index, exception in enumerate(row.exceptions)
        for network in read_networks(reading, (*where, index, "networks"), exception.networks)
    }
    return PerSource(row.connections, row.handshakes_per_minute, exceptions)


def _uploads(reading: Reading, row: UploadsRow) -> UploadPolicy:
    per_client_bytes = 2 * row.max_bytes if row.per_client_bytes is None else row.per_client_bytes
    totals = {"max_total_bytes": row.max_total_bytes, "per_client_bytes": per_client_bytes}
    for key, value in totals.items():
        if value < row.max_bytes:
            text = f"less than max_bytes; write at least {row.max_bytes}"
            reading.report(("uploads", key), text)
    return UploadPolicy(
        spool=database_file(reading, ("uploads", "spool"), row.spool),
        max_bytes=row.max_bytes,
        max_total_bytes=row.max_total_bytes,
        sessions=row.sessions,
        per_client_sessions=row.per_client_sessions,
        per_client_bytes=per_client_bytes,
        abandoned_after=duration(row.abandoned_after),
    )


def _rule_files(reading: Reading, names: list[str]) -> list[Path]:
    for index, name in enumerate(names):
        try:
            for path in rule_files([reading.relative(name)]):
                _check_text(reading, ("rules", index), path)
        except OSError as error:
            text = f"{reading.relative(name)} cannot be read: {why(error)}"
            reading.report(("rules", index), text)
    return [reading.relative(name) for name in names]


def _check_text(reading: Reading, where: yaml_tree.Place, path: Path) -> None:
    try:
        path.read_bytes().decode("utf-8")
    except OSError as error:
        reading.report(where, f"{path} cannot be read: {why(error)}")
    except UnicodeDecodeError as error:
        reading.report(where, f"{path}: {why(error)}")


def _clamav(reading: Reading, row: ClamAvRow | None) -> ClamAv | None:
    if row is None:
        return None
    if (row.socket is None) == (row.address is None):
        text = "write either socket: /run/clamav/clamd.ctl or address: 127.0.0.1:3310"
        reading.report(("engines", "clamav"), text)
        return None
    if row.address is None:
        return ClamAv(reading.relative(row.socket or ""), row.seconds)
    address = read_address(reading, ("engines", "clamav", "address"), row.address)
    return None if address is None else ClamAv(address, row.seconds)
