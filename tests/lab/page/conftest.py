"""One lab and one browser for all tests of the page, and a page for each test.

Needs Debian's package chromium, or the browser in the variable CHROMIUM.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests import needs
from tests.lab.page.running import FLAGS, PATIENCE, Up


@pytest.fixture(scope="package")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Run `ibcm-bridge lab up --json`; SIGTERM stops it, and it must leave no files."""
    runtime = tmp_path_factory.mktemp("runtime")
    process = subprocess.Popen(
        [sys.executable, "-m", "ibcm_bridge", "lab", "up", "--json", "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"XDG_RUNTIME_DIR": str(runtime)},
    )
    assert process.stdout is not None
    try:
        yield Up(json.loads(process.stdout.readline()))
    finally:
        process.send_signal(signal.SIGTERM)
        _, output = process.communicate(timeout=40)
    assert process.returncode == 0, output
    assert [file.name for file in (runtime / "ibcm-bridge").iterdir()] == ["lock"]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    needs.demand("chromium")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=needs.browser(), args=FLAGS)


@pytest.fixture
def page(up: Up, browser: Browser) -> Iterator[Page]:
    """Open the page in a large window; each console message fails the test."""
    # Without motion, a busy machine has less to draw.
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    page = context.new_page()
    complaints: list[str] = []
    requested: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    page.set_default_timeout(PATIENCE)
    page.goto(up.page)
    page.wait_for_selector("body[data-busy=no]")
    yield page
    context.close()
    assert complaints == []
    assert all(url.startswith(up.origin + "/") for url in requested)
