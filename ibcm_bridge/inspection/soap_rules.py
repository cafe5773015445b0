"""Check SOAP requests against the actions of an update scan in `config/soap_actions.yaml`."""

from __future__ import annotations

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.observing import Observation
from ibcm_bridge.messages.soap import SoapRequest
from ibcm_bridge.policy.soap_actions import SoapTable


def judge_soap(
    table: SoapTable, path: str, action: str, request: SoapRequest, observation: Observation
) -> Deny | None:
    """Return the refusal of a request, or None. `path` in lower case.

    `action` is the action of the head. ASP.NET selects the operation by it, other servers by the
    Body (SOAP 1.1 section 6.1.1), so both must be the same.
    """
    service = table.services.get(path)
    if service is None:
        return _deny(rules.SOAP_ACTIONS_SERVICES, f"no web service at {path[:128]}")
    if action != request.action:
        detail = f"{action[:128]} in the head, {request.action[:128]} in the body"
        return _deny(rules.SOAP_ACTIONS_AGREEMENT, detail)
    if (why := table.refused.get(request.operation)) is not None:
        return _deny(rules.SOAP_ACTIONS_REFUSED, f"{request.operation}: {why}")
    if request.namespace != service.namespace or request.operation not in service.operations:
        return observation.enforce(
            _deny(
                rules.SOAP_ACTIONS_OF.of(service.path),
                f"{request.action[:192]} is not an action of an update scan",
            )
        )
    return None


def _deny(rule: rules.Rule, detail: str) -> Deny:
    return Deny(Reason.SOAP_ACTION, rule, detail)
