"""The bridge does not start with new bindings, if they are enforced."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ibcm_bridge.addons.bridge import _bindings
from ibcm_bridge.addons.errors import StartError
from ibcm_bridge.policy.message_policy import Enforcement
from ibcm_bridge.storage.binding_registry import Registry
from tests.addons.stand_ins.lab import Lab


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
