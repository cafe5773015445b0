"""Runs in place of the bridge, and prints what it could not do, as JSON: attempt -> error or null.

Arguments: the device of /dev, the mount namespace, the UTS namespace and a cgroup of systemd.
"""

import ctypes
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
PTRACE_TRACEME = 0
ADDR_NO_RANDOMIZE = 0x0040000
CLONE_NEWUSER = 0x10000000
NET_BIND_SERVICE = 1 << 10
FOLDERS = ("/run/ibcm-bridge", "/var/lib/ibcm-bridge", "/var/log/ibcm-bridge")
OWN = Path("/run/ibcm-bridge/probe")

DEV, MOUNTS, HOST, GROUP = sys.argv[1:]


def call(name: str, *arguments: int) -> None:
    """Call a function of the C library. OSError."""
    if getattr(LIBC, name)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def child(name: str, *arguments: int) -> Callable[[], None]:
    """Call it in another process, which it changes. OSError."""

    def action() -> None:
        if (pid := os.fork()) == 0:
            try:
                call(name, *arguments)
            except OSError as error:
                os._exit(error.errno or 255)
            os._exit(0)
        if number := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
            raise OSError(number, os.strerror(number) if number > 0 else "killed")

    return action


def must(condition: bool) -> None:
    if not condition:
        raise PermissionError("otherwise")


def status(field: str) -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{field}:")), 16)


def may_write(path: str) -> bool:
    return not os.statvfs(path).f_flag & os.ST_RDONLY


OUTSIDE = "outside"
"""The name of a file in some folders of the machine."""

REFUSED: dict[str, Callable[[], object]] = {
    "CapabilityBoundingSet": lambda: must(status("CapBnd") != NET_BIND_SERVICE),
    "LockPersonality": child("personality", ADDR_NO_RANDOMIZE),
    "NoNewPrivileges": lambda: must(not status("NoNewPrivs")),
    "PrivateDevices": lambda: must(Path("/dev").stat().st_dev == int(DEV)),
    "PrivateMounts": lambda: must(str(Path("/proc/self/ns/mnt").readlink()) == MOUNTS),
    "PrivateTmp": lambda: (Path("/tmp") / OUTSIDE).read_text("ascii"),
    "ProtectControlGroups": lambda: must(may_write(GROUP)),
    "ProtectHome": lambda: (Path("/home") / OUTSIDE).read_text("ascii"),
    "ProtectHostname": lambda: must(str(Path("/proc/self/ns/uts").readlink()) == HOST),
    "ProtectKernelTunables": lambda: Path("/proc/kallsyms").open("rb").close(),
    "ProtectProc": lambda: Path("/proc/1/stat").read_text("ascii"),
    "ProtectSystem": lambda: Path("/srv/new").write_text("x", "ascii"),
    "RestrictAddressFamilies": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "RestrictNamespaces": child("unshare", CLONE_NEWUSER),
    "RestrictSUIDSGID": lambda: OWN.with_name("suid").touch(0o4755),
    "SystemCallFilter": child("ptrace", PTRACE_TRACEME),
    "SystemCallFilter @privileged": lambda: os.chown(OWN, os.getuid(), os.getgid()),
    "SystemCallFilter @resources": lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)),
    "UMask": lambda: must(OWN.stat().st_mode & 0o777 == 0o644),
}

GRANTED: dict[str, Callable[[], object]] = {
    "AmbientCapabilities": lambda: must(status("CapEff") == NET_BIND_SERVICE),
    "SystemCallFilter setpriority": lambda: os.setpriority(os.PRIO_PROCESS, 0, 5),
    **{folder: Path(folder, "new").touch for folder in FOLDERS},
}


def error_of(action: Callable[[], object]) -> str | None:
    try:
        action()
    except OSError as error:
        return error.strerror or str(error)
    return None


for file in (OWN, OWN.with_name("suid")):
    file.unlink(missing_ok=True)
OWN.touch()
for tried in (REFUSED, GRANTED):
    errors = {name: error_of(action) for name, action in tried.items()}
    sys.stdout.write(json.dumps(errors) + "\n")
