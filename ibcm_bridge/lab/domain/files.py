"""The files of a domain, and the environment variables by which libraries find them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NTLM_USERS = "NTLM_USER_FILE"
"""The variable of pyspnego for the users that a server accepts by NTLM."""


@dataclass(frozen=True)
class DomainFiles:
    """The paths in the directory of a domain. The files exist only while the domain does."""

    directory: Path

    @property
    def configuration(self) -> Path:
        """krb5.conf(5)."""
        return self.directory / "krb5.conf"

    @property
    def keytab(self) -> Path:
        """The keys of the services."""
        return self.directory / "keytab"

    @property
    def ntlm_users(self) -> Path:
        """A line `DOMAIN:USER:PASSWORD` for each user that a server accepts by NTLM."""
        return self.directory / "ntlm-users"

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a process that serves or has users of the domain (kerberos(7))."""
        return {
            "KRB5_CONFIG": str(self.configuration),
            "KRB5_KTNAME": f"FILE:{self.keytab}",
            "KRB5RCACHENAME": f"file2:{self.directory / 'replays'}",
            NTLM_USERS: str(self.ntlm_users),
        }


@contextmanager
def applied(environment: Mapping[str, str]) -> Iterator[None]:
    """Set these variables in this process, within the context."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
