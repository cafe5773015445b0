"""The tables that ship with the bridge: a value that YAML would convert is a defect."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from typing import Any

import pytest

from ibcm_bridge.policy_file import shipped_roles
from ibcm_bridge.policy_file.tables.clients import read_client_table
from ibcm_bridge.policy_file.tables.endpoints import read_endpoint_table
from ibcm_bridge.policy_file.tables.roles import read_role_table
from ibcm_bridge.policy_file.tables.soap_actions import read_soap_table
from ibcm_bridge.policy_file.yaml_tree import Converted, read_yaml


def shipped(name: str) -> Any:
    return read_yaml(files("ibcm_bridge.config").joinpath(name).read_text("utf-8")).value


MESSAGES = read_endpoint_table(shipped("endpoints.yaml"))
ACTIONS = read_soap_table(shipped("soap_actions.yaml"))


def read_roles(data: Mapping[str, object]) -> object:
    return read_role_table(data, MESSAGES, ACTIONS)


def read_clients(data: Mapping[str, object]) -> object:
    return read_client_table(data, shipped_roles(encrypted=False))


def converted(value: Any) -> Iterator[Any]:
    """Return the value once for each scalar in it, with that scalar as YAML would convert it."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            for other in converted(inner):
                changed = value.copy()
                changed[key] = other
                yield changed
    else:
        yield Converted("no", "a boolean")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("endpoints.yaml", read_endpoint_table),
        ("soap_actions.yaml", read_soap_table),
        ("roles.yaml", read_roles),
        ("clients.yaml", read_clients),
    ],
)
def test_a_value_that_yaml_converts_is_refused_in_a_table(
    name: str, read: Callable[[Mapping[str, object]], object]
) -> None:
    read(shipped(name))
    for data in converted(shipped(name)):
        with pytest.raises((TypeError, ValueError)):
            read(data)
