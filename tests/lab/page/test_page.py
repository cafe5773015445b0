"""The lab's page in a browser: every button, by mouse and by keyboard, on the lab as a user has it.

Needs the browser of Debian's package chromium, or one that the variable CHROMIUM names.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from ibcm_bridge.lab.cases.case import Case, Disposition
from ibcm_bridge.lab.cases.table import CASES, FAMILIES
from ibcm_bridge.lab.clients.life_cycle import LIFE
from tests import needs

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE = 60_000  # milliseconds


@dataclass
class Up:
    """A lab that is up: what it printed as JSON."""

    said: dict[str, Any]

    @property
    def page(self) -> str:
        address: str = self.said["page"]
        return address

    @property
    def origin(self) -> str:
        return self.page.partition("/?")[0]

    @property
    def token(self) -> str:
        return self.page.partition("token=")[2]

    def ask(
        self, path: str, headers: dict[str, str], data: bytes | None = None
    ) -> tuple[int, bytes]:
        """What the page answers."""
        request = urllib.request.Request(self.origin + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read()

    def case(self, name: str) -> dict[str, Any]:
        status, body = self.ask(f"/case/{name}", {"X-Lab-Token": self.token})
        assert status == 200, body
        found: dict[str, Any] = json.loads(body)
        return found


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """`ibcm-bridge lab up --json`, ended by SIGTERM; it must leave nothing behind."""
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
        _, said = process.communicate(timeout=40)
    assert process.returncode == 0, said
    assert [file.name for file in (runtime / "ibcm-bridge").iterdir()] == ["lock"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    needs.demand("chromium")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=needs.browser(), args=FLAGS)


@pytest.fixture
def page(up: Up, browser: Browser) -> Iterator[Page]:
    """The page on a projector; whatever the browser complains of fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    one = context.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    one.on("console", lambda message: complaints.append(message.text))
    one.on("pageerror", lambda error: complaints.append(str(error)))
    one.on("request", lambda request: asked.append(request.url))
    one.set_default_timeout(PATIENCE)
    one.goto(up.page)
    one.wait_for_selector("body[data-busy=no]")
    yield one
    context.close()
    assert complaints == []
    assert all(url.startswith(up.origin + "/") for url in asked)


def choose(page: Page, case: str) -> str:
    """Press its button, and wait until it is shown as sent anew; the audit's reference."""
    page.evaluate(f"location.hash = '{case}'")
    shown = page.locator(f"#shown[data-case='{case}']")
    before = shown.get_attribute("data-reference") or ""
    page.click(f"nav [data-case='{case}']")
    page.wait_for_selector(
        f"#shown[data-case='{case}'][data-reference]:not([data-reference='{before}'])"
    )
    return shown.get_attribute("data-reference") or ""


def test_every_case_has_its_button_and_each_shows_how_it_went(page: Page, up: Up) -> None:
    for case in CASES:
        choose(page, case.id)
        bridge = page.locator(".way.bridge")
        expect(bridge).to_have_class("way bridge right")
        got = case.bridge.alert or str(case.bridge.status)
        expect(bridge.locator(".got strong")).to_contain_text(got)
        expect(page.locator("#shown .note")).to_have_count(0)
        result = up.case(case.id)["result"]
        if "reason" in (record := result["ways"]["bridge"]["audit"]):
            expect(bridge).to_contain_text(record["rule"])
            expect(bridge).to_contain_text(record["requirement"])
        expect(page.locator("#said")).to_contain_text(case.title)
        assert page.url.endswith(f"#{case.id}")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_sent_with_one_button(page: Page, family: str) -> None:
    page.click(f"[data-family='{family}']")
    last = FAMILIES[family][-1]
    expect(page.locator("#said")).to_contain_text(last.title, timeout=PATIENCE)
    page.wait_for_selector("body[data-busy=no]")


def test_all_can_be_sent_and_stopped(page: Page) -> None:
    page.click("#all")
    page.wait_for_selector("#stop:enabled")
    page.click("#stop")
    page.wait_for_selector("body[data-busy=no]")
    expect(page.locator("#doing")).to_have_text("Ready")
    page.click("#all")
    expect(page.locator("#said")).to_contain_text(CASES[-1].title, timeout=PATIENCE)
    for case in CASES:
        expect(page.locator(f"nav [data-case='{case.id}'] .marks span").first).to_have_text("✓")


def test_the_two_columns_say_what_each_proxy_could_see(page: Page) -> None:
    choose(page, "malware-in-zlib")
    bridge, tunnel = page.locator(".way.bridge"), page.locator(".way.tunnel")
    expect(bridge.locator(".verdict")).to_have_text("Refused at the perimeter")
    expect(tunnel.locator(".verdict")).to_have_text("Passed, and answered by the site system")
    for text in ("pc1.corp.example", "engines.yara-x", "CcmMessaging.log", "nothing"):
        expect(bridge).to_contain_text(text)
    bridge.get_by_text("The message it could read").click()
    expect(bridge).to_contain_text("CCM_POST for MP_HinvEndpoint")
    expect(tunnel).to_contain_text("nothing of what is inside")
    expect(tunnel).to_contain_text("byte for byte what was sent")
    assert "MP_HinvEndpoint" not in tunnel.inner_text()
    run_steps = page.locator("#live-bridge li").last
    expect(run_steps).to_contain_text("refused 403")


def test_a_shared_address_shows_a_case_and_sends_nothing(page: Page, up: Up) -> None:
    reference = choose(page, "forbidden-verb")
    address = page.evaluate("document.querySelector('#address').href")
    assert address == f"{up.page}#forbidden-verb"
    other = page.context.new_page()
    other.goto(address)
    other.wait_for_selector(f"#shown[data-case=forbidden-verb][data-reference='{reference}']")


def test_one_case_by_keyboard_alone(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.locator("#case-spoofed-guid").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#shown[data-case=spoofed-guid][data-reference]")
    page.wait_for_selector("body[data-busy=no]")
    assert page.evaluate("document.activeElement.id") == "case-spoofed-guid"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    before = page.locator("#shown").get_attribute("data-reference")
    page.locator("#send").focus()
    page.keyboard.press("Space")
    page.wait_for_selector(f"#shown[data-reference]:not([data-reference='{before}'])")
    # What was sent again is shown anew, and the focus is where it was.
    assert page.evaluate("document.activeElement.id") == "send"


def test_a_clients_life_passes_both_ways(page: Page) -> None:
    page.click("#life")
    expect(page.locator("#steps td.allow")).to_have_count(2 * len(LIFE), timeout=PATIENCE)
    expect(page.locator("#steps td.deny")).to_have_count(0)


FAULTS = {
    "site-system-down": ("policy-request", "502 Bad Gateway"),
    "crl-over": ("inventory-report", "TLS alert: certificate unknown"),
    "engine-gone": ("policy-request", "503 Service Unavailable"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen_and_goes_again(page: Page, fault: str) -> None:
    case, answer = FAULTS[fault]
    switch = page.locator(f"#faults input[value={fault}]")
    switch.check()
    page.wait_for_selector(f"body[data-busy=no][data-faults={fault}]")
    try:
        choose(page, case)
        expect(page.locator(".way.bridge .got strong")).to_have_text(answer)
        expect(page.locator("#shown .note")).to_contain_text("Sent with a fault")
        expect(page.locator(".way.bridge.right")).to_have_count(1)
    finally:
        switch.uncheck()
        page.wait_for_selector("body[data-busy=no][data-faults='']")
    choose(page, case)
    expect(page.locator(".way.bridge .got strong")).to_have_text("200 OK")
    expect(page.locator("#shown .note")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_there_is_one_column(up: Up, browser: Browser, scheme: Any) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{up.page}#no-certificate")
    page.wait_for_selector("#shown[data-case=no-certificate]")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    left = [page.locator(f".way.{side}").bounding_box() for side in ("bridge", "tunnel")]
    assert left[0]
    assert left[1]
    assert left[0]["x"] == left[1]["x"]
    assert left[0]["y"] + left[0]["height"] <= left[1]["y"]
    context.close()


CONTRAST = """() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[0-9.]+/g).slice(0, 3).map((one) => {
      const part = one / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (one) => {
    const color = getComputedStyle(one).backgroundColor;
    return color !== "rgba(0, 0, 0, 0)" || !one.parentElement ? color : behind(one.parentElement);
  };
  const found = [];
  for (const one of document.querySelectorAll("body *:not(:disabled)")) {
    if (![...one.childNodes].some((it) => it.nodeType === 3 && it.data.trim())) continue;
    const two = [light(getComputedStyle(one).color), light(behind(one))].sort((a, b) => b - a);
    found.push([(two[0] + 0.05) / (two[1] + 0.05), one.outerHTML.slice(0, 80)]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_written_stands_out(up: Up, browser: Browser, scheme: Any) -> None:
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


# curl


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_curl_line_does_what_the_button_does(up: Up, case: Case) -> None:
    lines = up.case(case.id)["prepared"]["curl"]
    if lines["cannot"]:
        assert case.leading or case.id == "two-lengths"
        return
    *before, bridge = lines["bridge"]
    for line in before:
        assert pasted(line)[1].startswith(b"HTTP/1.1 200 ")
    status, answer = pasted(bridge)
    if case.bridge.status is None:
        assert (status, answer) == (status or None, b"")  # curl says why on stderr
        return
    assert answer.split(b" ")[1] == str(case.bridge.status).encode(), answer[:300]
    for line in lines["tunnel"]:
        status, answer = pasted(line)
        if case.tunnel is Disposition.ANSWERED:
            assert answer.split(b" ")[1][:1] == b"2", answer[:300]


def test_the_lines_that_are_printed_work_as_they_are(up: Up) -> None:
    got = [pasted(command["line"])[1].split(b" ")[1] for command in up.said["curl"]]
    assert got == [b"200", b"405", b"200"]


def pasted(line: str) -> tuple[int, bytes]:
    """Into a shell."""
    needs.demand("curl")
    assert shlex.split(line)[0] == "curl"
    done = subprocess.run(["sh", "-c", line], capture_output=True, timeout=30, check=False)
    return done.returncode, done.stdout


# Whom the page answers

PATHS = ["/", "/events", "/lab", "/case/registration", "/files/x/page.js", "/nothing"]


@pytest.mark.parametrize("path", PATHS)
def test_without_the_token_nothing_is_answered(up: Up, path: str) -> None:
    for wrong in ("", "?token=", f"?token={up.token[:-1]}"):
        status, body = up.ask(path + wrong, {"X-Lab-Token": up.token[:-1]})
        assert status == 403
        assert b"token" in body
        assert up.token.encode() not in body


def test_with_the_token_in_its_place_each_is(up: Up) -> None:
    header = {"X-Lab-Token": up.token}
    assert up.ask(f"/?token={up.token}", {})[0] == 200
    assert up.ask(f"/files/{up.token}/page.js", {})[0] == 200
    assert up.ask("/lab", header)[0] == 200
    assert up.ask("/nothing", header)[0] == 404
    assert up.ask("/do/stop", header, b"{}")[0] == 202


def test_another_name_for_loopback_is_refused(up: Up) -> None:
    for host in ("evil.example", "127.0.0.1", "localhost:1", ""):
        assert up.ask(f"/?token={up.token}", {"Host": host})[0] in (400, 403)


def test_another_origin_is_refused(up: Up) -> None:
    given = {"X-Lab-Token": up.token}
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        assert up.ask("/do/stop", given | {"Origin": origin}, b"{}")[0] == 403
    assert up.ask("/do/stop", given | {"Origin": up.origin}, b"{}")[0] == 202


def test_a_form_cannot_act(up: Up) -> None:
    """Its token could only stand in the address."""
    assert up.ask(f"/do/stop?token={up.token}", {}, b"{}")[0] == 403


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("/do/send", b'{"cases": ["registration", "nothing"]}'),
        ("/do/send", b'{"cases": 7}'),
        ("/do/send", b"[]"),
        ("/do/send", b"{"),
        ("/do/fault", b'{"id": "nothing", "on": true}'),
        ("/do/nothing", b"{}"),
    ],
)
def test_what_nobody_offers_is_refused(up: Up, path: str, given: bytes) -> None:
    assert up.ask(path, {"X-Lab-Token": up.token}, given)[0] == 400


def test_every_answer_forbids_what_the_page_does_not_need(up: Up) -> None:
    with urllib.request.urlopen(up.page, timeout=10) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Server"] is None


def test_the_files_are_the_users_alone(up: Up) -> None:
    folder = Path(up.said["files"]["policy"]).parent
    assert folder.stat().st_mode & 0o077 == 0
    assert folder.parent.stat().st_mode & 0o077 == 0


def test_events_reach_two_pages_at_once(page: Page, up: Up) -> None:
    other = page.context.new_page()
    other.goto(f"{up.page}#registration")
    other.wait_for_selector("#shown[data-case=registration]")
    reference = choose(page, "registration")
    other.wait_for_selector(f"#shown[data-reference='{reference}']")
