"""One or more realms on loopback, their trusts, and the tickets of users.

    with Domain(directory) as domain:
        corp = domain.add_realm("CORP.EXAMPLE", {"alice": password})
        domain.add_service(corp, "signin.internet.example")
        corp.start()
        tickets = domain.signed_in("alice@CORP.EXAMPLE", password)

The passwords and keys are random, and worthless when the domain ends.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ibcm_bridge.lab.domain.controller import Controller, run
from ibcm_bridge.lab.domain.files import DomainFiles
from ibcm_bridge.lab.domain.programs import refusal
from ibcm_bridge.lab.errors import LabError
from ibcm_bridge.storage.file_lock import FileLock


class Domain:
    """A context manager. Its directory has nothing but the lock before and after.

    LabError if a program is missing, or if another domain uses the directory.
    """

    def __init__(self, directory: Path) -> None:
        self.files = DomainFiles(directory)
        self._controllers: list[Controller] = []
        self._services: dict[str, str] = {}
        self._sign_ins = 0
        self._lock: FileLock | None = None

    def __enter__(self) -> Self:
        if why_not := refusal():
            raise LabError(why_not)
        directory = self.files.directory
        directory.mkdir(mode=0o700, exist_ok=True)
        try:
            self._lock = FileLock(directory / "lock")
        except BlockingIOError:
            raise LabError("another scene uses the lab's domain; wait until it ends") from None
        self._clear()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._lock is not None
        try:
            for controller in self._controllers:
                controller.stop()
            self._clear()
        finally:
            self._lock.release()

    def add_realm(self, realm: str, passwords: Mapping[str, str]) -> Controller:
        """Create a realm with these accounts, and return its controller, which is not started."""
        controller = self._add(realm)
        controller.create(secrets.token_urlsafe())
        for name, password in passwords.items():
            controller.add_account(name, password)
        return controller

    def add_read_only(self, writable: Controller, accounts: Sequence[str]) -> Controller:
        """Return a second controller of a realm, with the keys of these accounts only.

        Clients try it first, and the writable one if it does not know an account.
        """
        controller = self._add(writable.realm)
        writable.replicate_to(controller, accounts)
        self._controllers.remove(controller)
        self._controllers.insert(self._controllers.index(writable), controller)
        self._configure()
        return controller

    def add_service(self, controller: Controller, host: str) -> None:
        """Add the service of a site system: the name that clients connect to (protocol.md 10)."""
        controller.add_service(f"HTTP/{host}", self.files.keytab)
        self._services[host] = controller.realm
        self._configure()

    def add_trust(self, trusting: Controller, trusted: Controller) -> None:
        """Let users of `trusted` use services of `trusting`, and not the reverse."""
        key = secrets.token_urlsafe()
        for controller in (trusting, trusted):
            controller.add_account(_trust(trusting, trusted), key)

    def end_trust(self, trusting: Controller, trusted: Controller) -> None:
        """End what `add_trust` began."""
        for controller in (trusting, trusted):
            controller.remove_account(_trust(trusting, trusted))

    def accept_by_ntlm(self, passwords: Mapping[str, str]) -> None:
        r"""Let site systems accept these users (`CORP\alice`) by NTLM, instead of all others."""
        lines = (f"{user.replace(chr(92), ':')}:{own}\n" for user, own in passwords.items())
        self.files.ntlm_users.touch(mode=0o600)
        self.files.ntlm_users.write_text("".join(lines), "utf-8")

    def signed_in(self, user: str, password: str) -> Path:
        """Return a new ticket cache of a user who signs in (`alice@CORP.EXAMPLE`). LabError."""
        self._sign_ins += 1
        tickets = self.files.directory / f"tickets-{self._sign_ins}"
        run("kinit", "-c", str(tickets), user, stdin=password, environment=self.files.environment)
        return tickets

    def get_ticket(self, tickets: Path, host: str) -> None:
        """Get a ticket for a site system, for later use. LabError."""
        run("kvno", "-c", str(tickets), "-S", "HTTP", host, environment=self.files.environment)

    def services(self, tickets: Path) -> list[str]:
        """Return the services for which there are tickets, in the order in which they came."""
        listed = run("klist", "-c", str(tickets), environment=self.files.environment)
        return re.findall(r"^\d\S+ \S+ +\d\S+ \S+ +(\S+@\S+)$", listed, re.MULTILINE)

    def _add(self, realm: str) -> Controller:
        number = len(self._controllers) + 1
        directory = self.files.directory / f"controller-{number}"
        # Clients distinguish a primary controller from others by its host, not by its port.
        host = f"127.0.0.{number}"
        controller = Controller(realm, directory, host, self.files.environment, self._configure)
        self._controllers.append(controller)
        self._configure()
        return controller

    def _configure(self) -> None:
        """Write krb5.conf with the current addresses. No name is looked up in DNS."""
        realms: dict[str, list[str]] = {}
        for controller in self._controllers:
            realms.setdefault(controller.realm, []).append(controller.address)
        lines = [
            "[libdefaults]",
            f" default_realm = {next(iter(realms), 'NOWHERE.EXAMPLE')}",
            " dns_lookup_kdc = false",
            " dns_lookup_realm = false",
            " dns_canonicalize_hostname = false",
            " rdns = false",
            " udp_preference_limit = 1",
            "[realms]",
        ]
        for realm, addresses in realms.items():
            lines += [f" {realm} = {{", *(f"  kdc = {address}" for address in addresses)]
            lines += [f"  primary_kdc = {addresses[-1]}", " }"]
        lines += ["[domain_realm]", *(f" {host} = {of}" for host, of in self._services.items())]
        self.files.configuration.write_text("\n".join(lines) + "\n", "utf-8")

    def _clear(self) -> None:
        """Remove all files but the lock: also those of a domain that was killed.

        A lab that stops in the meantime has removed the directory.
        """
        if not self.files.directory.exists():
            return
        for path in self.files.directory.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink()


def _trust(trusting: Controller, trusted: Controller) -> str:
    """Return the principal of a one-way trust (RFC 4120 section 1.2)."""
    return f"krbtgt/{trusting.realm}@{trusted.realm}"
