"""The state of reading one policy file: its values, the files it names, and its problems."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from pathlib import Path

from ibcm_bridge.policy.policy import FileState
from ibcm_bridge.policy_file import yaml_tree
from ibcm_bridge.policy_file.folders import is_folder


class PolicyError(Exception):
    """A policy with problems. `problems` are lines for people, in the order of the file."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def file_state(path: Path) -> FileState:
    """Return what changes with a file: path, inode, size and time; zeros for a missing file."""
    try:
        status = path.stat()
    except OSError:
        return path, 0, 0, 0
    return path, status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(slots=True)
class Reading:
    """Collects problems, and reads files relative to the policy file."""

    path: Path
    tree: yaml_tree.Tree
    left_out: set[yaml_tree.Place] = field(default_factory=set)
    """Sections with a reported problem: their values are defaults or placeholders."""
    files: dict[Path, FileState] = field(default_factory=dict)
    """The files with certificates, keys and passphrases, each as it was before it was read."""

    def is_left_out(self, where: yaml_tree.Place) -> bool:
        """Return whether this place, or one that contains it, is left out."""
        return any(where[:length] in self.left_out for length in range(len(where) + 1))

    def report(self, where: yaml_tree.Place, message: str) -> None:
        """Add a problem at this place, unless it is left out."""
        if self.is_left_out(where):
            return
        self.tree.problems.append(yaml_tree.Problem(self.tree.line(where), where, message))

    def sorted_problems(self) -> list[str]:
        """Return all problems as lines, in the order of the file.

        A problem in a value with aliases appears once, at the place where the value is written.
        """
        found: dict[tuple[yaml_tree.Place, str], yaml_tree.Problem] = {}
        for problem in self.tree.problems:
            written_at = self.tree.written_at(problem.place)
            if problem.place == written_at or (written_at, problem.message) not in found:
                found[written_at, problem.message] = problem
        return [
            _printable(
                f"{self.path}:{problem.line}: "
                + (f"{'.'.join(map(str, problem.place))}: " if problem.place else "")
                + problem.message
            )
            for problem in sorted(found.values(), key=lambda problem: problem.line)
        ]

    def relative(self, name: str) -> Path:
        """Return the path for a name in the file, relative to the file."""
        return self.path.parent / name

    def read(self, where: yaml_tree.Place, name: str) -> bytes | None:
        """Return the bytes of a file. If it cannot be read, report that and return None."""
        path = self.relative(name)
        # The first state: a change between two reads must be noticed.
        self.files.setdefault(path, file_state(path))
        try:
            return path.read_bytes()
        except OSError as error:
            self.report(where, f"{self.relative(name)} cannot be read: {why(error)}")
            return None


def _printable(text: str) -> str:
    """Escape control characters: a policy may contain any text."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def why(error: OSError | UnicodeDecodeError) -> str:
    """Return the text of an error, without the path."""
    return error.strerror or "unknown" if isinstance(error, OSError) else "not UTF-8 text"


def database_file(reading: Reading, where: yaml_tree.Place, name: str | None) -> Path | None:
    """Return the path of a database, which the bridge creates if needed; None if not configured."""
    if name is None:
        return None
    path = reading.relative(name)
    if is_folder(path):
        reading.report(where, f"{path} is a folder; write the name of a file in it")
    elif not is_folder(path.parent):
        reading.report(where, f"there is no folder {path.parent}; create it")
    return path


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> datetime.timedelta:
    """Return the time for a `Duration`: a number and its unit."""
    return datetime.timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
