"""One policy file being read: its tree, the files it names, and every problem found so far."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from pathlib import Path

from ibcm_bridge.policy_file import yaml_tree
from ibcm_bridge.policy_file.folders import is_folder


class PolicyError(Exception):
    """A policy that cannot be used. `problems` are lines for people, in the order of the file."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(slots=True)
class Reading:
    """Collects what is wrong, and reads files relative to the policy's."""

    path: Path
    tree: yaml_tree.Tree
    left_out: set[yaml_tree.Place] = field(default_factory=set)
    """Places that have a problem already. What is read there, if anything, was not written so."""

    def is_left_out(self, where: yaml_tree.Place) -> bool:
        """Whether this place, or one that it is in, is left out."""
        return any(where[:length] in self.left_out for length in range(len(where) + 1))

    def is_whole(self, where: yaml_tree.Place) -> bool:
        """Whether neither this place, one that it is in, nor one in it is left out."""
        inside = any(place[: len(where)] == where for place in self.left_out)
        return not inside and not self.is_left_out(where)

    def report(self, where: yaml_tree.Place, message: str) -> None:
        """Note a problem at this place, unless it is left out."""
        if self.is_left_out(where):
            return
        self.tree.problems.append(yaml_tree.Problem(self.tree.line(where), where, message))

    def reword(self, where: yaml_tree.Place, wanted: str) -> None:
        """Say what is wanted where YAML converts a value, once: in quotes it would not do."""
        message = f"{self.tree.traps.pop(where)}; {wanted}"
        self.tree.problems = [
            yaml_tree.Problem(problem.line, where, message) if problem.place == where else problem
            for problem in self.tree.problems
        ]

    def sorted_problems(self) -> list[str]:
        """All problems as lines, in the order of the file.

        One behind an alias is reported once, at the place where it is written.
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
        """A path of the file, which is relative to it."""
        return self.path.parent / name

    def read(self, where: yaml_tree.Place, name: str) -> bytes | None:
        """The bytes of a file; None, and a problem, where it cannot be read."""
        try:
            return self.relative(name).read_bytes()
        except OSError as error:
            self.report(where, f"{self.relative(name)} cannot be read: {why(error)}")
            return None


def _printable(text: str) -> str:
    """Without what a terminal would act on: a policy may hold anything."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def why(error: OSError | UnicodeDecodeError) -> str:
    """An error in words, without the path."""
    return error.strerror or "unknown" if isinstance(error, OSError) else "not UTF-8 text"


def database_file(reading: Reading, where: yaml_tree.Place, name: str | None) -> Path | None:
    """A file that the bridge makes where there is none; None where the policy names none."""
    if name is None:
        return None
    path = reading.relative(name)
    if is_folder(path):
        reading.report(where, f"{path} is a folder; name a file in it")
    elif not is_folder(path.parent):
        reading.report(where, f"there is no folder {path.parent}")
    return path


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> datetime.timedelta:
    """A time as the rows have it: a number and its unit."""
    return datetime.timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
