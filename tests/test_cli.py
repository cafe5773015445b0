"""The command line, as far as it does not serve."""

import subprocess
import sys
from pathlib import Path

import pytest
from mitmproxy import version

from ibcm_bridge import __version__
from ibcm_bridge.addons import runner
from ibcm_bridge.cli import main
from tests.little_room import ON_UNIX, largest_file


def test_without_a_command_it_shows_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "ibcm-bridge demo" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["demo", "run", "check", "explain", "identity", "lab", "pki"])
def test_each_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    assert exit_.value.code == 0
    assert f"ibcm-bridge {command}" in capsys.readouterr().out


def test_version_is_the_package_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"ibcm-bridge {__version__}\n"


def test_help_does_not_load_mitmproxy() -> None:
    code = (
        "import sys; from ibcm_bridge.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('mitmproxy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0


def test_pki_makes_certificates_and_a_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pki", str(tmp_path)]) == 0
    assert (tmp_path / "pki" / "root.pem").exists()
    assert (tmp_path / "bridge.yaml").exists()
    assert f"ibcm-bridge check --config {tmp_path / 'bridge.yaml'}" in capsys.readouterr().out


def test_pki_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bridge.yaml").write_text("mine")
    assert main(["pki", str(tmp_path)]) == 0
    root = (tmp_path / "pki" / "root.pem").read_bytes()
    assert main(["pki", str(tmp_path)]) == 1
    assert (tmp_path / "bridge.yaml").read_text() == "mine"
    assert (tmp_path / "pki" / "root.pem").read_bytes() == root
    assert "ibcm-bridge pki: " in capsys.readouterr().err


@ON_UNIX
@pytest.mark.parametrize("was_there", [False, True])
def test_certificates_that_do_not_fit_are_not_in_the_way_of_the_next(
    tmp_path: Path, was_there: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pki"
    if was_there:
        folder.mkdir(mode=0o700)
    with largest_file(1_500):
        assert main(["pki", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"ibcm-bridge pki: {tmp_path} cannot be written: the file would be larger than it may be; "
        "raise the limit (ulimit -f), or name another DIR\n"
    )
    assert [*tmp_path.rglob("*")] == [folder] * was_there
    assert main(["pki", str(tmp_path)]) == 0


@pytest.mark.parametrize(("arguments", "begins"), [([], False), (["--untested-mitmproxy"], True)])
def test_a_mitmproxy_the_tests_have_not_run_on_has_to_be_asked_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    begins: bool,
) -> None:
    begun = []

    async def run(*_: object) -> None:
        begun.append(True)

    monkeypatch.setattr(version, "VERSION", "12.9.0")
    monkeypatch.setattr(runner, "run", run)
    assert main(["pki", str(tmp_path)]) == 0
    status = main(["run", "--config", str(tmp_path / "bridge.yaml"), *arguments])
    assert (status == 0) is bool(begun) is begins
    assert ("mitmproxy 12.9.0 has not been tested with" in capsys.readouterr().err) is not begins
