"""What may be asked in SOAP of each web service: values read from `config/soap_actions.yaml`.

Nothing in the code branches on an operation's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SoapService:
    """A web service and what may be asked of it. `path` as it is written."""

    path: str
    namespace: str
    operations: frozenset[str]


@dataclass(frozen=True, slots=True)
class SoapTable:
    """All services, by path in lower case, and why some operations are refused by name."""

    services: Mapping[str, SoapService]
    refused: Mapping[str, str]
    """Operation -> why, in words."""

    def fingerprint(self) -> str:
        """What tells this table from every other, in any process."""
        # Sets have another order in each.
        rows = [
            (path, one.namespace, sorted(one.operations)) for path, one in self.services.items()
        ]
        return repr((sorted(rows), sorted(self.refused.items())))
