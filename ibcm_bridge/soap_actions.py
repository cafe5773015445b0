"""What may be asked in SOAP of each web service: values read from `config/soap_actions.yaml`.

Nothing in the code branches on an operation's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ibcm_bridge.decisions import Deny, Reason
from ibcm_bridge.messages.soap import SoapRequest


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

    def judge(self, path: str, action: str, request: SoapRequest) -> Deny | None:
        """The refusal of a request below a path (in lower case); None where there is none.

        `action` is what the head says: .asmx chooses the operation by it and reads the Body for
        that operation, others go by the Body (SOAP 1.1 section 6.1.1), so both must be the same.
        """
        service = self.services.get(path)
        if service is None:
            return _deny("services", f"no web service at {path[:128]}")
        if action != request.action:
            detail = f"{action[:128]} in the head, {request.action[:128]} in the body"
            return _deny("agreement", detail)
        if (why := self.refused.get(request.operation)) is not None:
            return _deny("refused", f"{request.operation}: {why}")
        if request.namespace != service.namespace or request.operation not in service.operations:
            return _deny(service.path, f"{request.action[:192]} is not what a scan asks of it")
        return None


def _deny(rule: str, detail: str) -> Deny:
    return Deny(Reason.SOAP_ACTION, f"soap_actions.{rule}", detail)
