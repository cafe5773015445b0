"""The command line: parses, and hands over."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from ibcm_bridge import __version__
from ibcm_bridge.commands import demo, identity, lab, pki, run
from ibcm_bridge.commands.check import command as check
from ibcm_bridge.commands.common import EXIT_PROBLEM, EXIT_USAGE
from ibcm_bridge.commands.explain import command as explain

COMMANDS = (demo, lab, run, check, explain, identity, pki)
"""Modules, in the order of the help text; `add` of each adds its parser, with `run` as default."""

EXIT_INTERRUPTED = 130
"""What a shell reports for a command that Ctrl-C ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, "run"):
        parser.print_help()
        return EXIT_USAGE
    logging.basicConfig(
        level=logging.DEBUG if getattr(options, "verbose", False) else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    # It misses an addon that we replace on purpose, and says what StartError says better.
    logging.getLogger("mitmproxy.addons.proxyserver").setLevel(logging.CRITICAL)
    try:
        status: int = options.run(options)
        if sys.stdout is not None:
            # Now, when it can still be told that it fails.
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has read enough (`| head`).
        _print_no_more()
        return EXIT_PROBLEM
    except OSError as error:
        _print_no_more()
        print(f"ibcm-bridge: {_refused_by_the_system(error)}", file=sys.stderr)
        return EXIT_PROBLEM
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return status


def _print_no_more() -> None:
    """Let standard output lead nowhere: at its end Python would flush it, and fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refused_by_the_system(error: OSError) -> str:
    """What the commands did not expect. Without a file's name it is of what they print."""
    from ibcm_bridge.os_errors import cannot_write, is_about_writing

    if error.filename:
        return f"{error.filename}: {error.strerror}"
    if is_about_writing(error):
        return cannot_write(error, "standard output", "write somewhere else")
    return error.strerror or str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ibcm-bridge",
        description="SSL bridging with inspection for ConfigMgr Internet-based client management.",
        epilog="Start with: ibcm-bridge demo",
    )
    parser.add_argument("--version", action="version", version=f"ibcm-bridge {__version__}")
    subcommands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:
        command.add(subcommands)
    return parser
