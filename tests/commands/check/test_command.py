"""`ibcm-bridge check`: its exit status."""

from pathlib import Path

import pytest

from ibcm_bridge.commands.main import main
from ibcm_bridge.lab.pki.files import make_pki


def test_the_command_exits_with_0_or_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_pki(tmp_path)
    assert main(["check", "--config", str(tmp_path / "bridge.yaml")]) == 0
    assert "0 problems, 1 warning\n" in capsys.readouterr().out
    (tmp_path / "pki/bridge-server.pem").write_bytes(
        (tmp_path / "pki/mp01.pem").read_bytes(),
    )
    (tmp_path / "pki/bridge-server.key").write_bytes((tmp_path / "pki/mp01.key").read_bytes())
    assert main(["check", "--config", str(tmp_path / "bridge.yaml")]) == 1
    printed = capsys.readouterr().out
    # The name is published on two ports, so each finding has the port.
    for port in (8443, 8531):
        where = f"127.0.0.1:{port}: bridge.internet.example: certificate"
        assert f"PROBLEM: {where}: issued for mp01.corp.example" in printed


def test_a_policy_that_does_not_load_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--config", str(tmp_path / "none.yaml")]) == 1
    assert "cannot be read" in capsys.readouterr().err
