"""The command line, without a running bridge."""

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from mitmproxy import version

from ibcm_bridge import __version__
from ibcm_bridge.addons import tested_mitmproxy
from ibcm_bridge.addons.run import serve as runner
from ibcm_bridge.commands.main import COMMANDS, _parser, main
from ibcm_bridge.lab.commands import up
from ibcm_bridge.lab.demo import demo
from tests.little_room import ON_UNIX, largest_file

UNTESTED = "12.9.0"
REFUSED = (
    f"mitmproxy {UNTESTED} is not a tested version; install 12.2.x or 12.3.x, or pass "
    "--untested-mitmproxy"
)


def test_without_a_command_it_shows_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "ibcm-bridge demo" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        *("demo", "init", "run", "reload", "check", "explain", "identity", "audit", "lab"),
        *("capacity", "fetch", "pki"),
    ],
)
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
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
        "import sys; from ibcm_bridge.commands.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('mitmproxy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0


def test_pki_creates_certificates_and_a_policy(
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


@pytest.mark.slow
@ON_UNIX
@pytest.mark.parametrize("was_there", [False, True])
def test_certificates_that_do_not_fit_do_not_prevent_a_second_run(
    tmp_path: Path, was_there: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pki"
    if was_there:
        folder.mkdir(mode=0o700)
    with largest_file(1_500):
        assert main(["pki", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"ibcm-bridge pki: {tmp_path} cannot be written: the file would exceed the size limit; "
        "raise the limit (ulimit -f), or name another DIR\n"
    )
    assert [*tmp_path.rglob("*")] == [folder] * was_there
    assert main(["pki", str(tmp_path)]) == 0


@pytest.mark.parametrize(("arguments", "begins"), [([], False), (["--untested-mitmproxy"], True)])
def test_an_untested_mitmproxy_requires_an_option(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    begins: bool,
) -> None:
    begun = []

    async def run(*_: object) -> None:
        begun.append(True)

    monkeypatch.setattr(version, "VERSION", UNTESTED)
    monkeypatch.setattr(runner, "run", run)
    assert main(["pki", str(tmp_path)]) == 0
    with (tmp_path / "bridge.yaml").open("a") as policy:
        policy.write("workers: 1\n")
    status = main(["run", "--config", str(tmp_path / "bridge.yaml"), *arguments])
    assert (status == 0) is bool(begun) is begins
    printed = capsys.readouterr().err
    assert (f"ibcm-bridge: cannot start: {REFUSED}" in printed.splitlines()) is not begins


@pytest.mark.parametrize("other", ["11.1.3", "12.1.2", "12.20.0", "12.30.1", "13.0.0", "12"])
def test_a_version_is_tested_by_its_minor_version(
    monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    for minor in tested_mitmproxy.TESTED:
        monkeypatch.setattr(version, "VERSION", f"{minor}.7")
        assert tested_mitmproxy.why_untested() is None
    monkeypatch.setattr(version, "VERSION", other)
    assert f"mitmproxy {other} is not a tested version" in (tested_mitmproxy.why_untested() or "")


def test_check_reports_what_run_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pki", str(tmp_path)]) == 0
    check = ["check", "--config", str(tmp_path / "bridge.yaml")]
    assert main(check) == 0
    monkeypatch.setattr(version, "VERSION", UNTESTED)
    assert main([*check, "--untested-mitmproxy"]) == 0
    assert UNTESTED not in capsys.readouterr().out
    assert main(check) == 1
    assert f"PROBLEM: cannot start: {REFUSED}" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("command", "module", "begins"),
    [(["demo"], demo, "run_demo"), (["lab", "up"], up, "lab_up")],
    ids=["demo", "lab up"],
)
def test_commands_that_start_a_bridge_refuse_an_untested_mitmproxy(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    module: ModuleType,
    begins: str,
) -> None:
    begun = []

    def begin(*_: object, untested: bool, **__: object) -> int:
        begun.append(untested)
        return 0

    monkeypatch.setattr(version, "VERSION", UNTESTED)
    monkeypatch.setattr(module, begins, begin)
    assert main(command) == 1
    assert begun == []
    assert capsys.readouterr().err == f"ibcm-bridge {command[0]}: cannot start: {REFUSED}\n"
    assert main([*command, "--untested-mitmproxy"]) == 0
    monkeypatch.undo()
    monkeypatch.setattr(module, begins, begin)
    assert main(command) == 0
    assert begun == [True, False]


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _parsers(child)


def test_a_command_loads_only_its_own_modules() -> None:
    """A scene starts within 2 seconds; the modules of all commands take half of that."""
    code = (
        "import sys; from ibcm_bridge.commands.main import main; "
        "main(['lab', 'client', '--scene', 'list']); print(*sorted(sys.modules), sep='\\n')"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(shown.stdout.splitlines())
    assert "ibcm_bridge.lab.scenes.command" in loaded
    slow = {"ibcm_bridge.commands.identity", "ibcm_bridge.storage.stores", "pydantic", "yara_x"}
    assert loaded & slow == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_the_parser_of_its_name(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([name, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: ibcm-bridge {name} ")


PARSERS = {parser.prog: parser for parser in _parsers(_parser())}


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
def test_help_texts_are_imperative_and_fit_a_terminal(
    parser: argparse.ArgumentParser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert all(len(line) < 80 for line in parser.format_help().splitlines())
    text = parser.description or ""
    assert text.endswith(".")
    # "Start", not "Starts".
    sentences = re.findall(r"(?:^|\. )([A-Z]\w+)", text)
    assert not [word for word in sentences if word in THIRD_PERSON]
    for action in parser._actions:
        texts = [choice.help for choice in getattr(action, "_choices_actions", ())] or [action.help]
        assert all(text and not text.endswith(".") and text[0] != " " for text in texts)


THIRD_PERSON = {"Checks", "Connects", "Creates", "Evaluates", "Loads", "Manages", "Prints", "Runs"}
THIRD_PERSON |= {"Sends", "Shows", "Simulates", "Starts", "Stops", "Used"}


@pytest.mark.parametrize(
    "parser", [parser for parser in PARSERS.values() if parser.epilog], ids=lambda one: one.prog
)
def test_an_example_of_a_help_text_is_valid(parser: argparse.ArgumentParser) -> None:
    example = re.fullmatch(r".*?: ibcm-bridge (.*)", parser.epilog or "")
    assert example
    assert hasattr(_parser().parse_args(shlex.split(example[1])), "run")


def test_the_example_of_explain_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pki", str(tmp_path)]) == 0
    epilog = PARSERS["ibcm-bridge explain"].epilog or ""
    example = epilog.rpartition(": ibcm-bridge ")[2].replace("DIR/", f"{tmp_path}/")
    assert main(shlex.split(example)) == 1
    assert "DENY verb, by management-point.verbs (VERB-MP)" in capsys.readouterr().out
