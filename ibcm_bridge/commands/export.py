"""`ibcm-bridge export`: the configuration of another proxy from a policy."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ibcm_bridge.commands.common import EXIT_PROBLEM, Subcommands, add_config, read_policy

if TYPE_CHECKING:
    from ibcm_bridge.export.exported import Export
    from ibcm_bridge.export.proxies import Proxy

NAMES = ("nginx", "haproxy", "apache", "envoy")
"""Of `export.proxies`, which this module imports only when it runs."""

CHECK_SECONDS = 60


def add(subcommands: Subcommands) -> None:
    """Add the subcommand."""
    parser = subcommands.add_parser(
        "export",
        help="write the configuration of another proxy from a policy",
        description="Write the configuration of nginx, HAProxy, Apache (with ModSecurity) or "
        "Envoy from a policy file to standard output. Its header lists what that proxy cannot "
        "enforce. "
        "Exit status: 0 written, 1 not written, or the check failed.",
    )
    parser.add_argument("proxy", choices=NAMES, help="the proxy")
    add_config(parser)
    parser.add_argument(
        "--files",
        type=Path,
        metavar="DIR",
        help="write the other files that the configuration names to DIR, such as all CRLs in one "
        "file; the proxy also writes its logs there (default: nothing is written, and the "
        "configuration names a folder beside the policy file)",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="run the proxy's own syntax check, if it is installed, instead of writing anything",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ibcm_bridge.export.exported import ExportError
    from ibcm_bridge.export.proxies import PROXIES
    from ibcm_bridge.export.writing import Place
    from ibcm_bridge.storage.exported_files import write_files

    config = options.config.absolute()
    policy = read_policy(config)
    if policy is None:
        return EXIT_PROBLEM
    proxy = PROXIES[options.proxy]
    folder = (options.files or config.parent / f"{proxy.name}-files").absolute()
    try:
        if options.check:
            with tempfile.TemporaryDirectory(prefix="ibcm-export-") as temporary:
                place = Place(config.name, policy.digest, Path(temporary) / "files")
                return _check(proxy, proxy.export(policy, place), place.folder)
        export = proxy.export(policy, Place(config.name, policy.digest, folder))
    except ExportError as error:
        print(f"ibcm-bridge export: {error}", file=sys.stderr)
        return EXIT_PROBLEM
    if options.files is not None:
        write_files(export.files, folder)
    print(export.text, end="")
    if options.files is None and export.files:
        print(
            f"ibcm-bridge export: the configuration names files in {folder}; "
            f"write them with: --files {folder}",
            file=sys.stderr,
        )
    return 0


def _check(proxy: Proxy, export: Export, folder: Path) -> int:
    from ibcm_bridge.storage.exported_files import find_program, write_files

    program = find_program(proxy.programs)
    if program is None:
        are = "is" if len(proxy.programs) == 1 else "are"
        names = " and ".join(proxy.programs)
        print(f"ibcm-bridge export: {names} {are} not installed", file=sys.stderr)
        return EXIT_PROBLEM
    name = Path(program).name
    write_files(export.files, folder)
    file = folder / f"{proxy.name}{proxy.suffix}"
    file.write_text(export.text, "utf-8")
    command = [program, *proxy.check(file)]
    try:
        done = subprocess.run(  # noqa: S603 - the program of PROXIES
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=CHECK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        print(f"ibcm-bridge export: {name} took too long", file=sys.stderr)
        return EXIT_PROBLEM
    if done.returncode:
        print(done.stdout + done.stderr, end="", file=sys.stderr)
        print(f"ibcm-bridge export: {name} refuses the configuration", file=sys.stderr)
        return EXIT_PROBLEM
    print(f"{name} accepts the configuration ({len(export.not_enforced)} limits)")
    return 0
