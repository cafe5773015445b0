"""How the page looks: on a projector, on a phone, on paper, in both color schemes."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from ibcm_bridge.lab.cases.table import CASES
from tests.lab.page.running import Up


def test_on_a_projector_verdicts_and_picture_need_no_scrolling(up: Up, browser: Browser) -> None:
    """1280x720 at 150 %."""
    context = browser.new_context(viewport={"width": 853, "height": 480}, device_scale_factor=1.5)
    page = context.new_page()
    page.goto(up.page)
    page.wait_for_selector("#picture svg.wide")
    for part in (".card.bridge .verdict", ".card.tunnel .verdict", "#picture svg.wide"):
        box = page.locator(part).bounding_box()
        assert box
        assert box["y"] + box["height"] <= 480
    page.click("#list")
    expect(page.locator(f"#case-{CASES[0].id}")).to_be_visible()
    context.close()


def test_after_send_the_verdicts_are_in_view(up: Up, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 853, "height": 480})
    page = context.new_page()
    page.goto(f"{up.page}#tour-7")
    page.wait_for_selector("#shown[data-case=policy-request][data-reference] #picture")
    before = page.locator("#shown").get_attribute("data-reference")
    # At the switches of the faults; the key must work there too.
    page.locator("#faults input").last.focus()
    assert page.evaluate("document.querySelector('.cards').getBoundingClientRect().top") < 0
    page.keyboard.press("s")
    page.wait_for_selector(f"#shown[data-reference]:not([data-reference='{before}'])")
    expect(page.locator(".card.bridge .verdict")).to_be_in_viewport()
    context.close()


@pytest.mark.parametrize(("motion", "name"), [("no-preference", "ibcm-first"), ("reduce", "none")])
def test_the_picture_moves_only_where_the_system_allows_it(
    up: Up, browser: Browser, motion: Any, name: str
) -> None:
    context = browser.new_context(reduced_motion=motion)
    page = context.new_page()
    page.goto(up.page)
    page.wait_for_selector("#picture svg.wide")
    dot = "getComputedStyle(document.querySelector('.wide .request.first .dot')).animationName"
    assert page.evaluate(dot) == name
    context.close()


def test_a_printed_case_has_verdicts_and_picture_only(page: Page) -> None:
    page.wait_for_selector("#picture svg.wide")
    page.emulate_media(media="print")
    expect(page.locator("#picture svg.wide")).to_be_visible()
    expect(page.locator(".card.tunnel .verdict")).to_be_visible()
    for hidden in ("header", "nav", ".faults", ".live"):
        expect(page.locator(hidden)).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_there_is_one_column(up: Up, browser: Browser, scheme: Any) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{up.page}#no-certificate")
    page.wait_for_selector("#shown[data-case=no-certificate]")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    left = [page.locator(f".card.{side}").bounding_box() for side in ("bridge", "tunnel")]
    assert left[0]
    assert left[1]
    assert left[0]["x"] == left[1]["x"]
    assert left[0]["y"] + left[0]["height"] <= left[1]["y"]
    page.click("#send")
    expect(page.locator("#picture svg.narrow")).to_be_visible()
    expect(page.locator("#picture svg.wide")).to_be_hidden()
    context.close()


CONTRAST = """() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[0-9.]+/g).slice(0, 3).map((number) => {
      const part = number / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
  const color = getComputedStyle(element).backgroundColor;
  const own = color !== "rgba(0, 0, 0, 0)" || !element.parentElement;
  return own ? color : behind(element.parentElement);
  };
  const found = [];
  for (const element of document.querySelectorAll("body *:not(:disabled)")) {
  if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
  const colors = [getComputedStyle(element).color, behind(element)];
  const [high, low] = colors.map(light).sort((a, b) => b - a);
  found.push([(high + 0.05) / (low + 0.05), element.outerHTML.slice(0, 80)]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_sufficient_contrast(up: Up, browser: Browser, scheme: Any) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1."""
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(up.page)
    page.wait_for_selector("body[data-busy=no]")
    page.click("#case-spoofed-guid")
    page.wait_for_selector("#shown[data-case=spoofed-guid][data-reference]")
    found = page.evaluate(CONTRAST)
    assert len(found) > 100
    assert [contrast for contrast in found if contrast[0] < 4.5] == []
    context.close()
