"""The client's log entry for a refusal, and its next step, for each site system role.

The values are from `config/clients.yaml` (`policy_file.tables.clients`), and are printed for
people. No decision depends on them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from ibcm_bridge.decisions.client_reaction import NextStep
from ibcm_bridge.decisions.refusals import Refusal

ANY = "any"


@dataclass(frozen=True, slots=True)
class Reaction:
    """A client's next step in words. `confirmed` or `inferred` may be empty, but not both."""

    confirmed: str
    source: str
    """The document that confirms it; empty if `confirmed` is empty."""
    inferred: str

    @property
    def text(self) -> str:
        """Both parts, without a full stop."""
        confirmed = f"{self.confirmed} (confirmed)" if self.confirmed else ""
        inferred = f"{self.inferred} (inferred)" if self.inferred else ""
        return "; ".join(filter(None, (confirmed, inferred)))


@dataclass(frozen=True, slots=True)
class RoleClient:
    """The client of a site system role."""

    role: str
    directories: frozenset[str]
    """The directories that it requests: first path segments in lower case."""
    log: str
    """The name of its log."""
    status: str
    alert: str
    upload: str
    """The log entry for an HTTP status, for a refused handshake, and for the status of an upload.
    `status` and `upload` contain `{status}` and `{error}`. `upload` is empty if the role has no
    uploads."""
    errors: Mapping[int, str]
    """HTTP status -> the client's error code; empty if it logs the status itself."""
    other_error: str
    steps: Mapping[str, Mapping[NextStep, Reaction]]
    """By the verb of the request; `ANY` has all other verbs."""

    def shows(self, row: Refusal) -> str:
        """The log and the entry in it for a refusal."""
        if row.status is None:
            return f"{self.log}: {self.alert}"
        pattern = self.upload if row.is_upload and self.upload else self.status
        error = self.errors.get(row.status.value, self.other_error)
        text = pattern.format(status=row.status.value, error=error)
        bits = f", BITS error 0x{row.bits_error:08X}" if row.bits_error is not None else ""
        return f"{self.log}: {text}{bits}"

    def does(self, verb: str, step: NextStep) -> str:
        """What happens after a refused request with this verb, without a full stop."""
        reaction = self.steps.get(verb, self.steps[ANY]).get(step)
        return f"the client {step.short}" if reaction is None else reaction.text


@dataclass(frozen=True, slots=True)
class ClientTable:
    """The clients of all roles, by role."""

    roles: Mapping[str, RoleClient]

    def requesting(self, target: str, published: Collection[str] = ()) -> tuple[RoleClient, ...]:
        """The clients that request this target, by its directory.

        If no client requests that directory: the clients of the `published` roles, or of all roles.
        """
        directory = unquote(target.partition("?")[0]).lstrip("/").partition("/")[0].lower()
        found = [client for client in self.roles.values() if directory in client.directories]
        found = found or [client for client in self.roles.values() if client.role in published]
        return tuple(found or self.roles.values())
