"""The programs and Python modules that a domain needs, and how to install them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping

PROGRAMS: Mapping[str, str] = {
    "krb5kdc": "krb5-kdc",
    "kdb5_util": "krb5-kdc",
    "kadmin.local": "krb5-admin-server",
    "kinit": "krb5-user",
    "klist": "krb5-user",
    "kvno": "krb5-user",
    "setpriv": "util-linux",
}
"""Program -> its Debian package."""

MODULES: Mapping[str, str] = {
    "spnego": "ibcm-bridge[lab]",
    "gssapi": "ibcm-bridge[kerberos]",
    "krb5": "ibcm-bridge[kerberos]",
}
"""Python module -> the extra of this package that installs it."""

TO_BUILD: Mapping[str, tuple[str, ...]] = {
    "ibcm-bridge[kerberos]": ("python3-dev", "libkrb5-dev", "gcc"),
}
"""Extra -> the Debian packages with which pip builds it."""


def program(name: str) -> str | None:
    """Return the path of a program. Daemons are in sbin, which is not in every user's PATH."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")


def refusal() -> str:
    """Return what is missing for a domain, and what to install; empty if nothing is missing."""
    if sys.platform != "linux":
        return "a Kerberos domain needs Linux, with MIT Kerberos"
    programs = [name for name in PROGRAMS if program(name) is None]
    modules = [name for name in MODULES if importlib.util.find_spec(name) is None]
    if not programs and not modules:
        return ""
    ways = []
    extras = dict.fromkeys(MODULES[name] for name in modules)
    packages = dict.fromkeys(
        (
            *(PROGRAMS[name] for name in programs),
            *(package for extra in extras for package in TO_BUILD.get(extra, ())),
        )
    )
    if packages:
        ways.append(f"sudo apt-get install {' '.join(packages)}")
    if extras:
        ways.append(f"pip install {' '.join(map(repr, extras))}")
    lacking = ", ".join((*programs, *modules))
    return f"a Kerberos domain needs {lacking}; install with: {', then '.join(ways)}"
