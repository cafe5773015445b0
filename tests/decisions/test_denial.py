"""Decisions are values, and cannot be used as truth values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError

import pytest

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.inspection.verdict import Inspected, inspect
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead

Decisions = tuple[Authorized, Inspected, Approved, Deny]


@pytest.fixture(scope="module")
def decisions(
    decide: Callable[[RequestHead], Authorized | Deny],
    speak: Callable[[Inspected], Approved | Deny],
    request_head: Callable[..., RequestHead],
) -> Decisions:
    authorized = decide(request_head("GET", "/SMS_MP/.sms_aut?MPLIST"))
    assert isinstance(authorized, Authorized)
    inspected = inspect(authorized, b"", [])
    assert isinstance(inspected, Inspected)
    approved = speak(inspected)
    assert isinstance(approved, Approved)
    return authorized, inspected, approved, Deny(Reason.VERB, Rule("management-point.verbs"))


@pytest.mark.parametrize("index", range(4))
def test_a_decision_is_not_a_truth_value(decisions: Decisions, index: int) -> None:
    with pytest.raises(TypeError, match="not a truth value"):
        bool(decisions[index])
    with pytest.raises(TypeError, match="not a truth value"):
        _ = not decisions[index]


@pytest.mark.parametrize("index", range(4))
def test_a_decision_cannot_be_changed(decisions: Decisions, index: int) -> None:
    decision = decisions[index]
    name = next(iter(decision.__dataclass_fields__))
    with pytest.raises(FrozenInstanceError):
        setattr(decision, name, None)


def test_no_kind_of_decision_is_a_subclass_of_another() -> None:
    kinds = (Authorized, Inspected, Approved, Deny)
    assert not any(
        issubclass(kind, other) for kind in kinds for other in kinds if kind is not other
    )


def test_reasons_are_unique_and_in_lower_case_with_hyphens() -> None:
    for name, reason in Reason.__members__.items():
        assert reason.value == name.lower().replace("_", "-")
    assert len(Reason) == len(Reason.__members__)


def test_a_denial_needs_a_reason_and_a_rule() -> None:
    with pytest.raises(TypeError):
        Deny()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Deny(Reason.VERB)  # type: ignore[call-arg]
