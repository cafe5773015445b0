"""Error pages: which ones are replaced, and what is only observed."""

from __future__ import annotations

import gzip

import pytest

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.inspection.error_page import ErrorPage, judge_error_page
from ibcm_bridge.inspection.response import unreadable
from ibcm_bridge.policy.message_policy import Enforcement, MessagePolicy

HTML = b"text/html; charset=utf-8"
XML = b"text/xml; charset=utf-8"
PAGE = b"<html><p>404 at <a href='https://mp01.corp.example/'>MP01.CORP.EXAMPLE</a><br></html>"
FAULT = b"""<?xml version="1.0" encoding="utf-8"?>
<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body><soap:Fault>
<faultcode>soap:Client</faultcode><faultstring>Fault occurred at %b</faultstring>
<detail><ErrorCode>InvalidCookie</ErrorCode></detail></soap:Fault></soap:Body></soap:Envelope>"""
CLEAN = FAULT % b"Microsoft.UpdateServices.Internal.SoapUtilities"
LEAK = FAULT % b"sup01.corp.example"
TOO_LARGE = unreadable(rules.REPLIES_LIMIT, "more than 65536 bytes")


def judged(
    content_type: bytes, body: bytes | Deny, *codings: bytes, enforce: bool = True
) -> ErrorPage:
    terms = MessagePolicy(
        host_names=Enforcement.ENFORCE if enforce else Enforcement.OBSERVE,
        internal_domains=frozenset(("corp.example",)),
    )
    return judge_error_page(content_type, codings, body, terms)


@pytest.mark.parametrize("content_type", [XML, b"application/soap+xml", b"Application/XML"])
def test_xml_without_internal_names_is_forwarded(content_type: bytes) -> None:
    assert judged(content_type, CLEAN) == ErrorPage(replaced=False)
    assert judged(content_type, CLEAN, b"identity") == ErrorPage(replaced=False)


@pytest.mark.parametrize(
    ("content_type", "body", "codings"),
    [
        (HTML, PAGE, ()),
        (HTML, b"<html>nothing internal</html>", ()),
        (b"", b"text", ()),
        (b"text/plain", CLEAN, ()),
        (XML, LEAK, ()),
        (XML, FAULT % b"&#115;up01.corp.example", ()),
        (XML, CLEAN[:-1], ()),
        (XML, b"<!DOCTYPE x [<!ENTITY e SYSTEM 'x'>]><x>&e;</x>", ()),
        (XML, PAGE, ()),
        (XML, TOO_LARGE, ()),
        (XML, CLEAN, (b"gzip",)),
        (XML, gzip.compress(CLEAN), (b"gzip",)),
        (HTML, gzip.compress(PAGE), (b"gzip",)),
        (XML, CLEAN, (b"identity", b"br")),
    ],
)
def test_any_other_page_is_replaced(
    content_type: bytes, body: bytes | Deny, codings: tuple[bytes, ...]
) -> None:
    assert judged(content_type, body, *codings) == ErrorPage(replaced=True)


@pytest.mark.parametrize(
    ("content_type", "body", "codings", "names"),
    [
        (HTML, PAGE, (), ["mp01.corp.example"]),
        (HTML, b"<html>nothing internal</html>", (), []),
        (XML, LEAK, (), ["sup01.corp.example"]),
        (XML, CLEAN, (), []),
        (XML, PAGE, (), []),
        (HTML, PAGE, (b"gzip",), []),
        (HTML, TOO_LARGE, (), []),
        (HTML, b"\xff\xfe mp01.corp.example \x00", (), ["mp01.corp.example"]),
    ],
)
def test_without_enforcement_pages_are_forwarded_and_names_observed(
    content_type: bytes, body: bytes | Deny, codings: tuple[bytes, ...], names: list[str]
) -> None:
    page = judged(content_type, body, *codings, enforce=False)
    assert not page.replaced
    assert page.observed == tuple(f"reply-host-names: {name}" for name in names)
