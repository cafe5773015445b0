"""The bridge passes each check; its broken twin fails it."""

from __future__ import annotations

import pytest

from ibcm_bridge.conformance.collection import all_checks
from ibcm_bridge.conformance.judgement import Outcome

from .conftest import SuiteLab


@pytest.mark.parametrize("check", all_checks())
def test_the_bridge_passes(suite_lab: SuiteLab, check: str) -> None:
    result = suite_lab.run(check)
    assert result.judgement.outcome is Outcome.PASS, result.judgement
    assert result.exchanges
