"""The guided tour in a browser."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from ibcm_bridge.lab.clients.life_cycle import LIFE
from ibcm_bridge.lab.page.tour import LIFE_CYCLE, TOUR
from tests.lab.page.running import PATIENCE, Up


def test_the_tour_is_given_with_next_and_back(page: Page) -> None:
    page.click("#tour-start")
    for number, step in enumerate(TOUR, 1):
        expect(page.locator("#tour-bar")).to_contain_text(f"Step {number} of {len(TOUR)}")
        expect(page.locator("#notes")).to_contain_text(step.point)
        # The page sends a step of the tour by itself.
        if step.show != LIFE_CYCLE:
            page.wait_for_selector(f"#shown[data-case={step.show}][data-reference] svg.wide")
        else:
            expect(page.locator("#steps td.right")).to_have_count(2 * len(LIFE), timeout=PATIENCE)
        if number < len(TOUR):
            page.click("#tour-next")
    expect(page.locator("#tour-next")).to_be_hidden()
    page.keyboard.press("k")
    expect(page.locator("#tour-bar")).to_contain_text(f"Step {len(TOUR) - 1} of")
    page.click("#tour-back")
    expect(page.locator("#tour-bar")).to_contain_text(f"Step {len(TOUR) - 2} of")
    expect(page.locator("#clock")).to_have_text(re.compile(r"\d+:\d\d"))
    page.click("#tour-end")
    expect(page.locator("#tour-bar")).to_be_hidden()
    expect(page.locator("#notes")).to_be_empty()


def test_a_prediction_hides_the_verdicts_until_both_paths_are_chosen(page: Page, up: Up) -> None:
    page.goto(f"{up.page}#tour-2")
    page.wait_for_selector("#shown[data-case=malware-in-zlib][data-reference]")
    page.check("#predict")
    for hidden in (".cards", "#picture", "#more"):
        expect(page.locator(hidden)).to_be_hidden()
    page.click("#prediction [data-effect=perimeter]")
    expect(page.locator(".cards")).to_be_hidden()
    page.click("#prediction [data-effect=elsewhere]")
    expect(page.locator("#guessed")).to_contain_text(
        "bridge ✓ right, tunnel ✗ wrong. Score: 1 of 2"
    )
    expect(page.locator(".card.tunnel .verdict")).to_have_text("✗ NOT STOPPED")
    page.uncheck("#predict")
    expect(page.locator("#prediction")).to_be_empty()


def test_the_bar_keeps_the_focus_when_the_step_or_its_result_changes(page: Page, up: Up) -> None:
    page.goto(f"{up.page}#tour-2")
    page.wait_for_selector("#shown[data-case=malware-in-zlib][data-reference]")
    page.locator("#tour-next").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#shown[data-case={TOUR[2].show}][data-reference]")
    expect(page.locator("#tour-next")).to_be_focused()
    before = page.locator("#shown").get_attribute("data-reference")
    page.keyboard.press("s")
    page.wait_for_selector(f"#shown[data-reference]:not([data-reference='{before}'])")
    expect(page.locator("#tour-next")).to_be_focused()


def test_an_unknown_step_of_the_tour_is_reported(page: Page, up: Up) -> None:
    page.goto(f"{up.page}#tour-8")
    expect(page.locator("#unknown")).to_contain_text("tour-8")
    expect(page.locator("#tour-bar")).to_be_hidden()
