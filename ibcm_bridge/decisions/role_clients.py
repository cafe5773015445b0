"""What clients show of a refusal, and do next, by the role they asked: for people only.

Values read from `config/clients.yaml` (`policy_file.tables.clients`). No decision rests on them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from ibcm_bridge.decisions.client_reaction import NextStep
from ibcm_bridge.decisions.refusals import Refusal


@dataclass(frozen=True, slots=True)
class Doing:
    """What a client does next. Either may be empty, not both."""

    confirmed: str
    source: str
    """Where what is confirmed is written; empty where nothing is."""
    inferred: str

    @property
    def text(self) -> str:
        """All of it, as one sentence without its end."""
        confirmed = f"{self.confirmed} (confirmed)" if self.confirmed else ""
        inferred = f"{self.inferred} (inferred)" if self.inferred else ""
        return "; ".join(filter(None, (confirmed, inferred)))


@dataclass(frozen=True, slots=True)
class RoleClient:
    """The client of a site system role."""

    role: str
    directories: frozenset[str]
    """What it asks for: first path segments in lower case."""
    log: str
    """Where an administrator looks."""
    status: str
    alert: str
    upload: str
    """What is there for an HTTP status, a refused handshake and an upload's status; the first and
    the last with `{status}` and `{error}` in it. `upload` is empty where the role has none."""
    errors: Mapping[int, str]
    """HTTP status -> what the client makes of it; empty where it logs the status itself."""
    other_error: str
    steps: Mapping[NextStep, Doing]

    def shows(self, row: Refusal) -> str:
        """What its log has of a refusal, with where that is."""
        if row.status is None:
            return f"{self.log}: {self.alert}"
        pattern = self.upload if row.is_upload and self.upload else self.status
        error = self.errors.get(row.status.value, self.other_error)
        text = pattern.format(status=row.status.value, error=error)
        bits = f", BITS error 0x{row.bits_error:08X}" if row.bits_error is not None else ""
        return f"{self.log}: {text}{bits}"

    def does(self, step: NextStep) -> str:
        """What it does next, as one sentence without subject and end."""
        doing = self.steps.get(step)
        return step.short if doing is None else f"{step.short}: {doing.text}"


@dataclass(frozen=True, slots=True)
class ClientTable:
    """The clients of all roles that can refuse something, by role."""

    roles: Mapping[str, RoleClient]

    def asking(self, target: str, published: Collection[str] = ()) -> tuple[RoleClient, ...]:
        """Whose client asks for a target: by its directory, else by the roles that are published.

        With neither, that of any role.
        """
        directory = unquote(target.partition("?")[0]).lstrip("/").partition("/")[0].lower()
        found = [one for one in self.roles.values() if directory in one.directories]
        found = found or [one for one in self.roles.values() if one.role in published]
        return tuple(found or self.roles.values())
