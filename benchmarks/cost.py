"""`python -m benchmarks.cost [BASE]`: refuses a change that makes the bridge slower.

It counts the instructions of `benchmarks.instructions` in the commit BASE (default: the parent of
HEAD) and in HEAD, at the same time, with the same interpreter and packages; each commit with its
own benchmark. It fails if a count grows by more than 3 %, unless the message of a commit after BASE
has a line `Cost: REASON`. If HEAD has no parent, as in a shallow clone, there is nothing to
compare, and it succeeds; a BASE that the clone does not have is an error.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOLERANCE = 0.03
PARENT = "HEAD~1"
_REASON = re.compile(r"^Cost: *(\S.*)$", re.MULTILINE)


def main() -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description=__doc__)
    parser.add_argument("base", nargs="?", default=PARENT, metavar="BASE")
    base = parser.parse_args().base
    if not is_commit(ROOT, base):
        if base != PARENT:
            parser.error(f"{base} is not a commit of this clone")
        print(f"{base} is not in this clone: nothing to compare.")
        return 0
    with tempfile.TemporaryDirectory(prefix="ibcm-bridge-cost-") as name:
        trees = [extracted(ROOT, commit, Path(name)) for commit in (base, "HEAD")]
        if not all((tree / "benchmarks" / "instructions.py").exists() for tree in trees):
            print(f"{base} cannot count instructions: nothing to compare.")
            return 0
        before, after = _counts(trees)
    lines, slower = compared(before, after)
    print("\n".join(lines))
    if slower and not (reasons := list(given_reasons(ROOT, base))):
        print(f"{' and '.join(slower)}: more than {TOLERANCE:.0%} slower than {base}.")
        print("Make it faster, or say why in a commit message, in a line `Cost: REASON`.")
        return 1
    if slower:
        print("\n".join(f"accepted: {reason}" for reason in reasons))
    return 0


def compared(
    before: Mapping[str, float], after: Mapping[str, float]
) -> tuple[list[str], list[str]]:
    """The lines of the table, and the names of the works that cost too much."""
    lines = [f"{'instructions':14}{'before':>14}{'now':>14}{'change':>10}"]
    slower = []
    for work in before:
        change = after[work] / before[work] - 1
        lines.append(f"{work:14}{before[work]:14,.0f}{after[work]:14,.0f}{change:>+10.1%}")
        if after[work] > before[work] * (1 + TOLERANCE):
            slower.append(work)
    return lines, slower


def given_reasons(repository: Path, base: str) -> Iterator[str]:
    """The reasons in the messages of the commits after `base`."""
    messages = _git(repository, "log", "--format=%B", f"{base}..HEAD").stdout
    return (found[1] for found in _REASON.finditer(messages))


def is_commit(repository: Path, name: str) -> bool:
    """Whether the clone has this commit."""
    if not shutil.which("git"):
        return False
    return not _git(repository, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").returncode


def extracted(repository: Path, commit: str, directory: Path) -> Path:
    """A folder with the files of a commit, from which Python imports them."""
    tree = directory / re.sub(r"\W", "-", commit)
    archive = directory / f"{tree.name}.tar"
    _git(repository, "archive", "--output", str(archive), commit).check_returncode()
    shutil.unpack_archive(archive, tree, filter="data")
    project = tomllib.loads((tree / "pyproject.toml").read_text("utf-8"))
    for package, folder in project["tool"]["setuptools"]["package-dir"].items():
        (tree / folder).rename(tree / package.replace(".", "/"))
    return tree


def _git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _counts(trees: list[Path]) -> Iterator[dict[str, float]]:
    """Count in each tree, all at the same time."""
    processes = [_start(tree) for tree in trees]
    # Wait for both before either can raise.
    statuses = [process.wait() for process in processes]
    for tree, status in zip(trees, statuses, strict=True):
        if status:
            raise SystemExit(f"counting failed in {tree.name}")
        yield json.loads((tree / "counts.json").read_text("utf-8"))


def _start(tree: Path) -> subprocess.Popen[bytes]:
    # Compile everything first: under callgrind it would take minutes.
    subprocess.run([sys.executable, "-m", "compileall", "-q", tree], check=True)
    command = [sys.executable, "-m", "benchmarks.instructions", "--json", "counts.json"]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    return subprocess.Popen(command, cwd=tree, env=environment, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
