"""docs/architecture.md: the functions of the flow and their results, and the size of the page."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text("utf-8")
FLOW = PAGE.partition("\n## The flow\n")[2].partition("```text\n")[2].partition("```")[0]
RESULTS = r"[\w.]+(?: \| [\w.]+)*"
STEPS = re.findall(rf"^(?:\w+)? +(\w+\.\w+\.\w+) +-> ({RESULTS})(?:  |$)", FLOW, re.MULTILINE)
TWO_SCREENS = 116
"""Lines."""


def test_each_line_of_the_flow_is_a_step() -> None:
    assert len(STEPS) == len(FLOW.splitlines()) > 10


@pytest.mark.parametrize(("path", "results"), STEPS, ids=[path for path, _ in STEPS])
def test_a_step_of_the_flow_is_a_function_with_these_results(path: str, results: str) -> None:
    module, _, name = path.rpartition(".")
    function = getattr(importlib.import_module(f"ibcm_bridge.{module}"), name)
    assert inspect.isfunction(function)
    # As the source has it: annotations are not evaluated.
    assert inspect.signature(function).return_annotation == results


def test_every_function_that_allows_a_request_is_in_the_flow() -> None:
    results = {result for _, results in STEPS for result in results.split(" | ")}
    proofs = {"Publication", "AuthenticatedClient", "Authorized", "Inspected", "Approved"}
    assert {*proofs, "InspectedReply"} <= results


def test_the_page_fits_on_two_screens() -> None:
    assert len(PAGE.splitlines()) <= TWO_SCREENS
