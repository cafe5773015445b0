"""The cgroups of a process, from its own to that of the system."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibcm_bridge.storage.cgroups import own_cgroups


@pytest.mark.parametrize(
    ("membership", "found"),
    [
        ("0::/system.slice/bridge.service", ["system.slice/bridge.service", "system.slice", ""]),
        ("1:cpu:/elsewhere\n0::/service", ["service", ""]),
        ("0::/", [""]),
        ("1:cpu:/elsewhere", []),
        ("", []),
    ],
    ids=["service", "with version 1", "container", "only version 1", "empty"],
)
def test_the_cgroups_of_a_process(tmp_path: Path, membership: str, found: list[str]) -> None:
    (file := tmp_path / "membership").write_text(membership + "\n", "utf-8")
    groups = tmp_path / "cgroup"
    assert list(own_cgroups(file, groups)) == [groups / name for name in found]


def test_a_system_without_cgroups_has_none(tmp_path: Path) -> None:
    assert list(own_cgroups(tmp_path / "missing", tmp_path)) == []
