"""The page in a browser: Chromium, on a bridge that has served a client's life (`run --web`).

Needs the browser of Debian's package chromium, or one that the variable CHROMIUM names:
nothing else can say what a page looks like, and what mitmproxy's script makes of what
it is told.
"""

from __future__ import annotations

import base64
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.clients.life_cycle import LIFE, run_steps
from ibcm_bridge.lab.protocol.client import HandshakeRefused, LabClient
from tests import needs
from tests.integration.lab import Lab

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
TALL = {"width": 1_400, "height": 1_600}
"""The list is only made as far as it can be seen."""

BRIDGED = "bridge.internet.example"
MP_TUNNEL = "mp-tunnel.internet.example"
PASSWORD = "hunter2-of-an-account"
TICKET = "c2VjcmV0LXRpY2tldC1vZi1hLXVzZXI"
ROWS = "tr:has(td.col-method)"


@pytest.fixture(scope="module")
def run_options() -> tuple[str, ...]:
    return ("--web", "0")


@dataclass
class Shown:
    """A page that has been opened, and all that it was told or answered since."""

    lab: Lab
    page: Page
    url: str
    secrets: set[str]
    problems: list[str] = field(default_factory=list)
    frames: list[str | bytes] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return self.url.partition("/?")[0]

    def choose(self, text: str) -> None:
        """Look at the first row that has this text."""
        if self.page.locator(f"tr.selected:has-text('{text}')").count():
            return  # another click would choose nothing
        self.page.click(f"{ROWS}:has-text('{text}') >> nth=0")
        self.page.wait_for_selector(f"tr.selected:has-text('{text}')")

    def tab(self, name: str) -> str:
        """The text of a tab of what is looked at, once it is all there."""
        self.page.click(f".flow-detail nav a:text-is('{name}')")
        self.page.wait_for_selector(f".flow-detail nav a.active:text-is('{name}')")
        self.page.wait_for_load_state("networkidle")
        # A view that has been fetched need not be drawn yet. A selector, not a script:
        # the page's policy forbids eval, and Chromium enforces it on scripts that poll.
        self.page.wait_for_selector(".flow-detail section:not(:has-text('Loading...'))")
        return self.page.inner_text(".flow-detail section")

    def fetch(self, path: str, verb: str = "GET", body: str | None = None) -> tuple[int, bytes]:
        """What the page's own script would get, with its cookies."""
        status, answer = self.page.evaluate(
            """async ([path, method, body]) => {
                const xsrf = document.cookie.match(/_mitmproxy_xsrf=([^;]*)/)?.[1] ?? "";
                const headers = {"X-XSRFToken": xsrf, "Content-Type": "application/json"};
                const answer = await fetch(path, {method, body, headers});
                const bytes = new Uint8Array(await answer.arrayBuffer());
                let text = "";
                for (const one of bytes) text += String.fromCharCode(one);
                return [answer.status, btoa(text)];
            }""",
            [path, verb, body],
        )
        return status, base64.b64decode(answer)

    def flows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.fetch("/flows.json")[1])
        return found

    def check_no_secret(self, text: str | bytes, where: str) -> None:
        data = text.encode() if isinstance(text, str) else text
        for secret in self.secrets:
            spellings = [secret.encode(), secret.encode("utf-16-le")]
            spellings.append(base64.b64encode(secret.encode())[:-4])
            assert not any(spelled in data for spelled in spellings), f"{secret!r} in {where}"


@pytest.fixture(scope="module")
def traffic(module_lab: Lab) -> tuple[int, set[str]]:
    """What there is to be shown, and what of it must not be."""
    lab = module_lab
    device = Device.of(lab.credentials.computer, "pc1.corp.example")
    secrets = {PASSWORD, TICKET}
    with lab.client() as client:
        lived = list(run_steps(client.send, device, LIFE))
    assert lived[-1].good
    for exchange in lived:
        signed = [value for name, value in exchange.request.headers if name.endswith("Signature")]
        secrets |= set(signed)
    assert len(secrets) > 2
    with lab.client() as client:
        inventory = lab.message(xml=f"<Report><Password>{PASSWORD}</Password></Report>")
        assert lab.ccm_post(client, inventory).status == 200
    for target in ("/SMS_MP/.sms_aut?MPLIST", f"/SMS_MP/x?access_token={TICKET}"):
        with lab.client() as client:
            fields = {"Authorization": f"Negotiate {TICKET}", "Cookie": TICKET}
            assert client.request("DELETE", target, fields).status in (404, 405)
    with lab.client(name=MP_TUNNEL) as client:
        assert client.request("GET", "/SMS_MP/.sms_aut?MPLIST").status == 200
    with pytest.raises(HandshakeRefused), lab.client(name="nobody.example") as client:
        client.request("GET", "/")
    nobody = LabClient(lab.bridge.address, BRIDGED, trust=lab.pki.root, credential=None)
    with pytest.raises(HandshakeRefused), nobody as client:
        client.request("GET", "/SMS_MP/.sms_aut?MPLIST")
    count = len(LIFE) + 6
    lab.records(count)
    return count, secrets


@pytest.fixture(scope="module")
def shown(module_lab: Lab, traffic: tuple[int, set[str]]) -> Iterator[Shown]:
    """The page, with all of the traffic on it."""
    (url,) = re.findall(r"traffic is shown on (\S+)", "".join(module_lab.bridge.lines))
    count, secrets = traffic
    needs.demand("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=needs.browser(), args=FLAGS)
        page = browser.new_context(viewport=TALL).new_page()  # type: ignore[arg-type]
        one = Shown(module_lab, page, url, secrets)
        page.on("pageerror", lambda error: one.problems.append(str(error)))
        page.on("response", lambda answer: _note(one, answer.status, answer.url))
        page.on("websocket", lambda socket: socket.on("framereceived", lambda f: _hear(one, f)))
        page.goto(url)
        page.wait_for_selector(f"footer :text('of {count} flows selected')")
        # The list shows mitmweb's columns until the options have come.
        page.wait_for_selector("th.col-comment")
        assert one.problems == []
        yield one
        browser.close()


@pytest.fixture(autouse=True)
def without_problems(shown: Shown) -> Iterator[None]:
    shown.problems.clear()
    yield
    assert shown.problems == []


def _hear(shown: Shown, frame: str | bytes) -> None:
    shown.frames.append(frame)


def _note(shown: Shown, status: int, url: str) -> None:
    if status >= 400:
        shown.problems.append(f"{status} {url}")


# What is to be seen


def test_the_list_has_each_request_and_its_result(shown: Shown) -> None:
    rows = shown.page.locator(ROWS).all_inner_texts()
    assert len(rows) == len(LIFE) + 6
    assert "CCM_POST" in rows[0]
    assert "allowed: management-point, MP_ClientRegistration" in rows[0]
    refused, also_refused, tunnel, handshake, nobody = rows[-5:]
    assert "405" in refused
    assert "refused: verb, by management-point.verbs (VERB-MP)" in refused
    assert "access_token=..." in also_refused
    assert "tunneled without inspection (TUNNEL-BLIND)" in tunnel
    assert f"↔ {MP_TUNNEL}" in tunnel
    assert "refused: unknown-name, by listener.publications" in handshake
    assert "refused: certificate-missing, by bridge.internet.example.clients" in nobody
    assert shown.page.url.startswith(f"{shown.origin}/#/"), "without the token"


def test_a_message_and_its_reply_are_shown(shown: Shown) -> None:
    shown.choose("MP_ClientRegistration")
    asked = shown.tab("Request")
    assert "CCM_POST for MP_ClientRegistration" in asked
    assert "<ClientRegistrationRequest>" in asked
    assert "PayloadSignature    [256 bytes]" in asked
    answered = shown.tab("Response")
    assert "Reply to CCM_POST: ClientRegistrationResponse" in answered
    shown.choose("MPLIST1")
    assert "Management points" in shown.tab("Response")


def test_a_refusal_is_shown_with_its_reason(shown: Shown) -> None:
    shown.choose("DELETE")
    said = "refused: verb, by management-point.verbs (VERB-MP): DELETE is not allowed for this role"
    assert said in shown.tab("Error")
    comment = shown.tab("Comment").splitlines()
    assert {"reason: verb", "requirement: VERB-MP", "method: DELETE"} <= set(comment)
    assert "Authorization: [not shown]" in shown.tab("Request").replace("\xa0", " ")


def test_a_refused_handshake_is_shown_with_its_reason(shown: Shown) -> None:
    shown.choose("certificate-missing")
    said = (
        "refused: certificate-missing, by bridge.internet.example.clients "
        "(BRIDGE-AUTH-COMPUTER): no certificate was presented"
    )
    assert said in shown.tab("Error")
    comment = set(shown.tab("Comment").splitlines())
    assert {"event: connection-refused", "tls_alert: certificate_required"} <= comment
    assert said in shown.tab("Stream Data")


def test_a_tunnel_is_shown_as_not_inspected(shown: Shown) -> None:
    shown.choose(MP_TUNNEL)
    text = shown.tab("Stream Data")
    assert "tunneled without inspection (TUNNEL-BLIND)" in text
    assert f"server_name: {MP_TUNNEL}" in text


def test_no_view_of_the_page_has_a_secret(shown: Shown) -> None:
    for number in range(shown.page.locator(ROWS).count()):
        shown.page.locator(ROWS).nth(number).click()
        for name in shown.page.locator(".flow-detail nav a").all_inner_texts():
            shown.tab(name)
            shown.check_no_secret(shown.page.content(), f"row {number}, {name}")


def test_no_resource_of_the_page_has_a_secret(shown: Shown) -> None:
    paths = [f"/{name}" for name in ("flows.json", "flows/dump", "events.json", "options.json")]
    paths += ["/state.json", "/commands.json", "/filter-help.json", "/flows/dump?filter=~q"]
    for flow in shown.flows():
        sides = [side for side in ("request", "response") if side in flow]
        paths += [f"/flows/{flow['id']}/{side}/content.data" for side in sides]
        sides = sides or ["messages"]
        paths += [
            f"/flows/{flow['id']}/{side}/content/{view}.json"
            for side in sides
            for view in ("auto", "raw", "hex")
        ]
    for path in paths:
        status, body = shown.fetch(path)
        assert status == 200, path
        shown.check_no_secret(body, path)
    dump = shown.fetch("/flows/dump")[1]
    assert b"Password>[not shown]<" in dump, "the message itself is there"
    assert len(paths) > 100


def test_live_updates_have_no_secrets(shown: Shown) -> None:
    before = len(shown.flows())
    with shown.lab.client() as client:
        client.request("DELETE", f"/SMS_MP/meanwhile?token={TICKET}", {"Cookie": TICKET})
    shown.page.wait_for_selector(f"{ROWS}:has-text('meanwhile')")
    assert len(shown.flows()) == before + 1
    assert any("meanwhile" in str(frame) for frame in shown.frames)
    for frame in shown.frames:
        shown.check_no_secret(frame, "what the page is told")


# What cannot be done

OFFERED = ["File", "Flow List", "Flow", "Download", "Copy"]
NOT_OFFERED = [
    *("Replay", "Duplicate", "Revert", "Delete", "Mark", "Resume", "Abort", "Edit", "Replace"),
    *("Capture", "Options", "Intercept", "Export", "Resume All"),
]


def test_refused_actions_are_not_offered(shown: Shown) -> None:
    shown.choose("MP_ClientRegistration")
    shown.tab("Request")
    clickable = "header a, header button, .flow-detail a, .flow-detail button"
    offered = [
        element.inner_text().strip().rstrip("▾").strip()
        for element in shown.page.locator(clickable).all()
        if element.is_visible()
    ]
    assert not set(NOT_OFFERED) & set(offered)
    assert set(OFFERED) <= set(offered)
    shown.page.click("header a.special")
    menu = shown.page.locator(".dropdown-menu:is(.show, .is-open) li:visible").all_inner_texts()
    assert [text.strip() for text in menu] == ["Save", "Save filtered", "Clear All"]
    shown.page.click("footer")  # closes it


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("POST", "/flows/{id}/replay"),
        ("POST", "/flows/{id}/duplicate"),
        ("POST", "/flows/{id}/revert"),
        ("POST", "/flows/{id}/resume"),
        ("POST", "/flows/{id}/kill"),
        ("POST", "/flows/resume"),
        ("POST", "/flows/kill"),
        ("PUT", "/flows/{id}"),
        ("DELETE", "/flows/{id}"),
        ("POST", "/flows/{id}/request/content.data"),
        ("POST", "/flows/dump"),
        ("PUT", "/options.json"),
        ("POST", "/options/save"),
        ("POST", "/commands/replay.client"),
        ("POST", "/commands/script.run"),
        ("GET", "/processes"),
    ],
)
def test_every_action_is_refused(shown: Shown, verb: str, path: str) -> None:
    shown.lab.site.clear()
    before = shown.flows()
    path = path.format(id=before[0]["id"])
    body = None if verb == "GET" else '{"request": {"path": "/"}, "scripts": ["x.py"]}'
    status, answer = shown.fetch(path, verb, body)
    assert (status, answer) in ((403, b"This page only shows traffic.\n"), (403, answer))
    assert shown.problems == [f"403 {shown.origin}{path}"]
    shown.problems.clear()
    assert shown.flows() == before
    assert shown.lab.site.received() == ()
    assert shown.lab.site.handshakes() == ()


def test_keyboard_shortcuts_have_no_effect(shown: Shown) -> None:
    shown.lab.site.clear()
    shown.choose("MP_ClientRegistration")
    before = shown.flows()
    for key in ("r", "D", "V", "a", "A", "x", "X"):
        shown.page.keyboard.press(key)
    shown.page.wait_for_load_state("networkidle")
    assert shown.flows() == before
    assert shown.lab.site.received() == ()
    assert shown.problems, "something was tried"
    assert {problem[:3] for problem in shown.problems if problem[0] == "4"} == {"403"}
    shown.problems.clear()


def test_without_the_token_no_page_is_shown(shown: Shown) -> None:
    for path in ("/", "/flows.json", "/flows/dump", "/?token=wrong"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(shown.origin + path, timeout=5)
        with refused.value as answer:
            assert answer.code == 403
            assert b"CCM_POST" not in answer.read()


def test_another_origin_gets_no_data(shown: Shown) -> None:
    """In the same browser, whose cookies would open it."""
    elsewhere = shown.page.context.new_page()
    elsewhere.route("http://evil.example/**", lambda route: route.fulfill(body="<p>evil</p>"))
    elsewhere.goto("http://evil.example/")
    read = """url => fetch(url, {credentials: "include"}).then(a => a.text(), e => "refused")"""
    told = """url => new Promise(done => {
        const socket = new WebSocket(url);
        socket.onopen = () => done("opened");
        socket.onerror = () => done("refused");
    })"""
    assert elsewhere.evaluate(read, f"{shown.origin}/flows.json") == "refused"
    assert elsewhere.evaluate(told, f"{shown.origin}/updates".replace("http", "ws")) == "refused"
    elsewhere.close()


def test_the_output_of_the_bridge_has_no_token(shown: Shown) -> None:
    said = "".join(shown.lab.bridge.lines)
    shown.check_no_secret(said, "what the bridge said")
    assert said.count("?token=") == 1, "where it says the address"
    assert "defect" not in said


def test_clearing_removes_only_the_shown_requests(shown: Shown) -> None:
    """The last one."""
    written = len(shown.lab.audit())
    shown.page.once("dialog", lambda dialog: dialog.accept())
    shown.page.click("header a.special")
    shown.page.click(".dropdown-menu:is(.show, .is-open) li:has-text('Clear All')")
    shown.page.wait_for_selector(f"{ROWS}", state="detached")
    assert shown.flows() == []
    assert len(shown.lab.audit()) == written
