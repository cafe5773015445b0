"""Cookies and events in SOAP: those of clients are allowed, attacks are refused (SUP-WSUS)."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.limits import (
    MAX_COOKIE,
    MAX_EVENT_LIST,
    MAX_EVENT_TAG,
    MAX_EVENT_TEXT,
    MAX_EVENTS,
)
from ibcm_bridge.messages.soap import SHARED, SOAP_1_1, SoapRequest, read_soap
from ibcm_bridge.messages.soap_fields import check_fields

CLIENT = f"{SHARED}/Server/ClientWebService"
ZERO = "00000000-0000-0000-0000-000000000000"
STREAM = b"\0\1\0\0\0\xff\xff\xff\xff\1\0\0\0\0\0\0\0"
"""The header of a BinaryFormatter stream, without content."""


def request(operation: str, inner: str, namespace: str = CLIENT) -> str:
    return (
        f'<s:Envelope xmlns:s="{SOAP_1_1}"><s:Body>'
        f'<{operation} xmlns="{namespace}">{inner}</{operation}></s:Body></s:Envelope>'
    )


def checked(text: str) -> Deny | None:
    found = read_soap(text, "bodies.soap", SOAP_1_1)
    assert isinstance(found, SoapRequest), found
    views = (text, found.parsed_text)
    return check_fields(found.fields, found.events, views, "bodies.soap")


def refused(text: str) -> tuple[str, str]:
    denial = checked(text)
    assert denial is not None
    assert denial.reason is Reason.SOAP_CONTENT
    return denial.rule.removeprefix("bodies.soap."), denial.detail


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# Cookies


def get_cookie(data: str, more: str = "", old: str = "AA==") -> str:
    """[MS-WUSP] 2.2.2.2.2."""
    cookie = f"<PlugInId>SimpleTargeting</PlugInId><CookieData>{data}</CookieData>"
    return request(
        "GetCookie",
        f"<authCookies><AuthorizationCookie>{cookie}</AuthorizationCookie>{more}</authCookies>"
        f"<oldCookie><EncryptedData>{old}</EncryptedData></oldCookie>"
        "<lastChange>2026-01-01T00:00:00Z</lastChange><protocolVersion>1.20</protocolVersion>",
    )


@pytest.mark.parametrize(
    "data", ["", "AA==", b64(bytes(range(256))), b64(b"\1" * MAX_COOKIE), " AA\n==\t"]
)
def test_a_cookie_of_a_server_is_allowed(data: str) -> None:
    assert checked(get_cookie(data)) is None


def test_a_cookie_in_the_shared_namespace_is_checked_too() -> None:
    inner = f'<c><x:EncryptedData xmlns:x="{SHARED}">%</x:EncryptedData></c>'
    assert refused(request("SyncUpdates", inner)) == ("encrypteddata", "not base64")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b64(b"\1" * (MAX_COOKIE + 1)), "more than 4096 bytes"),
        (b64(b"\1" * (MAX_COOKIE * 100)), "more than 4096 bytes"),
        ("not base64!", "not base64"),
        ("AAA", "not base64"),
        ("\u00e4", "not base64"),
        (b64(STREAM), "a .NET BinaryFormatter stream"),
        (b64(STREAM.replace(b"\1", b"\7", 1)), "a .NET BinaryFormatter stream"),
        ("AAEA<!-- -->AAD/////AQAAAAAAAAA=", "a .NET BinaryFormatter stream"),
        ("AAEA&#x41;AD/////AQAAAAAAAAA=", "a .NET BinaryFormatter stream"),
    ],
)
def test_a_cookie_that_no_server_creates_is_refused(data: str, why: str) -> None:
    assert refused(get_cookie(data)) == ("cookiedata", why)
    assert refused(get_cookie("", old=data)) == ("encrypteddata", why)


def test_a_request_has_one_cookie_of_each_kind() -> None:
    more = "<AuthorizationCookie><CookieData>AA==</CookieData></AuthorizationCookie>"
    assert refused(get_cookie("AA==", more)) == ("cookiedata", "more than one")
    another = more.replace("CookieData", "cookiedata")
    assert refused(get_cookie("AA==", another)) == ("cookiedata", "more than one")


def test_a_cookie_has_no_child_elements() -> None:
    rule, why = refused(get_cookie("AA<b/>=="))
    assert (rule, why) == ("cookiedata", "child elements instead of text")


@given(st.binary(max_size=64))
def test_any_bytes_are_allowed_or_refused_as_a_cookie(data: bytes) -> None:
    denial = checked(get_cookie(b64(data)))
    assert denial is None or denial.rule == "bodies.soap.cookiedata"


# Events


def event(misc: str = "A=0", replacement: str = "1", app: str = "ccmexec") -> str:
    """[MS-WUSP] 2.2.2.3.1."""
    return (
        "<ReportingEvent><BasicData><TargetID><Sid>e1da06a3-5601-43c9-bac3-52d5db701494</Sid>"
        "</TargetID><SequenceNumber>0</SequenceNumber><EventID>147</EventID>"
        f"<UpdateID><UpdateID>{ZERO}</UpdateID><RevisionNumber>0</RevisionNumber></UpdateID>"
        f"<AppName>{app}</AppName></BasicData><ExtendedData>"
        f"<ReplacementStrings><string>{replacement}</string></ReplacementStrings>"
        f"<MiscData><string>{misc}</string><string>L=2026-01-01T00:00:00</string></MiscData>"
        "<ComputerBrand>A &amp; B</ComputerBrand></ExtendedData><PrivateData/></ReportingEvent>"
    )


def report(*events: str) -> str:
    cookie = "<cookie><EncryptedData>AA==</EncryptedData></cookie>"
    batch = f"<eventBatch>{''.join(events)}</eventBatch>"
    return request("ReportEventBatch", f"{cookie}<clientTime/>{batch}", SHARED)


CALLER = "&lt;&lt;PROCESS&gt;&gt;: inventory.exe"


@pytest.mark.parametrize(
    "events",
    [
        [],
        [event()],
        [event(misc=f"U={';'.join([ZERO] * 1_700)}")],
        [event(misc="")],
        [event(misc="V=")],
        # From a Windows 11 agent.
        [
            event(misc=f"{tag}=0")
            for tag in ("dd", "CsiErrorType", "WUfBOn", "DisableDS", "PauseQU")
        ],
        [event(misc="AppName=CcmExec"), event(misc="Flags=a=b")],
        [event(misc="x" * MAX_EVENT_TAG + "=0")],
        # The program of a caller without a name.
        [event(misc=f"AppName={CALLER}"), event(misc=f"T={CALLER}"), event(app=CALLER)],
        [event(replacement=CALLER)],
        [event(replacement="Update for x64 &lt; 2026 &amp; later (KB1234567)")],
        [event(app="a" * MAX_EVENT_TEXT)],
    ],
)
def test_a_report_of_a_client_is_allowed(events: list[str]) -> None:
    assert checked(report(*events)) is None


def test_the_number_of_events_is_limited() -> None:
    small = "<ReportingEvent><EventID>1</EventID></ReportingEvent>"
    assert checked(report(*[small] * MAX_EVENTS)) is None
    rule, why = refused(report(*[small] * (MAX_EVENTS + 1)))
    assert (rule, why) == ("events", "1001 events; at most 1000 allowed")
    assert refused(report(*["<x/>"] * (MAX_EVENTS + 1)))[0] == "events"


NO_TAG = "not a tag of 1 to 64 characters, `=` and a value"
SOAP_FORMATTER = (
    "&lt;SOAP-ENV:Envelope xmlns:a=&quot;http://schemas.microsoft.com/clr/nsassem/x&quot;/&gt;"
)


@pytest.mark.parametrize(
    ("text", "rule", "why"),
    [
        (event(misc=f"A={SOAP_FORMATTER}"), "string", "markup in a text"),
        (event(misc="A=<![CDATA[<SOAP-ENV:Envelope/>]]>"), "string", "markup in a text"),
        (event(misc="A=&lt;<!-- -->a"), "string", "markup in a text"),
        (event(replacement=SOAP_FORMATTER), "string", "markup in a text"),
        (event(app="&lt;a/&gt;"), "appname", "markup in a text"),
        (event(app="&lt;\u00e9:Envelope"), "appname", "markup in a text"),
        (event(app="&lt;:a/&gt;"), "appname", "markup in a text"),
        (event(app="&lt;\U00010000/&gt;"), "appname", "markup in a text"),
        (event(app="&lt;PROCESS&gt;: a.exe"), "appname", "markup in a text"),
        (event(app="&lt;&lt;process&gt;&gt;: a.exe"), "appname", "markup in a text"),
        (event(app="&lt;&lt;PROCESS a='b'&gt;&gt;: a.exe"), "appname", "markup in a text"),
        (event(app="&lt;&lt;PROCESS&gt;&gt;a.exe"), "appname", "markup in a text"),
        (event(app=f"{CALLER}&lt;a/&gt;"), "appname", "markup in a text"),
        (event(misc=f"AppName={CALLER}&lt;/a&gt;"), "string", "markup in a text"),
        # Markup that remains after the marker is removed.
        (event(app=f"&lt;{CALLER}"), "appname", "markup in a text"),
        (
            event(misc="SynchronizationUpdateErrorsKey=1"),
            "string",
            "a tag that only WSUS itself uses",
        ),
        (event(misc="synchronizationkey=1"), "string", "a tag that only WSUS itself uses"),
        (event(misc="x" * (MAX_EVENT_TAG + 1) + "=0"), "string", NO_TAG),
        (event(misc="1"), "string", NO_TAG),
        (event(misc="=1"), "string", NO_TAG),
        (event(misc="App Name=1"), "string", NO_TAG),
        (event(misc="App\nName=1"), "string", NO_TAG),
        (event(misc=" A=1"), "string", NO_TAG),
        (event(misc="\u00c4=1"), "string", NO_TAG),
        (event(misc="A=<b/>1"), "string", "child elements instead of text"),
        (event(replacement="<b/>"), "string", "child elements instead of text"),
        (event(misc="A=" + "x" * MAX_EVENT_LIST), "string", "more than 65536 characters"),
        (event(app="x" * (MAX_EVENT_TEXT + 1)), "appname", "more than 1024 characters"),
        (event(misc=f"A={b64(STREAM)}"), "serialized", "a .NET BinaryFormatter stream"),
        (event(replacement="SCHEMAS.microsoft.com/CLR/x"), "serialized", "SoapFormatter"),
    ],
)
def test_an_event_with_something_to_deserialize_is_refused(text: str, rule: str, why: str) -> None:
    found, detail = refused(report(event(), text))
    assert found == rule
    assert why in detail


def test_a_type_of_the_soap_formatter_is_refused_at_any_place() -> None:
    inner = '<a xmlns:x="http://schemas.microsoft.com/clr/nsassem/A/B">1</a>'
    assert refused(request("SyncUpdates", inner))[0] == "serialized"
    inner = '<a b="http://schemas.microsoft.com/&#99;lr/assem">1</a>'
    assert refused(request("SyncUpdates", inner))[0] == "serialized"
