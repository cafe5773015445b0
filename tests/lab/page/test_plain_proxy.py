"""The third path on the page: nginx with the exported policy, live if it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.page.plain_results import PlainResults
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from tests.lab.page.running import Up, choose

CASE = "malware-in-zlib"


@pytest.mark.needs("nginx", "nginx-stream")
def test_the_result_of_nginx_is_live(page: Page, up: Up) -> None:
    choose(page, CASE)
    found = up.case(CASE)["result"]["plain_proxy"]
    assert (found["recorded"], found["why_recorded"]) == (False, "")
    assert (found["word"], found["client_received"]) == ("NOT STOPPED", "200 OK")
    shown = page.locator(".plain-proxy").inner_text()
    assert shown == (
        f"Through a plain reverse proxy with the same policy ({found['proxy']}): "
        "✗ NOT STOPPED, 200 OK, accepted by the site system"
    )


@pytest.mark.needs("nginx", "nginx-stream")
def test_a_fault_has_the_recorded_result(page: Page, up: Up) -> None:
    switch = page.locator("#faults input[value=engine-gone]")
    switch.check()
    page.wait_for_selector("body[data-faults~=engine-gone][data-busy=no]")
    try:
        choose(page, CASE)
        found = up.case(CASE)["result"]["plain_proxy"]
        assert found["recorded"]
        shown = page.locator(".plain-proxy").inner_text()
        assert "; recorded: a fault is on, which is for the bridge): " in shown
    finally:
        switch.uncheck()
        page.wait_for_selector("body:not([data-faults~=engine-gone])[data-busy=no]")


def test_an_edited_policy_has_the_recorded_result(tmp_path: Path) -> None:
    # This perimeter is not up: nothing starts.
    with PlainResults(Perimeter(tmp_path)) as plain:
        found = plain.result(CASES[0], fault=False, edited_policy=True)
    assert found is not None
    assert found.why_recorded == "only the bridge has the edited policy"
    assert list(tmp_path.iterdir()) == []
