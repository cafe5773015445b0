"""The lab's page in a browser: every button, by mouse and by keyboard, with `lab up` as a process.

Needs Debian's package chromium, or the browser in the variable CHROMIUM.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from ibcm_bridge.lab.cases.case import Case, Disposition
from ibcm_bridge.lab.cases.table import CASES, FAMILIES
from ibcm_bridge.lab.clients.life_cycle import LIFE
from ibcm_bridge.lab.page.tour import LIFE_CYCLE, TOUR
from tests import needs

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE = 60_000  # milliseconds


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


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    needs.demand("chromium")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=needs.browser(), args=FLAGS)


@pytest.fixture
def page(up: Up, browser: Browser) -> Iterator[Page]:
    """Open the page in a large window; each console message fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
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


def test_each_button_sends_its_case_and_shows_the_result(page: Page, up: Up) -> None:
    for case in CASES:
        choose(page, case.id)
        bridge = page.locator(".path.bridge")
        expect(bridge).to_have_class("path bridge right")
        got = case.bridge.alert or str(case.bridge.status)
        expect(page.locator(".card.bridge .received strong")).to_contain_text(got)
        expect(page.locator("#shown .note")).to_have_count(0)
        result = up.case(case.id)["result"]
        if "reason" in (record := result["paths"]["bridge"]["audit"]):
            expect(bridge).to_contain_text(record["rule"])
            expect(bridge).to_contain_text(record["requirement"])
        expect(page.locator("#announcement")).to_contain_text(case.title)
        assert page.url.endswith(f"#{case.id}")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_sent_with_one_button(page: Page, family: str) -> None:
    page.click(f"[data-family='{family}']")
    last = FAMILIES[family][-1]
    expect(page.locator("#announcement")).to_contain_text(last.title, timeout=PATIENCE)
    page.wait_for_selector("body[data-busy=no]")


def test_all_cases_can_be_sent_and_stopped(page: Page) -> None:
    page.click("#all")
    page.wait_for_selector("#stop:enabled")
    page.click("#stop")
    page.wait_for_selector("body[data-busy=no]")
    expect(page.locator("#running")).to_have_text("Ready")
    page.click("#all")
    expect(page.locator("#announcement")).to_contain_text(CASES[-1].title, timeout=10 * PATIENCE)
    for case in CASES:
        expect(page.locator(f"nav [data-case='{case.id}'] .marks span").first).to_have_text("✓")


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


def test_the_list_of_cases_is_one_stop_of_the_tab_key(page: Page) -> None:
    page.wait_for_selector("#send")
    stops = 0
    while page.evaluate("document.activeElement.id") != "send":
        page.keyboard.press("Tab")
        stops += 1
        assert stops < 12
    page.locator("nav [tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.closest('nav') !== null")
    assert page.locator("nav [tabindex='0']").count() == 1


def test_all_cases_end_in_a_table_and_a_counted_score(page: Page, up: Up) -> None:
    page.click("#all")
    expect(page.locator("#announcement")).to_contain_text(CASES[-1].title, timeout=10 * PATIENCE)
    page.wait_for_selector("body[data-busy=no]")
    expect(page.locator("#results tbody th[scope=row]")).to_have_count(len(CASES))
    results = [up.case(case.id)["result"] for case in CASES]
    for path in ("bridge", "tunnel"):
        words = Counter(result[path]["word"] for result in results if result[path])
        total = page.locator(".total").nth(("bridge", "tunnel").index(path))
        for word, count in words.items():
            expect(total).to_contain_text(f"{count} ")
            expect(total).to_contain_text(word)
        grades = Counter(result[path]["mark"] for result in results if result[path])
        for mark, count in grades.items():
            expect(page.locator("#score .score-part", has_text=path)).to_contain_text(
                f"{mark} {count}"
            )
    page.click("#results tbody a >> nth=1")
    page.wait_for_selector(f"#shown[data-case={CASES[1].id}]")


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


def test_a_case_can_be_sent_by_keyboard(page: Page) -> None:
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
    # The page shows the new result, and keeps the focus.
    assert page.evaluate("document.activeElement.id") == "send"


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


# The tour


def test_the_tour_is_given_with_next_and_back(page: Page) -> None:
    page.click("#tour-start")
    for number, step in enumerate(TOUR, 1):
        expect(page.locator("#tour-bar")).to_contain_text(f"Step {number} of {len(TOUR)}")
        expect(page.locator("#notes")).to_contain_text(step.point)
        if step.show != LIFE_CYCLE:
            # The page sends a case of the tour by itself.
            page.wait_for_selector(f"#shown[data-case={step.show}][data-reference] svg.wide")
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


def test_an_unknown_step_of_the_tour_is_reported(page: Page, up: Up) -> None:
    page.goto(f"{up.page}#tour-8")
    expect(page.locator("#unknown")).to_contain_text("tour-8")
    expect(page.locator("#tour-bar")).to_be_hidden()


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


# curl


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_curl_line_has_the_same_result_as_the_button(up: Up, case: Case) -> None:
    lines = up.case(case.id)["preview"]["curl"]
    if lines["unsupported"]:
        assert case.session_requests or case.id == "two-lengths"
        return
    *before, bridge = lines["bridge"]
    for line in before:
        assert pasted(line)[1].startswith(b"HTTP/1.1 200 ")
    status, response = pasted(bridge)
    if case.bridge.status is None:
        assert (status, response) == (status or None, b"")  # curl reports the error on stderr
        return
    assert response.split(b" ")[1] == str(case.bridge.status).encode(), response[:300]
    for line in lines["tunnel"]:
        status, response = pasted(line)
        if case.tunnel is Disposition.ACCEPTED:
            assert response.split(b" ")[1][:1] == b"2", response[:300]


def test_the_printed_curl_lines_work(up: Up) -> None:
    got = [pasted(command["line"])[1].split(b" ")[1] for command in up.summary["curl"]]
    assert got == [b"200", b"405", b"200"]


def pasted(line: str) -> tuple[int, bytes]:
    """Run a line in a shell; return the exit status and the output."""
    needs.demand("curl")
    assert shlex.split(line)[0] == "curl"
    done = subprocess.run(["sh", "-c", line], capture_output=True, timeout=30, check=False)
    return done.returncode, done.stdout


# Access control

PATHS = ["/", "/events", "/lab", "/case/registration", "/files/x/page.js", "/nothing"]


@pytest.mark.parametrize("path", PATHS)
def test_each_request_without_the_token_is_refused(up: Up, path: str) -> None:
    for wrong in ("", "?token=", f"?token={up.token[:-1]}"):
        status, body = up.request(path + wrong, {"X-Lab-Token": up.token[:-1]})
        assert status == 403
        assert b"token" in body
        assert up.token.encode() not in body


def test_each_request_with_the_token_is_allowed(up: Up) -> None:
    header = {"X-Lab-Token": up.token}
    assert up.request(f"/?token={up.token}", {})[0] == 200
    assert up.request(f"/files/{up.token}/page.js", {})[0] == 200
    assert up.request("/lab", header)[0] == 200
    assert up.request("/nothing", header)[0] == 404
    assert up.request("/do/stop", header, b"{}")[0] == 202


def test_another_name_for_loopback_is_refused(up: Up) -> None:
    for host in ("evil.example", "127.0.0.1", "localhost:1", ""):
        assert up.request(f"/?token={up.token}", {"Host": host})[0] in (400, 403)


def test_another_origin_is_refused(up: Up) -> None:
    given = {"X-Lab-Token": up.token}
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        assert up.request("/do/stop", given | {"Origin": origin}, b"{}")[0] == 403
    assert up.request("/do/stop", given | {"Origin": up.origin}, b"{}")[0] == 202


def test_a_form_cannot_act(up: Up) -> None:
    """A form can send the token only in the URL."""
    assert up.request(f"/do/stop?token={up.token}", {}, b"{}")[0] == 403


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
def test_an_unknown_action_is_refused(up: Up, path: str, given: bytes) -> None:
    assert up.request(path, {"X-Lab-Token": up.token}, given)[0] == 400


def test_each_response_has_the_security_header_fields(up: Up) -> None:
    with urllib.request.urlopen(up.page, timeout=10) as response:
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["X-Frame-Options"] == "DENY"
        assert response.headers["Server"] is None


def test_only_the_user_can_read_the_files(up: Up) -> None:
    folder = Path(up.summary["files"]["policy"]).parent
    assert folder.stat().st_mode & 0o077 == 0
    assert folder.parent.stat().st_mode & 0o077 == 0


def test_events_reach_two_pages(page: Page, up: Up) -> None:
    other = page.context.new_page()
    other.goto(f"{up.page}#registration")
    other.wait_for_selector("#shown[data-case=registration]")
    reference = choose(page, "registration")
    other.wait_for_selector(f"#shown[data-reference='{reference}']")
