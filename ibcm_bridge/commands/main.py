"""The command line: parses the arguments and runs the subcommand."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

from ibcm_bridge import __version__
from ibcm_bridge.commands.common import EXIT_PROBLEM, EXIT_USAGE
from ibcm_bridge.commands.log_output import LogFormat, log_to_standard_error
from ibcm_bridge.inspection.parser_warnings import ignore_parser_warnings

COMMANDS: Mapping[str, str] = {
    "demo": "demo",
    "lab": "lab",
    "init": "init.command",
    "run": "run",
    "reload": "reload",
    "check": "check.command",
    "fetch": "fetch",
    "explain": "explain.command",
    "identity": "identity",
    "audit": "audit.command",
    "conformance": "conformance",
    "export": "export",
    "capacity": "capacity.command",
    "pki": "pki",
}
"""Name -> module, in the order of the help text.

Each module has `add`, which adds its parser and sets `run`. All of them together load slowly.
"""

AUDIT_POINTS = "ibcm_bridge.addons.audit.points"
"""The logger of `addons.audit.trail` for points. That module loads slowly."""

EXIT_INTERRUPTED = 130
"""The status that a shell reports for a command interrupted with Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = _parser(given[0] if given else "")
    options = parser.parse_args(given)
    if not hasattr(options, "run"):
        parser.print_help()
        return EXIT_USAGE
    ignore_parser_warnings()
    verbose = getattr(options, "verbose", False)
    log_format = LogFormat(getattr(options, "log_format", LogFormat.TEXT))
    log_to_standard_error(logging.DEBUG if verbose else logging.WARNING, log_format)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    # Points of the audit, which prove it, belong to every log.
    logging.getLogger(AUDIT_POINTS).setLevel(logging.INFO)
    # It complains about an addon that the bridge replaces, and repeats what StartError reports.
    logging.getLogger("mitmproxy.addons.proxyserver").setLevel(logging.CRITICAL)
    try:
        status: int = options.run(options)
        if sys.stdout is not None:
            # Here a failure can still be reported.
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the output has closed the pipe (`| head`).
        _discard_output()
        return EXIT_PROBLEM
    except OSError as error:
        _discard_output()
        print(f"ibcm-bridge: {_system_error_text(error)}", file=sys.stderr)
        return EXIT_PROBLEM
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return status


def _discard_output() -> None:
    """Redirect standard output to /dev/null: at exit, Python flushes it and would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _system_error_text(error: OSError) -> str:
    """An error that no command handles. Without a file name, it is about standard output."""
    from ibcm_bridge.os_errors import cannot_write, is_about_writing

    if error.filename:
        return f"{error.filename}: {error.strerror}"
    if is_about_writing(error):
        return cannot_write(error, "standard output", "redirect it elsewhere")
    return error.strerror or str(error)


def _parser(name: str = "") -> argparse.ArgumentParser:
    """Return the parser of one command; of all if the name is unknown."""
    parser = argparse.ArgumentParser(
        prog="ibcm-bridge",
        description="SSL bridging with inspection for ConfigMgr Internet-based client management.",
        epilog="Start with: ibcm-bridge demo",
    )
    parser.add_argument("--version", action="version", version=f"ibcm-bridge {__version__}")
    subcommands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for module in [COMMANDS[name]] if name in COMMANDS else COMMANDS.values():
        import_module(f"ibcm_bridge.commands.{module}").add(subcommands)
    return parser
