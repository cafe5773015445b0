"""A running lab for the tests of its page."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Page

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE = 60_000
"""Milliseconds."""


OVERLAPS = """() => [...document.querySelectorAll("#picture svg")].flatMap((svg) => {
  const usual = svg.style.display;
  svg.style.display = "block";
  const texts = [...svg.querySelectorAll("text")].map((text) => [text.textContent, text.getBBox()]);
  const boxes = [...svg.querySelectorAll("rect.box")].map((box) => ["", box.getBBox()]);
  svg.style.display = usual;
  const common = ([, a], [, b]) => [
    Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x),
    Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y)];
  const found = [];
  texts.forEach((text, number) => {
    for (const other of texts.slice(number + 1)) {
      const [width, height] = common(text, other);
      if (width > 1 && height > 4) found.push(`${text[0]} | ${other[0]}`);
    }
    for (const box of boxes) {
      const [width, height] = common(text, box);
      // A label of a connection may touch a box; no other text crosses an edge.
      if (height > 4 && width > 4 && width < text[1].width - 4) found.push(`${text[0]} | a box`);
    }
  });
  return found;
})"""
"""Texts of the picture that overlap another text, or the edge of a box."""


@dataclass
class Up:
    """A running lab, and the summary that it printed as JSON."""

    summary: dict[str, Any]

    @property
    def page(self) -> str:
        address: str = self.summary["page"]
        return address

    @property
    def origin(self) -> str:
        return self.page.partition("/?")[0]

    @property
    def token(self) -> str:
        return self.page.partition("token=")[2]

    def request(
        self, path: str, headers: dict[str, str], data: bytes | None = None
    ) -> tuple[int, bytes]:
        """Send a request to the page; return status and body."""
        request = urllib.request.Request(self.origin + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=300) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read()

    def case(self, name: str) -> dict[str, Any]:
        status, body = self.request(f"/case/{name}", {"X-Lab-Token": self.token})
        assert status == 200, body
        found: dict[str, Any] = json.loads(body)
        return found


def choose(page: Page, case: str) -> str:
    """Press the button of a case, wait for the new result, and return its audit reference."""
    page.evaluate(f"location.hash = '{case}'")
    shown = page.locator(f"#shown[data-case='{case}']")
    before = shown.get_attribute("data-reference") or ""
    page.click(f"nav [data-case='{case}']")
    page.wait_for_selector(
        f"#shown[data-case='{case}'][data-reference]:not([data-reference='{before}'])"
    )
    return shown.get_attribute("data-reference") or ""
