"""`ibcm-bridge init`: writes a first policy."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ibcm_bridge.commands.common import EXIT_PROBLEM, EXIT_USAGE, Subcommands
from ibcm_bridge.lab.command_line import pasted

if TYPE_CHECKING:
    from ibcm_bridge.commands.init.inputs import Inputs
    from ibcm_bridge.commands.init.plan import Plan


def add(commands: Subcommands) -> None:
    from ibcm_bridge.commands.init.questions import OPTIONS

    parser = commands.add_parser(
        "init",
        help="write a first policy from names, addresses and certificates",
        description="Write a policy that `check` passes. If the options do not say everything, "
        "ask on the terminal. If the policy has a problem, print it and write nothing. URL is "
        "https://HOST or https://HOST:PORT, followed by ,ADDRESS:PORT if HOST does not resolve "
        "to the site system. NAME is the Internet FQDN, if it is not that of --name. A site "
        "system with the same role and NAME as another one is for its failure. "
        "Exit status: 0 written, 1 not written, 2 usage error.",
        epilog="Example: ibcm-bridge init policy.yaml --name cm.example.com",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="policy file to write")
    parser.add_argument("--replace", action="store_true", help="replace FILE if it exists")
    for question in OPTIONS:
        default = f" (default: {question.default})" if question.default else ""
        parser.add_argument(
            f"--{question.key}",
            action="append",
            metavar=question.metavar,
            help=f"{question.text}{'; can be repeated' if question.many else ''}{default}",
        )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ibcm_bridge.commands.init.inputs import Terminal, as_options, read_inputs, typed
    from ibcm_bridge.commands.init.plan import plan
    from ibcm_bridge.commands.init.questions import OPTIONS
    from ibcm_bridge.commands.init.readers import InputError
    from ibcm_bridge.lab.command_line import pasted

    path: Path = options.file
    if path.exists() and not options.replace:
        return _complain(f"{path} exists; use --replace, or name another file", EXIT_USAGE)
    given = {
        question.key: getattr(options, question.key.replace("-", "_")) or () for question in OPTIONS
    }
    for question in OPTIONS:
        if len(given[question.key]) > 1 and not question.many:
            return _complain(f"--{question.key}: only one is possible", EXIT_USAGE)
    terminal = Terminal(input, print) if sys.stdin is not None and sys.stdin.isatty() else None
    try:
        inputs = read_inputs(given, terminal)
    except InputError as error:
        return _complain(str(error), EXIT_USAGE)
    except EOFError:
        print()
        return _complain("not written, because the input ended", EXIT_PROBLEM)
    try:
        status = _write(path, inputs, plan(inputs))
    except InputError as error:
        status = _complain(str(error), EXIT_USAGE)
    if status and typed(inputs, given):
        words = ["ibcm-bridge", "init", str(path), *["--replace"][: options.replace]]
        print(f"Change this line and run it:\n{pasted([*words, *as_options(inputs)])}")
    return status


def _write(path: Path, inputs: Inputs, plans: Sequence[Plan]) -> int:
    """Check the policy, and write it if it has no problem."""
    from ibcm_bridge.commands.init.policy_text import LISTS_FOLDER, downloads_lists, policy_text

    if not path.parent.is_dir():
        return _complain(f"there is no folder {path.parent}; create it", EXIT_USAGE)
    text = policy_text(inputs, plans, path)
    lists = path.parent / LISTS_FOLDER
    new_folder = downloads_lists(inputs) and not lists.exists()
    if new_folder:
        lists.mkdir()
    passes = _passes(path, text)
    if not passes:
        if new_folder:
            lists.rmdir()
        return _complain(f"{path} was not written", EXIT_PROBLEM)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, "utf-8", newline="\n")
    new.replace(path)
    run = pasted(["ibcm-bridge", "run", "--config", path])
    print(f"\nWritten: {path}\nNext: {run}")
    return 0


def _passes(path: Path, text: str) -> bool:
    """Print what `check` says of the policy: all, or its problems. Return whether it has none."""
    from ibcm_bridge.commands.check.command import finding_line, policy_findings
    from ibcm_bridge.commands.check.findings import Finding, Level
    from ibcm_bridge.policy_file import PolicyError, load_policy

    try:
        policy = load_policy(path, text.encode("utf-8"))
    except PolicyError as error:
        print(error, file=sys.stderr)
        return False
    findings: dict[str, Finding] = {}
    for finding in policy_findings(policy):
        # All publications have the same certificates and CAs: their texts appear once.
        findings.setdefault(finding.text, finding)
    problems = [finding for finding in findings.values() if finding.level is Level.PROBLEM]
    for finding in problems or findings.values():
        print(finding_line(finding))
    return not problems


def _complain(text: str, status: int) -> int:
    for line in text.splitlines():
        print(f"ibcm-bridge init: {line}", file=sys.stderr)
    return status
