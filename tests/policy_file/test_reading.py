"""Reading the files that a policy names."""

from __future__ import annotations

from pathlib import Path

from ibcm_bridge.policy_file import yaml_tree
from ibcm_bridge.policy_file.reading import Reading, file_state


def test_the_first_state_of_a_file_counts(tmp_path: Path) -> None:
    """Otherwise a file that changes between two reads would not be read again."""
    (file := tmp_path / "root.pem").write_bytes(b"first")
    reading = Reading(tmp_path / "bridge.yaml", yaml_tree.read_yaml("{}"))
    before = file_state(file)
    assert reading.read((), "root.pem") == b"first"
    file.write_bytes(b"the second")
    assert reading.read((), "root.pem") == b"the second"
    assert reading.files == {file: before}
    assert file_state(file) != before
