"""Reads the inputs: options first, then the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ibcm_bridge.commands.init.questions import (
    ONLY_FOR_PEM,
    ONLY_WITH,
    PFX_SUFFIXES,
    PUBLISHED,
    QUESTIONS,
    InputError,
    Question,
)

type Inputs = Mapping[str, tuple[str, ...]]
"""The inputs by question, as the policy has them. A question without input is missing."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where a person inputs."""

    ask: Callable[[str], str]
    """Prints a prompt and returns the line that was typed."""
    say: Callable[[str], None]


def is_pfx(file: str) -> bool:
    return Path(file).suffix.lower() in PFX_SUFFIXES


def read_inputs(given: Mapping[str, Sequence[str]], terminal: Terminal | None) -> Inputs:
    """Return the inputs. `given` are those of the command line.

    The terminal is asked, also for optional values, only if a needed value is missing. It is None
    if nobody can be asked. InputError with all problems, or all missing options.
    """
    inputs = _of_options(given)
    missing = [*_missing(inputs)]
    if missing and terminal is None:
        raise InputError(f"missing: {', '.join(missing)}")
    for question in QUESTIONS:
        if question.key in inputs or not _is_asked(question, inputs):
            continue
        if missing and terminal is not None:
            inputs[question.key] = _of_terminal(question, terminal)
        elif question.default:
            inputs[question.key] = (question.default,)
    if not any(inputs.get(key) for key in PUBLISHED):
        raise InputError("nothing to publish; name at least one site system")
    return {key: text for key, text in inputs.items() if text}


def _missing(inputs: Inputs) -> Iterator[str]:
    for question in QUESTIONS:
        needed = _is_needed(question) and _is_asked(question, inputs)
        if needed and question.key not in inputs:
            yield f"--{question.key} {question.metavar}"
    if not any(key in inputs for key in PUBLISHED):
        yield f"one of {', '.join(f'--{key}' for key in PUBLISHED)}"


def _of_options(given: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    inputs: dict[str, tuple[str, ...]] = {}
    problems = []
    for question in QUESTIONS:
        texts = given.get(question.key, ())
        try:
            if texts:
                inputs[question.key] = tuple(map(question.read, texts))
        except InputError as error:
            problems.append(f"--{question.key}: {error}")
    for key, certificate in ONLY_FOR_PEM.items():
        if key in inputs and is_pfx(inputs.get(certificate, ("",))[0]):
            problems.append(f"--{key}: a PFX file has its own key; omit this option")
    for key, role in ONLY_WITH.items():
        if key in inputs and role not in inputs:
            problems.append(f"--{key}: only with --{role}")
    if problems:
        raise InputError("\n".join(problems))
    return inputs


def _is_asked(question: Question, inputs: Inputs) -> bool:
    if certificate := ONLY_FOR_PEM.get(question.key):
        return certificate in inputs and not is_pfx(inputs[certificate][0])
    role = ONLY_WITH.get(question.key)
    return role is None or bool(inputs.get(role))


def _is_needed(question: Question) -> bool:
    return question.default is None or question.key in ONLY_FOR_PEM


def _of_terminal(question: Question, terminal: Terminal) -> tuple[str, ...]:
    """Ask until the input can be used. An empty line ends a list."""
    found: list[str] = []
    while True:
        line = terminal.ask(_prompt(question, len(found))).strip()
        if not line and question.default:
            return (question.default,)
        if not line and (found or not _is_needed(question)):
            return tuple(found)
        try:
            if not line:
                raise InputError("a value is needed")
            found.append(question.read(line))
        except InputError as error:
            terminal.say(f"  {error}")
            continue
        if not question.many:
            return tuple(found)


def _prompt(question: Question, number: int) -> str:
    if number:
        return "  another one (empty: no more): "
    end = f" [{question.default}]" if question.default else ""
    if not end and not _is_needed(question):
        end = " (empty: none)"
    return f"{question.text[0].upper()}{question.text[1:]}{end}: "
