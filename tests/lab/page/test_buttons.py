"""Every control of the lab's page: pressed by mouse, and reached and pressed by keyboard."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from ibcm_bridge.lab.cases.table import CASES, FAMILIES
from tests.lab.page.running import Up

type Actions = list[tuple[str, Any]]

FIRST = CASES[0].id
EVERY_ID = [case.id for case in CASES]


@pytest.fixture
def actions(page: Page) -> Iterator[Actions]:
    """What the page asks of the lab. It is not done: only the button is tested."""
    asked: Actions = []

    def note(route: Route) -> None:
        request = route.request
        asked.append((request.url.rpartition("/do/")[2], json.loads(request.post_data or "{}")))
        route.fulfill(status=202, json={})

    page.route("**/do/*", note)
    page.wait_for_selector("#send")
    yield asked
    # An open route would catch the requests of the closing page.
    page.unroute_all(behavior="wait")


def by_mouse(page: Page, selector: str) -> None:
    page.click(selector)


def by_keyboard(page: Page, selector: str) -> None:
    # A browser shows the focus after a key, not after a click.
    page.keyboard.press("Shift")
    page.locator(selector).focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Space")


EITHER_WAY = pytest.mark.parametrize("press", [by_mouse, by_keyboard])


@EITHER_WAY
def test_each_button_of_a_case_or_family_sends_it(
    page: Page, actions: Actions, press: Callable[[Page, str], None]
) -> None:
    for case in CASES:
        press(page, f"nav [data-case='{case.id}']")
        page.wait_for_selector(f"#shown[data-case='{case.id}']")
        assert page.url.endswith(f"#{case.id}")
    assert actions == [("send", {"cases": [case_id]}) for case_id in EVERY_ID]
    actions.clear()
    for family in FAMILIES:
        press(page, f"nav [data-family='{family}']")
    expected = [("send", {"cases": [case.id for case in cases]}) for cases in FAMILIES.values()]
    assert until(page, actions, len(expected)) == expected


def until(page: Page, actions: Actions, count: int) -> Actions:
    """Wait for this number of actions."""
    while len(actions) < count:
        page.wait_for_timeout(20)
    return actions


BUTTONS: dict[str, tuple[str, Any]] = {
    "#send": ("send", {"cases": [FIRST]}),
    "#all": ("send", {"cases": EVERY_ID}),
    "#life": ("life", {}),
    "#faults input[value=engine-gone]": ("fault", {"id": "engine-gone", "on": True}),
}


@EITHER_WAY
@pytest.mark.parametrize("selector", BUTTONS)
def test_each_button_does_its_action(
    page: Page, actions: Actions, press: Callable[[Page, str], None], selector: str
) -> None:
    press(page, selector)
    assert until(page, actions, 1) == [BUTTONS[selector]]


@EITHER_WAY
def test_a_queue_is_stopped_by_its_button(page: Page, press: Callable[[Page, str], None]) -> None:
    page.click("#all")
    page.wait_for_selector("#stop:enabled")
    press(page, "#stop")
    page.wait_for_selector("#stop:disabled")


@EITHER_WAY
def test_links_and_addresses_can_be_copied(
    page: Page, up: Up, press: Callable[[Page, str], None]
) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.wait_for_selector("#send")
    page.evaluate("location.hash = 'forbidden-verb'")
    page.wait_for_selector("#shown[data-case=forbidden-verb]")
    page.locator(".summary > summary").click()
    buttons = page.locator("button", has_text="Copy")
    for number in range(buttons.count()):
        page.evaluate("document.getElementById('announcement').textContent = ''")
        press(page, f"button:has-text('Copy') >> nth={number}")
        expect(page.locator("#announcement")).to_have_text("Copied.")
        text = page.evaluate("navigator.clipboard.readText()")
        commands = ("curl ", "ip ", "ibcm-bridge lab request ")
        assert text == f"{up.page}#forbidden-verb" or any(word in text for word in commands)


# Reached with the Tab key

CONTROLS = "button, a[href], input, summary"
UNREACHED = """(controls) => [...document.querySelectorAll(controls)]
  .filter((item) => item.checkVisibility() && !item.disabled && !item.closest("nav")
    && !item.dataset.reached)
  .map((item) => item.outerHTML.slice(0, 80))"""
REACHED = """() => {
  const item = document.activeElement;
  const again = item.dataset.reached === "yes";
  item.dataset.reached = "yes";
  return again && item !== document.body;
}"""


OPENED = "[...document.querySelectorAll('#more details')].map((item) => item.open)"


# Wait for the result that the page shows by itself: what it replaces is reached no more.
@pytest.mark.parametrize(
    ("shown", "complete"),
    [
        (FIRST, "#shown[data-reference]"),
        ("all", "#results"),
        ("tour-2", "#shown[data-case=malware-in-zlib][data-reference]"),
        ("life_cycle", "#steps"),
    ],
)
def test_each_control_is_reached_with_the_tab_key(
    page: Page, up: Up, shown: str, complete: str
) -> None:
    page.goto(f"{up.page}#{shown}")
    page.wait_for_selector(complete)
    page.wait_for_selector("body[data-busy=no]")
    page.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true })")
    for _ in range(400):
        page.keyboard.press("Tab")
        if page.evaluate(REACHED):
            break
    assert page.evaluate(UNREACHED, CONTROLS) == []


def test_each_entry_of_the_list_is_reached_with_the_arrow_keys(page: Page) -> None:
    page.wait_for_selector("#send")
    page.locator("nav [tabindex='0']").focus()
    for _ in range(len(CASES) + 3 * len(FAMILIES)):
        page.keyboard.press("ArrowUp")
    reached = []
    for _ in range(len(CASES) + 2 * len(FAMILIES)):
        reached.append(page.evaluate("document.activeElement.textContent"))
        page.keyboard.press("ArrowDown")
    entries = page.locator("nav summary, nav button").all_text_contents()
    assert reached == entries
    assert page.locator("nav [tabindex='0']").count() == 1


def test_the_list_of_cases_is_one_stop_of_the_tab_key(page: Page) -> None:
    page.wait_for_selector("#send")
    stops = 0
    while page.evaluate("document.activeElement.id") != "send":
        page.keyboard.press("Tab")
        stops += 1
        assert stops < 12


def test_a_case_sent_by_keyboard_keeps_the_focus(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.locator("#case-spoofed-guid").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#shown[data-case=spoofed-guid][data-reference]")
    page.wait_for_selector("body[data-busy=no]")
    assert page.evaluate("document.activeElement.id") == "case-spoofed-guid"
    before = page.locator("#shown").get_attribute("data-reference")
    page.locator("#send").focus()
    page.keyboard.press("Space")
    page.wait_for_selector(f"#shown[data-reference]:not([data-reference='{before}'])")
    # The page shows the new result, and keeps the focus.
    assert page.evaluate("document.activeElement.id") == "send"


def test_a_new_result_keeps_the_focus_and_open_details(page: Page) -> None:
    page.evaluate("location.hash = 'malware-in-zlib'")
    page.wait_for_selector("#shown[data-case=malware-in-zlib]")
    page.click("#send")
    page.wait_for_selector("#shown[data-reference]")
    for title in page.locator("#more summary").all():
        title.click()
    opened = page.evaluate(OPENED)
    assert any(opened)
    copy = page.locator("#more button", has_text="Copy").nth(1)
    copy.focus()
    before = page.locator("#shown").get_attribute("data-reference")
    page.keyboard.press("s")
    page.wait_for_selector(f"#shown[data-reference]:not([data-reference='{before}'])")
    expect(copy).to_be_focused()
    assert page.evaluate(OPENED) == opened
