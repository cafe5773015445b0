"""Makes the images of the documentation from a running lab: `python docs/images/make.py`.

Needs the development tools, and a Chromium in PATH or in the variable CHROMIUM.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright
from terminal import drawn, recorded_demo

from ibcm_bridge.lab.picture.drawing import css

IMAGES = Path(__file__).parent
CASE = "malware-in-zlib"
COLUMNS = 120
SHOWN = ("TWO TLS LEGS", "CLIENT AUTHENTICATION", "MESSAGE CONTENT")
"""The families of cases in the recorded session, with some of their cases each."""
CASES = 2
BACKGROUND = """
svg { background: #fff; }
@media (prefers-color-scheme: dark) { svg { background: #14181c; } }
"""
"""A README can be light while the system is dark."""


def main() -> None:
    """Record the demo; start a lab, make the images, stop the lab."""
    lines = recorded_demo(COLUMNS)
    (IMAGES / "demo.svg").write_text(drawn(list(_chosen(lines)), COLUMNS), "utf-8")
    lab = subprocess.Popen(
        [sys.executable, "-m", "ibcm_bridge", "lab", "up", "--json", "--no-browser"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert lab.stdout is not None
    try:
        page = json.loads(lab.stdout.readline())["page"]
        with sync_playwright() as playwright:
            chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            _screenshot(browser, page)
            _phone(browser, page)
    finally:
        lab.send_signal(signal.SIGTERM)
        lab.wait()


def _chosen(lines: Sequence[str]) -> Iterator[str]:
    """Yield the first cases of some families, and the score."""
    yield from ("$ ibcm-bridge demo", *lines[:3])
    for start, line in enumerate(lines):
        if any(f"\x1b[1m{family}" in line for family in SHOWN):
            ends = [at for at in range(start, len(lines)) if not lines[at].strip(" |")]
            yield from lines[start - 1 : ends[CASES - 1] + 1]
            yield "..."
    # Without the seconds, which depend on the machine.
    yield from (re.sub(r", \d+ s\.", ".", line) for line in lines if "cases as required" in line)


def _screenshot(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 720}, reduced_motion="reduce")
    _open(page, address)
    page.screenshot(path=IMAGES / "lab-page.png")
    drawing = page.locator("#picture svg.wide").evaluate("element => element.outerHTML")
    # A README has no style of ours, so the style is in the file.
    drawing = drawing.replace('class="picture wide"', 'class="picture"').replace(
        "<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1
    )
    head, end, body = drawing.partition(">")
    (IMAGES / f"{CASE}.svg").write_text(
        f"{head}{end}<style>{css()}{BACKGROUND}</style>{body}\n", "utf-8"
    )


def _phone(browser: Browser, address: str) -> None:
    page = browser.new_page(
        viewport={"width": 390, "height": 844}, color_scheme="dark", reduced_motion="reduce"
    )
    _open(page, address)
    page.screenshot(path=IMAGES / "lab-page-phone.png")


def _open(page: Page, address: str) -> None:
    page.goto(f"{address}#{CASE}")
    page.click("#send")
    page.wait_for_selector(f"#shown[data-case={CASE}][data-reference] #picture")
    page.wait_for_selector("body[data-busy=no]")
    page.click("#send")
    page.wait_for_timeout(2_000)


if __name__ == "__main__":
    main()
