"""Files of a distribution point, by the names that packages have, through the bridge.

What a client asks for is what the PROPFIND before it listed (protocol.md §7).
"""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit
from xml.etree import ElementTree

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.clients.life_cycle import listing
from ibcm_bridge.lab.protocol.content import NAMED, SETUP
from tests.integration.lab import Lab

PACKAGE = "/SMS_DP_SMSPKG$/XYZ0004A"
CLOSE = {"Connection": "close"}


def listed(lab: Lab) -> list[str]:
    """Targets of all files, as the distribution point lists them to a client of the bridge."""
    request = listing(PACKAGE)
    reply = lab.send_one(
        lab.request(request.method, request.target, CLOSE | dict(request.headers), request.body)
    )
    assert reply.status == 207
    lab.record()
    lab.clear()
    hrefs = ElementTree.fromstring(reply.body).iterfind(".//{DAV:}href")
    parts = [urlsplit(href.text or "") for href in hrefs]
    return [f"{part.path}?{part.query}" for part in parts]


def test_a_client_gets_each_listed_file(lab: Lab) -> None:
    targets = listed(lab)
    assert [unquote(target.partition("?/")[2]) for target in targets] == [SETUP, *NAMED]
    with lab.client() as client:
        for target, name in zip(targets[1:], NAMED, strict=True):
            head = client.request("HEAD", target)
            reply = client.request("GET", target, {"Range": "bytes=0-"})
            assert (head.status, reply.status, reply.body.decode()) == (200, 206, name)
            assert head.header("Content-Length") == str(len(name.encode()))
    sent = [received.target for received in lab.site.received()]
    assert sent == [target for target in targets[1:] for _ in ("HEAD", "GET")]
    assert {record["verdict"] for record in lab.records(2 * len(NAMED))} == {"allow"}


def test_curl_gets_a_file_with_a_spanish_name(lab: Lab) -> None:
    target = f"{PACKAGE}/sccm?/{quote('Español.txt')}"
    run = lab.curl(target=target, credential=lab.credentials.computer)
    (reply,) = lab.read_responses(run.stdout, ["GET"])
    assert (reply.status, reply.body.decode()) == (200, "Español.txt")
    assert lab.record()["target"] == target


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("themes/100%2525.theme", "target.query"),
        ("themes/%252e%252e/100%25.theme", "target.query"),
        ("a%252fb.txt", "target.query"),
        ("C%23/..%23/readme.txt", "target.segment"),
        ("a%EF%BC%9Ab.txt", "target.query"),
        ("a%E2%88%95b.txt", "target.query"),
        ("Espa%F1ol.txt", "target.encoding"),
        ("a%C0%AF..%C0%AFb", "target.encoding"),
        ("PROGRA~1/setup.exe", "target.short-name"),
        ("SETUP~2.EXE", "target.short-name"),
        ("con", "target.device"),
        ("aux.txt", "target.device"),
        ("COM%C2%B9", "target.device"),
        ("a.txt%C2%A0", "target.segment"),
    ],
)
def test_a_file_with_an_ambiguous_name_is_refused(lab: Lab, name: str, rule: str) -> None:
    target = f"{PACKAGE}/sccm?/{name}"
    reply = lab.send_one(lab.request(target=target, fields=CLOSE))
    lab.check_refused(reply, Reason.TARGET_UNSAFE, rule, "BRIDGE-INSPECT")
