"""Reads the inputs: options first, then the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ibcm_bridge.commands.init.questions import (
    MORE,
    ONLY_FOR_PEM,
    ONLY_WITH,
    OPTIONS,
    PUBLISHED,
    QUESTIONS,
    Name,
    Question,
)
from ibcm_bridge.commands.init.readers import InputError, Reader, fqdn, is_pfx

type Inputs = Mapping[str, tuple[str, ...]]
"""The inputs by question, as the policy has them. A question without input is missing. Each site
system has its Internet FQDN: `NAME=URL`, `NAME=URL,ADDRESS:PORT` or `NAME=ADDRESS:PORT`."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where a person inputs."""

    ask: Callable[[str], str]
    """Prints a prompt and returns the line that was typed."""
    say: Callable[[str], None]


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
        if question.key in inputs or not _is_possible(question, inputs):
            continue
        if missing and terminal is not None and (not question.rare or _asks_more(inputs)):
            inputs[question.key] = _of_terminal(question, inputs, terminal)
        elif question.default:
            inputs[question.key] = (question.default,)
    for key in PUBLISHED:
        inputs[key] = tuple(
            text if "=" in text else f"{inputs['name'][0]}={text}" for text in inputs.get(key, ())
        )
    return {key: texts for key, texts in inputs.items() if texts}


def typed(inputs: Inputs, given: Mapping[str, Sequence[str]]) -> bool:
    """Return whether a person typed some of the inputs on the terminal."""
    return any(not given.get(question.key) for question in _not_default(inputs))


def as_options(inputs: Inputs) -> Sequence[str]:
    """Return the options that lead to these inputs without a question."""
    return [
        word
        for question in _not_default(inputs)
        for text in inputs[question.key]
        for word in (f"--{question.key}", text)
    ]


def _not_default(inputs: Inputs) -> Iterator[Question]:
    for question in OPTIONS:
        if inputs.get(question.key, (question.default,)) != (question.default,):
            yield question


def _missing(inputs: Inputs) -> Iterator[str]:
    for question in QUESTIONS:
        needed = _is_needed(question, inputs) and _is_possible(question, inputs)
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
                inputs[question.key] = tuple(_of_option(question, text) for text in texts)
        except InputError as error:
            problems.append(f"--{question.key}: {error}")
    for key, certificate in ONLY_FOR_PEM.items():
        if key in inputs and is_pfx(inputs.get(certificate, ("",))[0]):
            problems.append(f"--{key}: a PFX file has its own key; omit this option")
    for key, roles in ONLY_WITH.items():
        if key in inputs and not any(given.get(role) for role in roles):
            problems.append(f"--{key}: only with {' or '.join(f'--{role}' for role in roles)}")
    if problems:
        raise InputError("\n".join(problems))
    return inputs


def _of_option(question: Question, text: str) -> str:
    if question.name is Name.OWN and "=" not in text:
        raise InputError(f"{text!r} is not {question.metavar}; NAME is its Internet FQDN")
    return question.read(text)


def _is_possible(question: Question, inputs: Inputs) -> bool:
    if certificate := ONLY_FOR_PEM.get(question.key):
        return certificate in inputs and not is_pfx(inputs[certificate][0])
    roles = ONLY_WITH.get(question.key)
    return roles is None or any(inputs.get(role) for role in roles)


def _is_needed(question: Question, inputs: Inputs) -> bool:
    if question.key == "name":
        site_systems = [text for key in PUBLISHED for text in inputs.get(key, ())]
        return not site_systems or any("=" not in text for text in site_systems)
    return question.default is None or question.key in ONLY_FOR_PEM


def _asks_more(inputs: Inputs) -> bool:
    return inputs.get(MORE.key) == ("yes",)


def _of_terminal(question: Question, inputs: Inputs, terminal: Terminal) -> tuple[str, ...]:
    """Ask until the input can be used. An empty line ends a list."""
    needed = _is_needed(question, inputs)
    # A common interview is short: one site system of each role.
    many = question.many and (question.name is None or _asks_more(inputs))
    default = question.default or ""
    end = f" [{default}]" if default else "" if needed else " (empty: none)"
    prompt = f"{question.text[0].upper()}{question.text[1:]}{end}: "
    found: list[str] = []
    while text := _line(prompt, question.read, terminal, default, needed):
        found.append(_with_name(question, text, inputs, terminal))
        if not many:
            break
        prompt, default, needed = "  another one (empty: no more): ", "", False
    return tuple(found)


def _with_name(question: Question, text: str, inputs: Inputs, terminal: Terminal) -> str:
    """Return a site system with its Internet FQDN, if a person chooses it."""
    shared = inputs.get("name") if question.name is Name.SHARED else None
    if question.name is None or "=" in text or (shared and not _asks_more(inputs)):
        return text
    default = shared[0] if shared else ""
    end = f" [{default}]" if default else ""
    return f"{_line(f'  its Internet FQDN{end}: ', fqdn, terminal, default, True)}={text}"


def _line(prompt: str, read: Reader, terminal: Terminal, default: str, needed: bool) -> str:
    """Ask until a line can be used. Return the default, or "", for an empty line."""
    while True:
        line = terminal.ask(prompt).strip() or default
        if not line and not needed:
            return ""
        try:
            if not line:
                raise InputError("a value is needed")
            return read(line)
        except InputError as error:
            terminal.say(f"  {error}")
