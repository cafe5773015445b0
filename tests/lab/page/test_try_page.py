"""Try your own, the scenes and the policy, on the lab's page: by mouse and by keyboard."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from ibcm_bridge.lab.page.scene_runs import GOOD, STOPPED
from ibcm_bridge.lab.scenes.table import SCENES
from tests.lab.page.running import PATIENCE, Up
from tests.lab.page.test_looks import CONTRAST

CASE = "inventory-report"


def by_keyboard(page: Page, selector: str) -> None:
    page.locator(selector).focus()
    page.keyboard.press("Enter")


def opened(page: Page, case: str = CASE) -> None:
    page.evaluate(f"location.hash = '{case}'")
    page.wait_for_selector(f"#shown[data-case='{case}']")
    by_keyboard(page, "#edit > summary")
    page.wait_for_selector("#edit-line")


def test_an_edited_request_is_explained_and_sent_by_keyboard(page: Page) -> None:
    opened(page)
    page.locator("#edit-line").focus()
    page.keyboard.press("Control+A")
    # The keys of the page (s, j, k) are letters here.
    page.keyboard.type("DELETE /sms_mp/jks HTTP/1.1")
    expect(page.locator("#edit-line")).to_have_value("DELETE /sms_mp/jks HTTP/1.1")
    page.wait_for_selector(f"#shown[data-case='{CASE}']")
    by_keyboard(page, "#edit-explain")
    expect(page.locator("#edit-decision")).to_have_text(re.compile("^DENY "), timeout=PATIENCE)
    expect(page.locator("#edit-result")).to_be_empty()
    by_keyboard(page, "#edit-send")
    expect(page.locator("#edit-result .card.bridge .verdict")).to_have_text("REFUSED")
    expect(page.locator("#edit-result .card.tunnel .verdict")).to_have_text("PASSED")
    assert page.evaluate("document.activeElement.id") == "edit-send"


def test_a_request_is_text_on_the_page(page: Page) -> None:
    opened(page)
    page.fill("#edit-line", "GET /SMS_MP/<img/src=x/onerror=alert(1)> HTTP/1.1")
    page.fill("#edit-fields", "X-Test: <script>alert(1)</script>")
    page.click("#edit-send")
    expect(page.locator("#edit-result .card.bridge .verdict")).to_have_text("REFUSED")
    expect(page.locator("#edit-result")).to_contain_text("<img/src=x/onerror=alert(1)>")
    assert page.locator("#edit img, #edit script").count() == 0


def test_text_that_is_not_a_request_gets_a_sentence(page: Page) -> None:
    opened(page)
    page.fill("#edit-line", "nothing")
    page.click("#edit-send")
    expect(page.locator("#edit-explained .note")).to_have_text(
        "'nothing' is not a request line; use VERB TARGET HTTP/1.1"
    )
    expect(page.locator("#edit-explained")).to_contain_text("Nothing was sent.")
    page.click("#edit-reset")
    expect(page.locator("#edit-line")).to_have_value("CCM_POST /ccm_system/request HTTP/1.1")


def test_a_scene_is_played_by_keyboard(page: Page) -> None:
    by_keyboard(page, "#open-scenes")
    expect(page.locator(".scene")).to_have_count(len(SCENES))
    by_keyboard(page, "#play-boot-media")
    scene = page.locator("#scene-boot-media")
    expect(scene.locator("[role=status]")).to_have_text(GOOD, timeout=PATIENCE)
    expect(scene.locator("td.right", has_text="as required")).to_have_count(3)
    expect(scene.locator("td.wrong")).to_have_count(0)
    assert page.evaluate("document.activeElement.id") == "play-boot-media"


def test_a_scene_is_stopped_by_the_button(page: Page) -> None:
    by_keyboard(page, "#open-scenes")
    by_keyboard(page, "#play-slow-site-system")
    page.wait_for_selector("#stop:enabled")
    page.click("#stop")
    scene = page.locator("#scene-slow-site-system")
    expect(scene.locator("[role=status]")).to_have_text(STOPPED, timeout=PATIENCE)
    page.wait_for_selector("#stop:disabled")


def test_the_client_settings_are_those_of_the_next_scene(page: Page) -> None:
    sent: list[Any] = []

    def note(route: Route) -> None:
        sent.append(json.loads(route.request.post_data or ""))
        route.fulfill(status=202, json={})

    page.route("**/do/scenes", note)
    by_keyboard(page, "#open-scenes")
    page.locator("#internet_user_policy").press("Space")
    by_keyboard(page, "#play-boot-media")
    page.wait_for_timeout(200)
    settings = {"user_policy": True, "internet_user_policy": False}
    assert sent == [{"names": ["boot-media"], **settings}]
    page.unroute_all(behavior="wait")


def test_a_policy_is_checked_applied_and_reset(page: Page) -> None:
    by_keyboard(page, "#open-policy")
    page.wait_for_selector("#policy-text")
    own = page.input_value("#policy-text")
    page.fill("#policy-text", own.replace("version: 1", "version: 1\nworker: 2", 1))
    by_keyboard(page, "#policy-check")
    finding = page.locator(".findings .note")
    expect(finding).to_contain_text("worker: unknown key; did you mean workers?", timeout=PATIENCE)
    finding.locator("button").click()
    chosen = "((area) => area.value.slice(area.selectionStart, area.selectionEnd))"
    assert page.evaluate(f"{chosen}(document.getElementById('policy-text'))") == "worker: 2"
    page.wait_for_timeout(200)
    assert page.evaluate("document.getElementById('policy-text').scrollTop") < 400
    page.fill("#policy-text", own.replace("identity: enforce", "identity: observe", 1))
    by_keyboard(page, "#policy-apply")
    expect(page.locator("#fault-banner")).to_contain_text("edited policy", timeout=PATIENCE)
    expect(page.locator("#policy-report")).to_contain_text("reload done")
    by_keyboard(page, "#banner-reset")
    expect(page.locator("#fault-banner")).to_be_empty(timeout=PATIENCE)
    expect(page.locator("#policy-text")).to_have_value(own)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", ["scenes", "policy", CASE])
def test_a_view_fits_on_a_phone_and_has_contrast(
    up: Up, browser: Browser, view: str, scheme: Any
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{up.page}#{view}")
    page.wait_for_selector("#shown h2")
    if view == CASE:
        page.locator("#edit > summary").click()
        page.wait_for_selector("#edit-line")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert [contrast for contrast in page.evaluate(CONTRAST) if contrast[0] < 4.5] == []
    unnamed = """[...document.querySelectorAll("#shown *, #edit *")].filter((item) =>
      ["INPUT", "TEXTAREA", "SELECT"].includes(item.tagName) && !item.labels.length).length"""
    assert page.evaluate(unnamed) == 0
    context.close()
