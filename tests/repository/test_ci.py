""".ci/run leaves no test out, and fails if one of the commands that it runs in parallel fails."""

import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.reading import until

ROOT = Path(__file__).parents[2]
CI = (ROOT / ".ci/run").read_text("utf-8")
PARALLEL = f"set -euo pipefail\nsource {shlex.quote(str(ROOT / '.ci/parallel'))}\n"
IGNORE = "--ignore="
# In place of the functions and programs that the division of the tests uses.
PRINTS = """
set -euo pipefail
begin() { shift; "$@"; }
make() { printf 'sources\\n'; [[ $1 == test && $2 == TESTS=* ]]; printf '%s\\n' ${2#TESTS=}; echo; }
test_the_wheel() { printf 'wheel\\n'; printf '%s\\n' "$@"; echo; }
step() { :; }
end_all() { :; }
"""


def bash(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


# The division of the tests


class Run:
    """The arguments of one run of pytest: paths to test, and paths to ignore."""

    def __init__(self, arguments: list[str]) -> None:
        # Both forms of the option.
        text = " ".join(arguments).replace("--ignore ", IGNORE)
        words = [word.removesuffix("/") for word in text.split()]
        self.ignored = {word.removeprefix(IGNORE) for word in words if word.startswith(IGNORE)}
        self.paths = {word for word in words if not word.startswith(IGNORE)}
        assert all((ROOT / path).exists() for path in self.paths | self.ignored)

    def has(self, path: str) -> bool:
        """Whether this run has a test file."""
        parents = {path, *(str(parent) for parent in Path(path).parents)}
        return (not self.paths or bool(parents & self.paths)) and not parents & self.ignored


def runs() -> Iterator[tuple[str, Run]]:
    """Each run of pytest in .ci/run: `sources` or `wheel`, and its arguments."""
    division = CI[CI.index("apart=(") : CI.index('step "make fuzz')]
    done = bash(PRINTS + division)
    assert done.returncode == 0, done.stderr
    for block in done.stdout.strip().split("\n\n"):
        of, *arguments = block.splitlines()
        yield of, Run(arguments)


RUNS = list(runs())
FILES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py"))
NEEDS_SOURCES = {
    "tests/integration/test_firewall.py",  # the run on the sources has these namespaces
    "tests/integration/test_prometheus.py",
    "tests/integration/test_rotation.py",
}


def number_of_runs(of: str, file: str) -> int:
    return sum(run.has(file) for name, run in RUNS if name == of)


def test_the_sources_run_each_test_once() -> None:
    assert {file: count for file in FILES if (count := number_of_runs("sources", file)) != 1} == {}


def test_the_wheel_runs_each_test_once_that_needs_no_sources() -> None:
    expected = {
        file: int(not file.startswith("tests/repository/") and file not in NEEDS_SOURCES)
        for file in FILES
    }
    assert {file: number_of_runs("wheel", file) for file in FILES} == expected


def test_one_run_has_all_tests_that_use_the_namespaces_of_the_lab() -> None:
    build = "firewall.existing" + "()"
    using = [file for file in FILES if build in (ROOT / file).read_text("utf-8")]
    assert len(using) == 2
    assert [sum(map(run.has, using)) for _, run in RUNS if any(map(run.has, using))] == [2]


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
