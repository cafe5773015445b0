"""How `run` starts: on its own, with sockets of systemd, or in place of a running bridge."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ibcm_bridge.commands.log_output import report, say

if TYPE_CHECKING:
    from ibcm_bridge.addons.run.handover import Inherited
    from ibcm_bridge.addons.run.startup import Startup
    from ibcm_bridge.policy.policy import Policy

SERVICE_SOCKET = Path("/run/ibcm-bridge/control.sock")
"""The control socket of the systemd unit, which has `RuntimeDirectory=ibcm-bridge`."""

NEEDS_LINUX = "the control socket requires Linux; reload by SIGHUP"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    parser.add_argument(
        "--control",
        type=Path,
        metavar="PATH",
        help="the control socket, for `reload` and --take-over; its folder must be closed to other "
        "users (default: control.sock in $RUNTIME_DIRECTORY, which systemd sets; otherwise none)",
    )
    parser.add_argument(
        "--take-over",
        action="store_true",
        help="get the listening sockets of the bridge at the control socket, and let it drain once "
        "this one serves; if none runs, start as usual",
    )


def control_path(options: argparse.Namespace) -> Path | None:
    """Return the path of the control socket of `run`; None without one."""
    if options.control is not None:
        return Path(options.control)
    folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(folder) / SERVICE_SOCKET.name if folder else None


def make_startup(options: argparse.Namespace, policy: Policy) -> Startup:
    """Return what the bridge has before it serves. Raise StartError."""
    from ibcm_bridge.addons.errors import StartError
    from ibcm_bridge.addons.operations.service_manager import passed_files
    from ibcm_bridge.addons.run.startup import Startup

    startup, path = Startup(say=report), control_path(options)
    with contextlib.ExitStack() as stack:
        stack.callback(startup.close)
        if passed := passed_files():
            if options.take_over:
                raise StartError("--take-over: systemd passes sockets already; use one of both")
            startup.inherited = _activated(policy, passed)
        if options.take_over and path is None:
            raise StartError("--take-over: name the control socket with --control PATH")
        if path is not None:
            _control(startup, path, policy, take_over=options.take_over)
        stack.pop_all()
    return startup


def _activated(policy: Policy, passed: Sequence[tuple[str, int]]) -> Inherited:
    import socket

    from ibcm_bridge.addons.errors import StartError
    from ibcm_bridge.addons.run.activated_sockets import Activated, assigned
    from ibcm_bridge.addons.run.handover import Inherited

    try:
        activated = [Activated(name, socket.socket(fileno=number)) for name, number in passed]
    except OSError as error:
        raise StartError(f"systemd passes a file that is not a socket: {error.strerror}") from error
    optional = [] if policy.operations is None else [policy.operations.listen]
    sockets, problems = assigned(activated, policy.listen_addresses, optional)
    if problems:
        raise StartError("; ".join(problems))
    for opened in activated:
        opened.listener.setblocking(False)
    return Inherited(sockets, by_service_manager=True)


def _control(startup: Startup, path: Path, policy: Policy, *, take_over: bool) -> None:
    from ibcm_bridge.addons.errors import StartError
    from ibcm_bridge.addons.run import control_client, control_socket

    if sys.platform != "linux":
        raise StartError(NEEDS_LINUX)
    try:
        if take_over:
            startup.takeover = control_client.take_over(path)
        elif (other := control_socket.connected(path)) is not None:
            other.close()
            raise StartError(
                f"a bridge already runs at {path}; stop it, or replace it with --take-over"
            )
    except control_socket.ControlError as error:
        raise StartError(f"--take-over: {error}") from error
    if startup.takeover is not None:
        if (why_not := files_refusal(policy)) is not None:
            raise StartError(why_not)
        startup.inherited = startup.takeover.inherited
    elif take_over:
        say(f"no bridge runs at {path}; this one opens its own listeners", logging.WARNING)
    startup.place = control_socket.ControlSocket(path)


def files_refusal(policy: Policy) -> str | None:
    """Why a bridge with this policy cannot take over from another one; None if it can.

    A client continues an upload on a new connection, and both processes must know its client GUID.
    """
    keys = {
        "uploads.spool": policy.uploads.spool,
        "messages.bindings": policy.messages.bindings_file,
    }
    if policy.state is not None:
        return None
    missing = [key for key, file in keys.items() if file is None]
    if not missing or not any(policy.bridged()):
        return None
    return (
        "--take-over: two processes can only share files that have a name; set "
        f"{' and '.join(missing)} in the policy"
    )
