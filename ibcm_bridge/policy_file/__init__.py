"""The policy file: YAML text -> `Policy`. The only room besides the command line that reads files.

1. `yaml_tree` reads the text, with the line of every value.
2. `rows` is the shape; what does not have it is said in words of `wording`.
3. `publications` and `messages` turn rows into values, with the role tables; `certificates` reads
   the files.

Strict, and all problems at once, each with file, line and path: unknown and duplicate keys, values
of the wrong kind, files that cannot be read, keys that do not fit their certificates. Nothing is
listened on until a whole policy stands. Paths in the file are relative to the file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ibcm_bridge import yaml_tree
from ibcm_bridge.endpoint_table import read_endpoint_table
from ibcm_bridge.policy import Limits, Policy, WhenUnwritable
from ibcm_bridge.policy_file.certificates import read_credential
from ibcm_bridge.policy_file.messages import read_messages
from ibcm_bridge.policy_file.publications import Row, read_listeners
from ibcm_bridge.policy_file.reading import PolicyError, Reading, why
from ibcm_bridge.policy_file.rows import (
    CertificateRow,
    LimitsRow,
    MessagesRow,
    PolicyRow,
    PublicationRow,
    TrustRow,
    policy_schema,
)
from ibcm_bridge.policy_file.trust import read_trust
from ibcm_bridge.policy_file.wording import in_words, without_tags
from ibcm_bridge.role_table import read_role_table
from ibcm_bridge.roles import Mode, RoleTable

__all__ = ["LimitsRow", "PolicyError", "load_policy", "policy_schema", "shipped_roles"]


def shipped_roles(*, encrypted: bool = False) -> RoleTable:
    """The role tables of `config/roles.yaml`, with the messages of `config/endpoints.yaml`.

    `encrypted`: where a policy lets encrypted ones pass.
    """
    messages = read_endpoint_table(_shipped("endpoints.yaml"))
    if encrypted:
        messages = messages.with_encrypted()
    return read_role_table(_shipped("roles.yaml"), messages)


def _shipped(name: str) -> Mapping[str, object]:
    tree = yaml_tree.read_yaml(files("ibcm_bridge.config").joinpath(name).read_text("utf-8"))
    if tree.problems or not isinstance(tree.value, dict):
        raise ValueError(f"config/{name}: {tree.problems}")
    return tree.value


def load_policy(path: Path) -> Policy:
    """Read and check a policy file. Raises PolicyError with every problem found."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError([f"{path}: cannot be read: {why(error)}"]) from error
    tree = yaml_tree.read_yaml(text)
    reading = Reading(path, tree)
    if tree.value is None and tree.problems:
        raise PolicyError(reading.sorted_problems())
    table = shipped_roles()
    try:
        row = PolicyRow.model_validate(tree.value)
    except ValidationError as error:
        known = {problem.path for problem in tree.problems}
        for item in error.errors(include_url=False):
            where = without_tags(item["loc"])
            if where not in known:
                reading.report(where, in_words(item["type"], item["msg"], where, tree.value, table))
        _read_the_rest(reading, tree.value, table)
        raise PolicyError(reading.sorted_problems()) from error
    table = shipped_roles(encrypted=row.messages.encrypted is not None)
    listeners = read_listeners(reading, dict(enumerate(row.publications)), row.limits, table)
    policy = Policy(
        listeners=listeners,
        never=table.never,
        audit_file=_audit_file(reading, row.audit.file),
        when_unwritable=WhenUnwritable(row.audit.when_unwritable),
        rule_files=tuple(_rule_files(reading, row.rules)),
        limits=Limits(**row.limits.model_dump()),
        messages=read_messages(reading, row.messages, listeners),
    )
    if tree.problems:
        raise PolicyError(reading.sorted_problems())
    return policy


def _audit_file(reading: Reading, name: str | None) -> Path | None:
    if name is None:
        return None
    path = reading.relative(name)
    if not path.parent.is_dir():
        reading.report(("audit", "file"), f"there is no folder {path.parent}")
    return path


def _rule_files(reading: Reading, names: list[str]) -> list[Path]:
    for index, name in enumerate(names):
        data = reading.read(("rules", index), name)
        try:
            (data or b"").decode("utf-8")
        except UnicodeDecodeError as error:
            reading.report(("rules", index), f"{reading.relative(name)}: {why(error)}")
    return [reading.relative(name) for name in names]


def _read_the_rest(reading: Reading, value: object, table: RoleTable) -> None:
    """Find what else is wrong in a file that has not the right shape.

    Else a mistyped key would hide, until it is mended, that a certificate cannot be read. Each
    publication that has its shape is read as it would be; of the others, the files they name.
    """
    if not isinstance(value, Mapping):
        return
    audit = value.get("audit")
    name = audit.get("file") if isinstance(audit, Mapping) else None
    _audit_file(reading, name if isinstance(name, str) else None)
    rules = value.get("rules")
    if isinstance(rules, list) and all(isinstance(name, str) for name in rules):
        _rule_files(reading, rules)
    publications = value.get("publications")
    rows: dict[int, Row] = {}
    for index, publication in enumerate(publications if isinstance(publications, list) else ()):
        try:
            rows[index] = _PUBLICATION.validate_python(publication)
        except ValidationError:
            # In another mode they do not belong there, which is said already.
            if isinstance(publication, Mapping) and publication.get("mode") == Mode.BRIDGE:
                _read_files(reading, ("publications", index), publication)
    listeners = read_listeners(reading, rows, LimitsRow(), table)
    with contextlib.suppress(ValidationError):  # said already
        read_messages(reading, MessagesRow.model_validate(value.get("messages", {})), listeners)


_PUBLICATION: TypeAdapter[Row] = TypeAdapter(PublicationRow)


def _read_files(reading: Reading, where: yaml_tree.Path, publication: object) -> None:
    for keys, read in (
        (("certificate",), _try_credential),
        (("clients", "trust"), _try_trust),
        (("site_systems", "certificate"), _try_credential),
        (("site_systems", "trust"), _try_trust),
    ):
        found: object = publication
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        if found is not None:
            read(reading, (*where, *keys), found)


def _try_credential(reading: Reading, where: yaml_tree.Path, value: object) -> None:
    try:
        row = CertificateRow.model_validate(value)
    except ValidationError:
        return  # said already
    read_credential(reading, where, row)


def _try_trust(reading: Reading, where: yaml_tree.Path, value: object) -> None:
    try:
        row = TrustRow.model_validate(value)
    except ValidationError:
        return
    read_trust(reading, where, row)
