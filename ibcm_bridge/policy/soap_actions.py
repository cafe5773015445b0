"""The allowed SOAP operations of each web service, from `config/soap_actions.yaml`.

The code never branches on the name of an operation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SoapService:
    """A web service and its allowed operations. `path` keeps its case."""

    path: str
    namespace: str
    operations: frozenset[str]


@dataclass(frozen=True, slots=True)
class SoapTable:
    """All services, by path in lower case, and the operations that are refused by name."""

    services: Mapping[str, SoapService]
    refused: Mapping[str, str]
    """Operation -> the reason, as text."""

    def fingerprint(self) -> str:
        """A text that differs for different tables, and is the same in all processes."""
        # The order of a set differs between processes.
        rows = [
            (path, service.namespace, sorted(service.operations))
            for path, service in self.services.items()
        ]
        return repr((sorted(rows), sorted(self.refused.items())))
