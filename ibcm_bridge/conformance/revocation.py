"""New revocation lists, which a check makes during a run.

They replace only files of the kit. The subject reads these files itself, or a command of the
subject file brings the lists to it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ibcm_bridge.conformance.kit import REVOKED_LATER_NAME, Client, now
from ibcm_bridge.conformance.revocation_lists import renew_lists
from ibcm_bridge.lab.errors import LabError
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.authority_files import AuthorityFilesError, read_authorities
from ibcm_bridge.lab.pki.certificates import LabCredential

COMMAND_SECONDS = 60.0


@dataclass(frozen=True)
class Revocation:
    """How the subject gets new lists."""

    kit: Path
    seconds: float
    """The time until it uses them."""
    command: Sequence[str] = ()
    """Runs after the files have changed; empty if the subject reads them itself."""
    folder: Path = Path()
    """The working directory of the command."""

    def new_client(self) -> LabCredential:
        """Issue a certificate to revoke, and write its files. LabError, OSError."""
        credential = self._authorities().computer(REVOKED_LATER_NAME)
        clients = self.kit / "pki" / "clients"
        for suffix in ("pem", "key"):
            (clients / f"{Client.REVOKED_LATER}.{suffix}").unlink(missing_ok=True)
        credential.write(clients, Client.REVOKED_LATER)
        return credential

    def revoke(self, credential: LabCredential) -> str:
        """Revoke it in new lists. Return why the command failed, or an empty text. LabError."""
        pki = self._authorities()
        for revoked in (
            LabCredential.read(self.kit / "pki" / "clients", Client.REVOKED),
            credential,
        ):
            pki.revoke(revoked)
        made = now()
        # Some products compare the dates of lists, not their numbers.
        renew_lists(pki, self.kit / "pki", made, this_update=made)
        return self._run() if self.command else ""

    def _authorities(self) -> LabPki:
        try:
            return read_authorities(self.kit / "authorities", now())
        except AuthorityFilesError as error:
            raise LabError(str(error)) from error

    def _run(self) -> str:
        try:
            done = subprocess.run(
                self.command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"the command of revocation failed: {error}"
        if done.returncode:
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
            why = lines[-1] if lines else "no message"
            return f"the command of revocation failed with exit status {done.returncode}: {why}"
        return ""
