""".ci/run leaves no test out, and fails if one of the commands that it runs in parallel fails."""

import re
import shlex
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.integration.reading import until

ROOT = Path(__file__).parents[2]
CI = (ROOT / ".ci/run").read_text("utf-8")
PARALLEL = f"set -euo pipefail\nsource {shlex.quote(str(ROOT / '.ci/parallel'))}\n"
IGNORE = "--ignore="
TESTS = CI[CI.index("needs_sources=(") : CI.index('step "make fuzz')]
# In place of pytest: writes its arguments to a file. The program `fails` decides about its status.
PYTEST = """#!/usr/bin/env bash
# A file for each: four of these run at the same time.
printf '%s\\n' "$OF" "$@" >"$(mktemp "$away/run.XXXXXX")"
"$away/fails" "$*" && exit 1
exit 0
"""
BEGIN = """
trap stop_all EXIT
step() { printf '%s\\n' "$*"; }
make() { [[ $1 == test && $2 == TESTS=* ]]; OF=sources "$away/pytest" ${2#TESTS=}; }
export OF=wheel
"""


def bash(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


# The division of the tests


class Run:
    """The arguments of one run of pytest: its cache, paths to test, and paths to ignore."""

    def __init__(self, arguments: list[str]) -> None:
        option, self.cache, *others = arguments
        assert option == "-o"
        words = [word.removesuffix("/") for word in others]
        self.ignored = {word.removeprefix(IGNORE) for word in words if word.startswith(IGNORE)}
        self.paths = {word for word in words if not word.startswith(IGNORE)}
        assert all((ROOT / path).exists() for path in self.paths | self.ignored)

    def has(self, path: str) -> bool:
        """Whether this run has a test file."""
        parents = {path, *(str(parent) for parent in Path(path).parents)}
        return (not self.paths or bool(parents & self.paths)) and not parents & self.ignored


def ci_tests(away: Path, fails: str) -> tuple[subprocess.CompletedProcess[str], list[list[str]]]:
    """Run the part of .ci/run that runs pytest: its result, and the arguments of each pytest.

    The first argument is `sources` or `wheel`. A pytest fails if the command `fails` succeeds.
    """
    away.mkdir(exist_ok=True)
    programs = {"pytest": PYTEST, "fails": f"#!/usr/bin/env bash\n{fails}\n"}
    for name, text in programs.items():
        (away / name).write_text(text, "utf-8")
        (away / name).chmod(0o700)
    (away / "venv/bin").mkdir(parents=True)
    (away / "venv/bin/pytest").symlink_to(away / "pytest")
    done = bash(f"{PARALLEL}export away={shlex.quote(str(away))}\n{BEGIN}{TESTS}")
    return done, [file.read_text("utf-8").splitlines() for file in away.glob("run.*")]


@cache
def runs() -> list[tuple[str, Run]]:
    with TemporaryDirectory() as folder:
        done, calls = ci_tests(Path(folder) / "away", "false")
    assert done.returncode == 0, done.stderr
    return [(of, Run(arguments)) for of, *arguments in calls]


FILES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py"))
FILES_THAT_NEED_SOURCES = {
    "tests/integration/test_firewall.py",  # the run on the sources has these namespaces
    "tests/integration/test_prometheus.py",
    "tests/integration/test_rotation.py",
}
# A make target of their own runs these.
OWN_TARGET = ("tests/containers/", "tests/fuzzing/", "tests/soak/")
# The code in these folders uses mitmproxy, or starts a bridge.
WITH_EACH_MITMPROXY = ("tests/addons/", "tests/commands/", "tests/integration/")
IMPORTS_MITMPROXY = re.compile(r"^ *(from|import) (mitmproxy|ibcm_bridge\.addons)", re.MULTILINE)


def number_of_runs(of: str, file: str) -> int:
    return sum(run.has(file) for name, run in runs() if name == of)


def needs_sources(file: str) -> bool:
    return file.startswith("tests/repository/") or file in FILES_THAT_NEED_SOURCES


def uses_mitmproxy(file: str) -> bool:
    if file.startswith(OWN_TARGET):
        return False
    text = (ROOT / file).read_text("utf-8")
    return file.startswith(WITH_EACH_MITMPROXY) or bool(IMPORTS_MITMPROXY.search(text))


def test_the_wheel_runs_each_test_once_that_needs_no_sources() -> None:
    expected = {file: int(not needs_sources(file)) for file in FILES}
    assert {file: number_of_runs("wheel", file) for file in FILES} == expected


def test_the_sources_run_each_test_once_that_needs_them_or_uses_mitmproxy() -> None:
    counts = {file: number_of_runs("sources", file) for file in FILES}
    wanted = {file for file in FILES if needs_sources(file) or uses_mitmproxy(file)}
    assert {file for file, count in counts.items() if count == 0} & wanted == set()
    assert {file for file, count in counts.items() if count > 1} == set()


def test_one_run_has_all_tests_that_use_the_namespaces_of_the_lab() -> None:
    build = "firewall.existing" + "()"
    using = [file for file in FILES if build in (ROOT / file).read_text("utf-8")]
    assert len(using) == 2
    assert [sum(map(run.has, using)) for _, run in runs() if any(map(run.has, using))] == [2]


def test_each_run_has_a_cache_of_its_own() -> None:
    assert len({run.cache for _, run in runs()}) == len(runs()) == 4


# A test that fails


def test_tests_that_fail_run_once_more(tmp_path: Path) -> None:
    # Two of four parts fail, and pass when they are run again.
    fails = "[[ $1 == *cache/sources\\ * || $1 == *cache/wheel_processes* ]] && [[ $1 != *last* ]]"
    done, calls = ci_tests(tmp_path / "away", fails)
    assert done.returncode == 0, done.stderr
    again = [call for call in calls if "--last-failed" in call]
    assert len(calls) == 6
    for call in again:
        rest = ["--last-failed", "--last-failed-no-failures", "none"]
        assert call[-3:] == rest
        assert call[:-3] in calls
    assert "sources: the tests that failed, once more and alone\n" in done.stdout
    assert "wheel_processes: the tests that failed, once more and alone\n" in done.stdout


@pytest.mark.parametrize("part", ["sources", "sources_apart", "wheel", "wheel_processes"])
def test_a_test_that_fails_twice_fails_the_run(tmp_path: Path, part: str) -> None:
    done, calls = ci_tests(tmp_path / "away", f"[[ $1 == *cache/{part}\\ * ]]")
    assert done.returncode == 1
    assert len(calls) == 5


# The commands in parallel


def test_commands_run_at_the_same_time_and_the_end_of_each_is_printed() -> None:
    script = """
    begin first bash -c 'until [ -e "$0"/second ]; do sleep 0.01; done; seq 10' "$outputs"
    begin second touch "$outputs/second"
    end_all
    """
    done = bash(PARALLEL + script + "stop_all\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "\n== first\n8\n9\n10\n\n== second\n"


def test_a_failure_is_printed_in_full_and_the_others_are_waited_for() -> None:
    script = """
    trap stop_all EXIT
    fails() { seq 5; false; echo never; }
    begin first fails
    begin second bash -c 'sleep 0.5; echo all'
    end_all
    echo never
    """
    done = bash(PARALLEL + script)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == "\n== first: failed\n1\n2\n3\n4\n5\n\n== second\nall\n"


@pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")
@pytest.mark.parametrize("ends", ["exit", "SIGTERM"])
def test_the_end_of_the_script_ends_the_commands_and_their_children(
    tmp_path: Path, ends: str
) -> None:
    file = tmp_path / "children"
    # A shell with a child: its signals do not reach the child.
    script = f"""
    trap stop_all EXIT
    begin waits bash -c 'sleep 600 & echo $! $$ >{shlex.quote(str(file))}.new
        mv {shlex.quote(str(file))}.new {shlex.quote(str(file))}; wait'
    until [ -e {shlex.quote(str(file))} ]; do sleep 0.01; done
    {"exit" if ends == "exit" else "while true; do sleep 0.01; done"}
    """
    with subprocess.Popen(["bash", "-c", PARALLEL + script]) as process:
        until(file.exists, "a child", 20)
        if ends == "SIGTERM":
            process.send_signal(signal.SIGTERM)
        process.wait(20)
    for child in map(int, file.read_text("ascii").split()):
        until(lambda child=child: not _runs(child), "its end", 20)


def _runs(process: int) -> bool:
    status = Path(f"/proc/{process}/stat")
    try:
        # A zombie was killed; its parent may be slow to collect it.
        return status.read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
