"""`ibcm-bridge check`: its exit status."""

import sys
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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit")
@pytest.mark.parametrize("command", ["check", "run"])
def test_more_connections_than_descriptors_are_a_problem(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    import resource  # noqa: PLC0415

    make_pki(tmp_path)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 1_024))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    assert main([command, "--config", str(tmp_path / "bridge.yaml")]) == 1
    printed = capsys.readouterr()
    assert "limits.connections: 1000 connections need 2064 file descriptors" in (
        printed.out + printed.err
    )
