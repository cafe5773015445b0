"""SOAP requests: the action of the head, the operation of the body, and their form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.limits import (
    MAX_NAMES,
    MAX_SOAP_DEPTH,
    MAX_SOAP_ELEMENTS,
    MAX_SOAP_PIECES,
)
from ibcm_bridge.messages.soap import (
    SHARED,
    SOAP_1_1,
    SOAP_1_2,
    SoapRequest,
    SoapType,
    read_action,
    read_soap,
    read_soap_type,
)

NAMESPACE = "http://www.microsoft.com/SoftwareDistribution/Server/ClientWebService"
ACTION = f"{NAMESPACE}/GetConfig"
IN_1_2 = b"application/soap+xml"


def envelope(body: str, namespace: str = SOAP_1_1, more: str = "") -> str:
    return f'<s:Envelope xmlns:s="{namespace}">{more}<s:Body>{body}</s:Body></s:Envelope>'


def operation(inner: str = "", name: str = "GetConfig") -> str:
    return f'<{name} xmlns="{NAMESPACE}">{inner}</{name}>'


def refused(text: str, namespace: str = SOAP_1_1) -> Deny:
    denial = read_soap(text, "here", namespace)
    assert isinstance(denial, Deny), denial
    return denial


XSI_ONLY = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
XSI = f'{XSI_ONLY} xmlns:s="u"'


@pytest.mark.parametrize("attribute", ['xsi:type="s:x"', 'href="#1"', 's:encodingStyle="u"'])
def test_attributes_that_change_an_element_are_refused(attribute: str) -> None:
    # Driver scans send xsi:nil, and some reports SOAP's arrayType.
    harmless = f'<a {XSI} xsi:nil="true"/><a {XSI} s:arrayType="s:x[1]"/><type>href</type>'
    allowed = envelope(operation(harmless))
    assert isinstance(read_soap(allowed, "here", SOAP_1_1), SoapRequest)
    for text in (
        envelope(operation(f"<a {XSI} {attribute}/>")),
        envelope(f'<GetConfig xmlns="{NAMESPACE}" {XSI} {attribute}/>'),
        envelope(operation()).replace(
            "<s:Body>", f"<s:Body {XSI} {attribute}>".replace('xmlns:s="u"', "")
        ),
    ):
        denial = refused(text)
        assert (denial.reason, denial.rule) == (Reason.SOAP_ENVELOPE, "here.envelope")


@pytest.mark.parametrize("place", ["<s:Body>", "</s:Body>", "<GetConfig ", "</s:Envelope>"])
def test_text_beside_the_body_or_its_element_is_refused(place: str) -> None:
    whole = envelope(operation("<a>text</a> in it "))
    assert isinstance(
        read_soap(whole.replace(place, f"\r\n {place}"), "here", SOAP_1_1), SoapRequest
    )
    for text in ("x", "&#65;", "<![CDATA[x]]>", "\u00a0"):
        denial = refused(whole.replace(place, f"{text}{place}"))
        assert (denial.reason, denial.rule) == (Reason.SOAP_ENVELOPE, "here.envelope")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-7", "iso-8859-1"])
def test_a_declaration_of_another_encoding_is_refused(encoding: str) -> None:
    whole = envelope(operation())
    for name in ("utf-8", "UTF-8"):
        declared = f'<?xml version="1.0" encoding="{name}"?>{whole}'
        assert isinstance(read_soap(declared, "here", SOAP_1_1), SoapRequest)
    denial = refused(f'<?xml version="1.0" encoding="{encoding}"?>{whole}')
    assert (denial.reason, denial.rule) == (Reason.ENCODING, "here.encoding")


def test_the_elements_of_a_request_are_limited() -> None:
    # Envelope, Body and operation are three.
    for inner, many in (("<int>1</int>", MAX_SOAP_ELEMENTS - 3), ("x\n&lt;", MAX_SOAP_PIECES // 2)):
        allowed = envelope(operation(inner * many))
        assert isinstance(read_soap(allowed, "here", SOAP_1_1), SoapRequest)
        denial = refused(envelope(operation(inner * (many + 1))))
        assert (denial.reason, denial.rule) == (Reason.XML, "here.limits")


# The Content-Type


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"text/xml", SoapType(SOAP_1_1, None)),
        (b"Text/XML; Charset=UTF-8", SoapType(SOAP_1_1, None)),
        (b'text/xml;charset="utf-8"', SoapType(SOAP_1_1, None)),
        (IN_1_2, SoapType(SOAP_1_2, None)),
        (IN_1_2 + b'; charset=utf-8; action="urn:A/B"', SoapType(SOAP_1_2, "urn:A/B")),
        (IN_1_2 + b"; ACTION=GetConfig ;charset=utf-8", SoapType(SOAP_1_2, "GetConfig")),
    ],
)
def test_the_content_types_of_soap_are_parsed(content_type: bytes, expected: SoapType) -> None:
    assert read_soap_type(content_type) == expected


@pytest.mark.parametrize(
    "content_type",
    [
        b"",
        b"text/plain",
        b"text/xml; charset=utf-16",
        b"text/xml; charset=utf-7",
        b'text/xml; action="urn:a"',
        b"text/xml; boundary=x",
        b"text/xml;",
        b"text/xml; charset=utf-8; charset=utf-8",
        b"text/xml; charset='utf-8'",
        IN_1_2 + b'; action="a"; action="b"',
        IN_1_2 + b'; action="a;b"',
        IN_1_2 + b'; action="a\\"b"',
        IN_1_2 + b'; action="a b"',
        IN_1_2 + b'; action="a',
        IN_1_2 + b"; action=",
        IN_1_2 + b'; action="a" "b"',
        IN_1_2 + b'; start-info="text/xml"',
    ],
)
def test_other_content_types_are_not_accepted(content_type: bytes) -> None:
    assert read_soap_type(content_type) is None


@given(st.binary(max_size=60), st.sampled_from((b"text/xml", IN_1_2)))
def test_any_parameters_are_parsed_or_not_accepted(rest: bytes, begins: bytes) -> None:
    found = read_soap_type(begins + b";" + rest)
    assert found is None or found.envelope in (SOAP_1_1, SOAP_1_2)


# The action


def test_the_action_is_in_quotes_in_its_field() -> None:
    assert read_action(SoapType(SOAP_1_1, None), [f'"{ACTION}"'.encode()], "here") == ACTION


@pytest.mark.parametrize("fields", [[], [f'"{ACTION}"'.encode()]])
def test_the_action_of_soap_1_2_is_a_parameter_and_may_also_be_in_the_field(
    fields: list[bytes],
) -> None:
    assert read_action(SoapType(SOAP_1_2, ACTION), fields, "here") == ACTION


@pytest.mark.parametrize(
    ("soap_type", "fields", "why"),
    [
        (SoapType(SOAP_1_1, None), [], "no SOAPAction"),
        (SoapType(SOAP_1_1, None), [b"urn:a"], "several SOAPAction fields, or one without quotes"),
        (SoapType(SOAP_1_1, None), [b""], "several SOAPAction fields, or one without quotes"),
        (
            SoapType(SOAP_1_1, None),
            [b'"a" "b"'],
            "several SOAPAction fields, or one without quotes",
        ),
        (
            SoapType(SOAP_1_1, None),
            [b'"a"', b'"a"'],
            "several SOAPAction fields, or one without quotes",
        ),
        (SoapType(SOAP_1_2, None), [], "no action in the Content-Type"),
        (SoapType(SOAP_1_2, None), [b'"a"'], "no action in the Content-Type"),
        (SoapType(SOAP_1_2, "a"), [b'"b"'], "different actions"),
        (SoapType(SOAP_1_2, "a"), [b"a"], "several SOAPAction fields, or one without quotes"),
    ],
)
def test_a_missing_or_ambiguous_action_is_refused(
    soap_type: SoapType, fields: list[bytes], why: str
) -> None:
    denial = read_action(soap_type, fields, "here")
    assert isinstance(denial, Deny)
    assert (denial.reason, denial.rule) == (Reason.SOAP_ACTION, "here.action")
    assert why in denial.detail


# The Envelope


@pytest.mark.parametrize("namespace", [SOAP_1_1, SOAP_1_2])
def test_the_operation_is_the_element_in_the_body(namespace: str) -> None:
    found = read_soap(envelope(operation("<v>1&#46;20</v>"), namespace), "here", namespace)
    assert found == SoapRequest(NAMESPACE, "GetConfig", "1.20")
    assert found.action == ACTION


def test_prefixes_do_not_matter() -> None:
    text = f'<Envelope xmlns="{SOAP_1_1}"><Body><x:A xmlns:x="urn:b"/></Body></Envelope>'
    assert read_soap(text, "here", SOAP_1_1) == SoapRequest("urn:b", "A", "")


def test_elements_in_the_shared_namespace_are_allowed() -> None:
    inner = f'<cookie><EncryptedData xmlns="{SHARED}">AA==</EncryptedData></cookie>'
    assert isinstance(read_soap(envelope(operation(inner)), "here", SOAP_1_1), SoapRequest)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (operation(), "not an Envelope"),
        (envelope(operation(), SOAP_1_2), "not an Envelope"),
        (envelope(operation(), "urn:soap"), "not an Envelope"),
        (f"<Envelope><Body>{operation()}</Body></Envelope>", "not an Envelope"),
        (envelope(operation(), more="<s:Header/>"), "other elements than one Body"),
        (envelope(operation(), more="<s:Body/>"), "other elements than one Body"),
        (envelope(operation(), more='<Body xmlns="urn:a"/>'), "other elements than one Body"),
        (envelope(operation() + operation(name="GetCookie")), "more than one element"),
        (envelope(operation() + operation()), "more than one element"),
        (envelope(""), "a Body without an element"),
        (f'<s:Envelope xmlns:s="{SOAP_1_1}"/>', "a Body without an element"),
        (envelope(operation('<a xmlns="urn:other"/>')), "in another namespace"),
        (envelope(operation('<a xmlns=""/>')), "in another namespace"),
        (envelope(operation(envelope(operation()))), "in another namespace"),
        (envelope(operation("<a>" * MAX_SOAP_DEPTH + "</a>" * MAX_SOAP_DEPTH)), "nested deeper"),
        (envelope(operation("".join(f"<a{n}/>" for n in range(MAX_NAMES + 1)))), "more than 8192"),
    ],
)
def test_an_invalid_envelope_is_refused(text: str, why: str) -> None:
    denial = refused(text)
    assert (denial.reason, denial.rule) == (Reason.SOAP_ENVELOPE, "here.envelope")
    assert why in denial.detail


def test_malformed_xml_is_refused_as_xml() -> None:
    assert refused(envelope(operation())[:-1]).reason is Reason.XML
    assert refused("<a:b/>").reason is Reason.XML, "a prefix that stands for nothing"
    assert refused('<!DOCTYPE a SYSTEM "x"><a/>').reason is Reason.XML_DTD
