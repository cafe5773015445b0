"""docs/bridging-vs-tunneling.md: each point is shown by cases, and no case is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ibcm_bridge.lab.cases.requirements import REQUIREMENTS
from ibcm_bridge.lab.cases.table import CASES, FAMILIES

PAGE = (Path(__file__).parents[2] / "docs" / "bridging-vs-tunneling.md").read_text("utf-8")
HEADER = ["point", "bridge", "tunnel", "shown by"]


def _rows() -> list[list[str]]:
    tables = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    assert all(len(row) == len(HEADER) for row in tables)
    return [row for row in tables if row != HEADER]


SHOWN = {row[0]: re.findall(r"`([^`]+)`", row[3]) for row in _rows()}
CITED = [case for cases in SHOWN.values() for case in cases]


def test_every_point_has_a_test() -> None:
    assert len(SHOWN) == len(_rows()) > 30
    assert all(SHOWN.values())


@pytest.mark.parametrize("cited", sorted(set(CITED)))
def test_the_named_tests_exist(cited: str) -> None:
    assert cited in {case.id for case in CASES}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_case_is_in_the_comparison(family: str) -> None:
    assert {case.id for case in FAMILIES[family]} <= set(CITED)


@pytest.mark.parametrize("cited", sorted(set(re.findall(r"\b[A-Z]+(?:-[A-Z]+)+\b", PAGE))))
def test_the_cited_requirements_exist(cited: str) -> None:
    assert cited in REQUIREMENTS or cited == "YARA-X"
