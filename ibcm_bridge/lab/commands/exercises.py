"""`ibcm-bridge lab exercise`: a policy with one mistake, to be corrected; the lab checks it.

1. Without a file, the command lists the exercises. With a file that does not exist, it writes the
   policy with the mistake.
2. With a file that exists, it starts a perimeter with this policy and sends cases. The exercise is
   solved if each case has the outcome that its requirement demands.
"""

from __future__ import annotations

import io
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ibcm_bridge.lab.cases.policy import demo_policy
from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.errors import LabError, error_message
from ibcm_bridge.lab.perimeter.perimeter import Perimeter


@dataclass(frozen=True)
class Exercise:
    """A task, the mistake in the policy, and the cases that check the solution."""

    name: str
    task: str
    right: str
    """A text that occurs once in the demo's policy."""
    wrong: str
    """The text in its place."""
    cases: tuple[str, ...]
    hints: tuple[str, ...]

    def policy(self) -> str:
        """Return the policy with the mistake."""
        return demo_policy().replace(self.right, self.wrong)


EXERCISES = {
    exercise.name: exercise
    for exercise in (
        Exercise(
            "identity",
            "A client gets the policy of another client: it names the other client's GUID. Change "
            "the policy so that the bridge refuses this.",
            "identity: enforce\n  intranet_only: enforce\n  signatures: enforce",
            "identity: observe\n  intranet_only: enforce\n  signatures: observe",
            ("spoofed-payload", "policy-request"),
            (
                "The audit record of the message already says what is wrong, in `observed`.",
                "The section `messages` says which findings the bridge only reports.",
                "`observe` reports a finding, `enforce` refuses.",
            ),
        ),
        Exercise(
            "host-names",
            "Replies to the Internet contain the name of a host of the intranet. Change the policy "
            "so that no such reply leaves the perimeter.",
            "host_names: enforce",
            "host_names: observe",
            ("leaked-host-name", "leaked-listing", "policy-request"),
            (
                "The request is valid. Look for a rule about responses.",
                "docs/policy-file.md describes the keys of the section `messages`.",
            ),
        ),
        Exercise(
            "users",
            "Legacy mobile devices authenticate with a user certificate. Change the policy so that "
            "they can connect to users.internet.example, and only there.",
            "certificate: user\n",
            "certificate: computer\n",
            ("user-for-users", "user-for-computers"),
            (
                "The bridge ends the handshake, so the mistake is not in a role.",
                "Each publication says which certificates its clients need, under `clients`.",
            ),
        ),
    )
}


def lab_exercise(name: str | None, file: Path | None, hints: int) -> int:
    """List the exercises, write the policy of one, or check a solution; return the exit status."""
    if name is None or file is None:
        for exercise in EXERCISES.values():
            print(f"{exercise.name}: {exercise.task}\n")
        print("To begin: ibcm-bridge lab exercise NAME FILE")
        return 0
    exercise = EXERCISES[name]
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A code page without the marks must not end the command; the words say the same.
        sys.stdout.reconfigure(errors="replace")
    try:
        if not file.exists():
            file.write_text(exercise.policy(), "utf-8")
            print(f"{exercise.task}\n\nEdit {file}, then run the same command again.")
            return 0
        results = checked(file.read_text("utf-8"), exercise.cases)
    except UnicodeDecodeError:
        return _fail(f"{file} is not UTF-8 text")
    except (LabError, OSError, RuntimeError) as error:
        return _fail(error_message(error, file, "name another file, or set TMPDIR"))
    return _print_results(exercise, results, hints)


def _fail(why: str) -> int:
    print(f"ibcm-bridge lab: {why}", file=sys.stderr)
    return 1


def _print_results(
    exercise: Exercise, results: list[tuple[str, tuple[str, ...]]], hints: int
) -> int:
    for case, problems in results:
        print(f"✗ NOT AS REQUIRED: {case}; {problems[0]}" if problems else f"✓ AS REQUIRED: {case}")
    if not any(problems for _, problems in results):
        print("Solved.")
        return 0
    for number, hint in enumerate(exercise.hints[:hints], 1):
        print(f"Hint {number}: {hint}")
    if hints < len(exercise.hints):
        print(f"Not solved yet. For a hint, add: --hints {hints + 1}")
    return 1


def checked(policy: str, cases: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the title and the deviations of each case, sent through a bridge with this policy."""
    known = {case.id: case for case in CASES}
    with (
        tempfile.TemporaryDirectory(prefix="ibcm-bridge-exercise-") as folder,
        Perimeter(Path(folder), policy=policy) as perimeter,
    ):
        results = [perimeter.comparison.result(known[case]) for case in cases]
        return [(result.case.title, result.problems) for result in results]
