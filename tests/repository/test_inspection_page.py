"""docs/inspection.md says what the tables say."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.inspection import archives
from ibcm_bridge.messages import limits
from ibcm_bridge.policy.endpoints import EndpointTable
from ibcm_bridge.policy.roles import RoleTable

PAGE = (Path(__file__).parents[2] / "docs" / "inspection.md").read_text("utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("|")]


@pytest.fixture
def messages(table: RoleTable) -> EndpointTable:
    found = table.bodies["ccm-message"].messages
    assert found is not None
    return found


def test_the_page_has_each_endpoint_and_no_other(messages: EndpointTable) -> None:
    said = {
        cells[0].strip("`"): (
            {root.lower() for root in cells[1].split(", ")},
            cells[2] == "yes",
            cells[3] == "yes",
        )
        for cells in ([cell.strip() for cell in row.strip("|").split("|")] for row in ROWS)
        if len(cells) == 4 and cells[0].startswith("`")
    }
    assert said == {
        endpoint.name: (set(endpoint.roots), endpoint.anonymous, endpoint.encrypted)
        for endpoint in messages.endpoints.values()
    }


def test_the_page_has_the_operations_refused_by_name(messages: EndpointTable) -> None:
    refused = PAGE[PAGE.index("Refused by name") : PAGE.index("Remote control")].lower()
    for row in messages.refused:
        assert row.requirement.lower() in refused
        for name in (row.endpoint, row.reply_to, row.root, row.element, row.subject or ""):
            assert name.lower() in refused


def test_the_page_has_the_operations_of_each_web_service(table: RoleTable) -> None:
    actions = table.bodies["soap"].actions
    assert actions is not None
    said = {
        cells[0].strip("`"): set(cells[1].split(", "))
        for cells in ([cell.strip() for cell in row.strip("|").split("|")] for row in ROWS)
        if cells[0].endswith(".asmx`")
    }
    assert said == {service.path: set(service.operations) for service in actions.services.values()}


def test_the_page_has_each_limit() -> None:
    every = vars(limits) | vars(archives)
    named = {name: value for name, value in every.items() if name.startswith("MAX_")}
    said = {
        cells[0].strip("`"): int(cells[1].replace(",", ""))
        for cells in ([cell.strip() for cell in row.strip("|").split("|")] for row in ROWS)
        if cells[0].startswith("`MAX_")
    }
    assert said == named


def test_each_reason_on_the_page_exists() -> None:
    steps = PAGE[: PAGE.index("### Places of client GUIDs")]
    known = {reason.value for reason in Reason}
    for row in steps.splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if row.startswith("|") and len(cells) == 3 and "`" in cells[2]:
            for name in cells[2].replace("...", "").split(","):
                assert name.strip().strip("`") in known
