"""What the wire shows, on the lab's page: reached by keyboard, with captures to download."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ibcm_bridge.lab.page.captures import NOT_SENT
from tests.lab.page.running import Up, choose

PCAPNG = b"\x0a\x0d\x0d\x0a"
CASE = "malware-in-zlib"


def by_keyboard(page: Page, selector: str) -> None:
    page.locator(selector).focus()
    page.keyboard.press("Enter")


def downloaded(page: Page, path: str) -> bytes:
    with page.expect_download() as download:
        by_keyboard(page, f"#capture-{path}")
    assert download.value.suggested_filename == f"{CASE}-{path}.pcapng"
    return Path(download.value.path()).read_bytes()


def test_the_finding_is_beside_the_bytes_that_passed_the_tunnel(page: Page) -> None:
    choose(page, CASE)
    by_keyboard(page, "#wire > summary")
    expect(page.locator("#finding")).to_have_text(
        "Finding: eicar_test_file in text. It is marked below."
    )
    mark = page.locator(".decoded mark")
    expect(mark).to_have_count(1)
    expect(mark).to_contain_text("EICAR-STANDARD")
    # It is at the end of a long text.
    assert mark.evaluate(
        "(mark) => { const [inner, box] = [mark, mark.parentElement].map((one) => "
        "one.getBoundingClientRect()); return inner.top >= box.top && inner.bottom <= box.bottom; }"
    )
    name = page.locator(".part.marked")
    expect(name).to_have_count(1)
    expect(name.locator("mark")).to_have_text("mp-tunnel.internet.example")
    expect(name.locator(".dump")).to_contain_text("6d 70 2d 74 75 6e 6e 65  mp-tunne")
    expect(page.locator(".record.encrypted").first).to_contain_text("Encrypted record")


def test_tls_1_2_shows_the_client_certificate_beside_tls_1_3(page: Page) -> None:
    choose(page, CASE)
    by_keyboard(page, "#wire > summary")
    by_keyboard(page, "#tls12")
    by_keyboard(page, "[id='bytes-tunnel-tls1.2']")
    cells = page.locator(".facts tr", has_text="Client certificate").locator("td")
    expect(cells).to_have_text(["encrypted", "pc1.corp.example"])
    expect(page.locator(".part.marked mark")).to_have_text(
        ["mp-tunnel.internet.example", "mp01.corp.example", "pc1.corp.example"]
    )
    assert page.evaluate("document.activeElement.id") == "bytes-tunnel-tls1.2"


def test_both_captures_are_downloaded_by_keyboard(page: Page) -> None:
    choose(page, CASE)
    by_keyboard(page, "#wire > summary")
    bridge, tunnel = downloaded(page, "bridge"), downloaded(page, "tunnel")
    assert bridge.startswith(PCAPNG)
    assert tunnel.startswith(PCAPNG)
    secret = b"CLIENT_TRAFFIC_SECRET_0"
    assert secret in bridge
    assert secret not in tunnel


def test_the_wire_stays_open_for_the_next_case_and_is_hidden_without_one(page: Page) -> None:
    choose(page, CASE)
    page.click("#wire > summary")
    choose(page, "no-certificate")
    expect(page.locator("#finding")).to_contain_text("The bridge read no request.")
    page.evaluate("location.hash = 'state-message'")
    page.wait_for_selector("#shown[data-case=state-message]")
    expect(page.locator("#wire")).to_be_visible()
    page.click("#life")
    expect(page.locator("#wire")).to_be_hidden()


def test_on_a_phone_message_and_bytes_are_below_each_other(page: Page) -> None:
    choose(page, CASE)
    page.wait_for_selector("body[data-busy=no]")
    page.set_viewport_size({"width": 390, "height": 844})
    page.click("#wire > summary")
    page.wait_for_selector(".records")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(
        "(() => { const [left, right] = [...document.querySelectorAll('#wire section')].map("
        "(one) => one.getBoundingClientRect()); return left.bottom <= right.top; })()"
    )


@pytest.mark.parametrize(
    ("case", "path", "why"),
    [
        ("first-certificate", "tunnel-tls1.2", NOT_SENT),
        ("first-certificate", "nothing", "Unknown case or path."),
        ("nothing", "bridge", "Unknown case or path."),
    ],
)
def test_a_capture_that_does_not_exist_gets_a_sentence(
    up: Up, case: str, path: str, why: str
) -> None:
    status, body = up.request(f"/capture/{case}/{path}.pcapng?token={up.token}", {})
    assert (status, body.decode().strip()) == (404, why)


def test_the_wire_of_a_case_that_was_not_sent_has_a_sentence(up: Up) -> None:
    status, body = up.request("/wire/first-certificate", {"X-Lab-Token": up.token})
    assert status == 200
    assert json.loads(body)["tunnel-tls1.2"] == {"missing": NOT_SENT}
    assert up.request("/wire/nothing", {"X-Lab-Token": up.token})[0] == 404


@pytest.mark.parametrize("given", [b'{"case": "nothing"}', b"{}", b'{"case": 7}'])
def test_an_unknown_case_is_not_sent_with_tls_1_2(up: Up, given: bytes) -> None:
    assert up.request("/do/tls12", {"X-Lab-Token": up.token}, given)[0] == 400
