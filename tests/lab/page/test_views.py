"""What the lab's page shows of cases, faults and a client's life cycle."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from ibcm_bridge.lab.cases.case import Case
from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.clients.life_cycle import LIFE
from tests.lab.page.running import OVERLAPS, PATIENCE, Up, choose


def test_all_cases_can_be_sent_and_stopped(page: Page) -> None:
    page.click("#all")
    page.wait_for_selector("#stop:enabled")
    page.click("#stop")
    page.wait_for_selector("body[data-busy=no]")
    expect(page.locator("#running")).to_have_text("Ready")


@pytest.fixture
def all_sent(page: Page) -> Page:
    """The page after *Send all*."""
    page.click("#all")
    page.evaluate("document.querySelector('#results').dataset.kept = 'yes'")
    expect(page.locator("#announcement")).to_contain_text(CASES[-1].title, timeout=10 * PATIENCE)
    page.wait_for_selector("body[data-busy=no]")
    return page


def test_all_cases_end_in_a_table_a_counted_score_and_a_view_of_each(
    all_sent: Page, up: Up
) -> None:
    page = all_sent
    marks = page.locator("nav [data-case] .marks span:first-child").all_text_contents()
    assert marks == ["✓"] * len(CASES)
    # A table that is rendered again for each result stops the page for 0.1 s each time.
    expect(page.locator("#results[data-kept=yes] tbody th[scope=row]")).to_have_count(len(CASES))
    assert page.locator("#results td", has_text="…").count() == 0
    results = {case.id: up.case(case.id)["result"] for case in CASES}
    for place, path in enumerate(("bridge", "plain_proxy", "tunnel")):
        sent = [result[path] for result in results.values() if result[path]]
        total = page.locator(".total").nth(place)
        for word, count in Counter(result["word"] for result in sent).items():
            expect(total).to_contain_text(re.compile(rf"\b{count} . {word}\b"))
        if path == "plain_proxy":
            continue
        score = page.locator("#score .score-part", has_text=path)
        for mark, count in Counter(result["mark"] for result in sent).items():
            expect(score).to_contain_text(f"{mark} {count}")
    page.click("#results tbody a >> nth=1")
    for case in (CASES[1], CASES[0], *CASES[2:]):
        page.evaluate(f"location.hash = '{case.id}'")
        page.wait_for_selector(f"#shown[data-case='{case.id}'][data-reference] #picture svg")
        _assert_shows(page, case, results[case.id])


def _assert_shows(page: Page, case: Case, result: dict[str, Any]) -> None:
    """The case is as required on the bridge's path, and the rule that decided is named."""
    assert page.locator(".path.bridge").get_attribute("class") == "path bridge right"
    got = case.bridge.alert or str(case.bridge.status)
    assert got in page.locator(".card.bridge .received strong").inner_text()
    assert page.locator("#shown .note").count() == 0
    assert page.evaluate(OVERLAPS) == []
    record = result["paths"]["bridge"]["audit"]
    if "reason" in record:
        column = page.locator(".path.bridge").inner_text()
        assert record["rule"] in column
        assert record["requirement"] in column


def test_each_column_shows_what_its_proxy_saw(page: Page) -> None:
    choose(page, "malware-in-zlib")
    bridge, tunnel = page.locator(".path.bridge"), page.locator(".path.tunnel")
    expect(page.locator(".card.bridge .verdict")).to_have_text("✓ REFUSED")
    expect(page.locator(".card.tunnel .verdict")).to_have_text("✗ NOT STOPPED")
    for text in ("pc1.corp.example", "engines.yara-x", "CcmMessaging.log", "nothing"):
        expect(bridge).to_contain_text(text)
    bridge.get_by_text("Inspected message").click()
    expect(bridge).to_contain_text("CCM_POST for MP_HinvEndpoint")
    expect(tunnel).to_contain_text("to the client (encrypted)")
    expect(tunnel).to_contain_text("bytes, unchanged")
    assert "MP_HinvEndpoint" not in tunnel.inner_text()
    line = page.locator("#live-bridge li").last
    expect(line).to_contain_text("✓ REFUSED 403")
    expect(page.locator("#live-tunnel li").last).to_contain_text("✗ NOT STOPPED")


def test_a_link_shows_a_case_and_sends_nothing(page: Page, up: Up) -> None:
    reference = choose(page, "forbidden-verb")
    address = page.evaluate("document.querySelector('#address').href")
    assert address == f"{up.page}#forbidden-verb"
    other = page.context.new_page()
    other.goto(address)
    other.wait_for_selector(f"#shown[data-case=forbidden-verb][data-reference='{reference}']")


def test_without_a_case_in_the_address_the_first_case_is_sent(up: Up, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(up.page)
    page.wait_for_selector(f"#shown[data-case={CASES[0].id}][data-reference] svg.wide")
    page.close()


def test_a_link_to_an_unknown_case_is_reported(page: Page, up: Up) -> None:
    page.goto(f"{up.page}#no-such-case")
    expect(page.locator("#unknown")).to_contain_text("no case “no-such-case”")
    page.keyboard.press("j")
    page.wait_for_selector(f"#shown[data-case={CASES[0].id}]")


@pytest.mark.parametrize(("following", "previous"), [("j", "k"), ("ArrowRight", "ArrowLeft")])
def test_keys_show_the_next_and_the_previous_case(
    page: Page, following: str, previous: str
) -> None:
    page.wait_for_selector(f"#shown[data-case={CASES[0].id}]")
    page.keyboard.press(following)
    page.wait_for_selector(f"#shown[data-case={CASES[1].id}]")
    expect(page).to_have_title(re.compile(re.escape(CASES[1].title[1:])))
    expect(page.locator(f"#case-{CASES[1].id}")).to_have_attribute("aria-current", "true")
    page.keyboard.press(previous)
    page.wait_for_selector(f"#shown[data-case={CASES[0].id}]")
    page.click("#next")
    page.wait_for_selector(f"#shown[data-case={CASES[1].id}]")
    page.click("#previous")
    page.wait_for_selector(f"#shown[data-case={CASES[0].id}]")


def test_a_life_cycle_is_allowed_on_both_paths(page: Page) -> None:
    page.click("#life")
    expect(page.locator("#steps td.right")).to_have_count(2 * len(LIFE), timeout=PATIENCE)
    expect(page.locator("#steps td.wrong")).to_have_count(0)


FAULTS = {
    "site-system-down": ("policy-request", "502 Bad Gateway"),
    "crl-over": ("inventory-report", "TLS alert: certificate unknown"),
    "engine-gone": ("policy-request", "503 Service Unavailable"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_can_be_switched_on_and_off(page: Page, fault: str) -> None:
    case, result = FAULTS[fault]
    switch = page.locator(f"#faults input[value={fault}]")
    switch.check()
    page.wait_for_selector(f"body[data-busy=no][data-faults={fault}]")
    try:
        choose(page, case)
        expect(page.locator(".card.bridge .received strong")).to_have_text(result)
        expect(page.locator("#shown .note")).to_contain_text("Sent with fault")
        expect(page.locator("#fault-banner")).to_contain_text("Fault on")
        expect(page.locator(".card.bridge.outage")).to_have_count(1)
    finally:
        page.click("#fault-banner button")
        page.wait_for_selector("body[data-busy=no][data-faults='']")
    choose(page, case)
    expect(page.locator(".card.bridge .received strong")).to_have_text("200 OK")
    expect(page.locator("#shown .note")).to_have_count(0)


def test_events_reach_two_pages(page: Page, up: Up) -> None:
    other = page.context.new_page()
    other.goto(f"{up.page}#registration")
    other.wait_for_selector("#shown[data-case=registration]")
    reference = choose(page, "registration")
    other.wait_for_selector(f"#shown[data-reference='{reference}']")
