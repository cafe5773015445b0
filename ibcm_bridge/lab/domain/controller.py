"""A domain controller: MIT's key distribution center (KDC) with a database, on loopback.

1. Each controller has its own directory, with kdc.conf(5), the database and its log.
2. The KDC is a process that the system ends with the thread that started it, also after a crash.
3. A read-only controller has the accounts of another that are replicated to it, and no others.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.domain.programs import program
from ibcm_bridge.lab.errors import LabError

SECONDS = 20.0
"""The most that a program of MIT Kerberos takes, also on a busy machine."""


class Controller:
    """A controller of a realm. `changed` is called when its address changes."""

    def __init__(
        self,
        realm: str,
        directory: Path,
        host: str,
        environment: Mapping[str, str],
        changed: Callable[[], None],
    ) -> None:
        directory.mkdir(mode=0o700)
        self.realm = realm
        self.address = ""
        """Host and port."""
        self._host = host
        self._directory = directory
        self._environment = {**environment, "KRB5_KDC_PROFILE": str(directory / "kdc.conf")}
        self._changed = changed
        self._process: subprocess.Popen[bytes] | None = None
        self._choose_port()

    @property
    def pid(self) -> int:
        """The process id of the KDC."""
        assert self._process is not None
        return self._process.pid

    def create(self, master_key: str) -> None:
        """Create the database."""
        self._run("kdb5_util", "create", "-s", stdin=f"{master_key}\n{master_key}\n")

    def add_account(self, name: str, password: str) -> None:
        """Add an account with a password."""
        # Not in an argument, which other users of the machine can read.
        self._run("kadmin.local", "addprinc", name, stdin=f"{password}\n{password}\n")

    def remove_account(self, name: str) -> None:
        """Remove an account."""
        self._run("kadmin.local", "delprinc", "-force", name)

    def add_service(self, name: str, keytab: Path) -> None:
        """Add a service with a random key, and add the key to a keytab."""
        self._run("kadmin.local", "addprinc", "-randkey", name)
        self._run("kadmin.local", "ktadd", "-k", str(keytab), name)

    def replicate_to(self, other: Controller, accounts: Iterable[str]) -> None:
        """Copy these accounts, and those of the realm itself, to a controller without database."""
        # kdb5_util compares each whole name with these regular expressions.
        names = ["K/M", "krbtgt/.*", *map(re.escape, accounts)]
        dump = other._directory / "dump"
        self._run("kdb5_util", "dump", str(dump), *(f"{name}@.*" for name in names))
        shutil.copy(self._directory / "stash", other._directory / "stash")
        other._run("kdb5_util", "load", str(dump))
        dump.unlink()

    def start(self) -> None:
        """Start the KDC. LabError if it does not start."""
        while not self._starts():
            # The port was free a moment ago.
            self._choose_port()

    def stop(self) -> None:
        """Stop the KDC: nobody reaches this controller."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _choose_port(self) -> None:
        self.address = f"{self._host}:{free_port()}"
        files = self._directory
        (files / "kdc.conf").write_text(
            f"[kdcdefaults]\n kdc_listen = {self.address}\n kdc_tcp_listen = {self.address}\n"
            f"[realms]\n {self.realm} = {{\n"
            f"  database_name = {files}/principals\n  key_stash_file = {files}/stash\n }}\n"
            f"[logging]\n kdc = FILE:{files}/kdc.log\n",
            "utf-8",
        )
        self._changed()

    def _starts(self) -> bool:
        """Return True when it listens, False if another program has its port."""
        log = self._directory / "kdc.log"
        log.unlink(missing_ok=True)
        command = ("setpriv", "--pdeathsig", "TERM", _path("krb5kdc"), "-n", "-r", self.realm)
        self._process = subprocess.Popen(
            command,
            env=os.environ | self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + SECONDS
        while self._process.poll() is None:
            if log.exists() and "commencing operation" in log.read_text("utf-8"):
                return True
            if time.monotonic() > deadline:
                self.stop()
                raise LabError(f"the KDC of {self.realm} does not start; try again")
            time.sleep(0.01)
        self._process = None
        text = log.read_text("utf-8") if log.exists() else ""
        if "already in use" not in text:
            last = (text.splitlines() or ["no log"])[-1]
            raise LabError(f"the KDC of {self.realm} does not start: {last}")
        return False

    def _run(self, name: str, *arguments: str, stdin: str = "") -> None:
        run(name, "-r", self.realm, *arguments, stdin=stdin, environment=self._environment)


def run(name: str, *arguments: str, stdin: str = "", environment: Mapping[str, str]) -> str:
    """Run a program of MIT Kerberos; return its output. LabError with its message if it fails."""
    try:
        done = subprocess.run(
            [_path(name), *arguments],
            input=stdin,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"{name} takes more than {SECONDS:.0f} s; try again") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise LabError(lines[-1].partition(" while ")[0].removeprefix(f"{name}: "))
    return done.stdout


def _path(name: str) -> str:
    path = program(name)
    if path is None:
        raise LabError(f"{name} is not installed")
    return path
