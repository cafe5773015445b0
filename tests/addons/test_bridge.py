"""The bridge does not start with new bindings, if they are enforced."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ibcm_bridge.addons.bridge import _bindings
from ibcm_bridge.addons.errors import StartError
from ibcm_bridge.policy.message_policy import Enforcement
from ibcm_bridge.storage.binding_registry import Registry
from ibcm_bridge.storage.postgresql_stores import SharedRegistry
from tests.addons.stand_ins.lab import Lab
from tests.postgresql_server import DATABASE, PostgresqlServer


@pytest.mark.parametrize("identity", Enforcement)
def test_a_file_of_bindings_is_not_made_again_if_they_are_enforced(
    lab: Lab, tmp_path: Path, identity: Enforcement
) -> None:
    path = tmp_path / "bindings.sqlite"
    messages = dataclasses.replace(lab.policy.messages, identity=identity, bindings_file=path)
    policy = dataclasses.replace(lab.policy, messages=messages)
    if identity is Enforcement.ENFORCE:
        for _ in ("absent", "empty"):
            with pytest.raises(StartError, match="ibcm-bridge identity init --config FILE"):
                _bindings(policy)
            path.touch()
        Registry(path).close()
    _bindings(policy).close()
    path.unlink()


@pytest.mark.needs("postgresql")
@pytest.mark.parametrize("identity", Enforcement)
def test_the_tables_of_a_database_are_not_made_again_if_they_are_enforced(
    lab: Lab, postgresql: PostgresqlServer, identity: Enforcement
) -> None:
    messages = dataclasses.replace(lab.policy.messages, identity=identity)
    state = postgresql.empty_database()
    policy = dataclasses.replace(lab.policy, messages=messages, state=state)
    if identity is Enforcement.ENFORCE:
        with pytest.raises(StartError, match="ibcm-bridge identity init --config FILE"):
            _bindings(policy)
        with postgresql.connect(DATABASE) as admin:
            assert admin.execute("SELECT to_regnamespace('ibcm_bridge')").fetchone() == (None,)
        SharedRegistry(state, creates=True).close()
    _bindings(policy).close()
