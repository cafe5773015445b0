"""The stages of a request: each has a deciding hook and a result type."""

from __future__ import annotations

from typing import get_type_hints

import pytest

from ibcm_bridge.addons import stages
from ibcm_bridge.addons.stages import DECISIONS, Identified, Stage
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.inspection.verdict import Inspected
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.uploads.session import UploadPart

STAGES = [
    kind
    for kind in vars(stages).values()
    if isinstance(kind, type) and issubclass(kind, Stage) and kind is not Stage
]


def test_every_stage_has_its_own_decision() -> None:
    assert sorted(stage.hook for stage in STAGES) == sorted(DECISIONS)


@pytest.mark.parametrize("stage", STAGES)
def test_the_result_of_a_decision_is_neither_its_stage_nor_a_refusal(
    stage: type[Stage[object]],
) -> None:
    """Otherwise a stage without a deciding addon would be allowed."""
    result = stage.result
    assert not issubclass(stage, result)
    assert not issubclass(Deny, result)


def test_the_stages_make_the_proofs_in_order() -> None:
    in_turn = [stages.HeadRead, stages.PacketRead, stages.BodyRead, stages.BodyInspected]
    found = [stage.result for stage in in_turn]
    assert found == [Authorized, UploadPart, Inspected, Identified]
    assert get_type_hints(Identified)["decision"] == Approved | Deny
