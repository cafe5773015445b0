"""Messages by protocol.md 1.3 to 1.7, byte for byte where it specifies the bytes."""

from __future__ import annotations

import zlib
from xml.etree import ElementTree as ET

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ibcm_bridge.lab.protocol import ccm, documents, signing
from ibcm_bridge.lab.site_systems.message_replies import MessageReplies

GUID = "0a1b2c3d-0000-4000-8000-00000000000f"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
B = b"aAbBcCdDv1234567890VxXyYzZ"


def message(**changes: object) -> bytes:
    arguments: dict[str, object] = {
        "endpoint": "MP_HinvEndpoint",
        "body_xml": "<Report/>",
        "client_guid": GUID,
    }
    return ccm.ccm_post_body(**(arguments | changes))  # type: ignore[arg-type]


def test_the_frame_is_that_of_the_messaging_sdk() -> None:
    assert ccm.raw_message("<Msg/>", b"PAYLOAD") == (
        b"--" + B + b"\r\ncontent-type: text/plain; charset=UTF-16\r\n\r\n"
        b"\xff\xfe<\0M\0s\0g\0/\0>\0"
        b"\r\n--" + B + b"\r\ncontent-type: application/octet-stream\r\n\r\n"
        b"PAYLOAD"
        b"\r\n--" + B + b"--"
    )
    assert ccm.CONTENT_TYPE == 'multipart/mixed; boundary="aAbBcCdDv1234567890VxXyYzZ"'


@pytest.mark.parametrize(("trailing_crlf", "end"), [(True, b"\0\0\r\n"), (False, b"\0\0")])
def test_the_body_is_compressed_utf16_with_nul_and_optional_crlf(
    trailing_crlf: bool, end: bytes
) -> None:
    sent = ccm.read_message(message(trailing_crlf=trailing_crlf))
    assert sent.payload is not None
    assert zlib.decompress(sent.payload) == "<Report/>".encode("utf-16-le") + end


def test_the_length_includes_the_nul_but_not_the_crlf() -> None:
    sent = ccm.read_message(message())
    body = ET.fromstring(sent.header_xml).find("Body")
    assert body is not None
    assert body.attrib == {"Type": "ByteRange", "Offset": "0", "Length": "20"}
    assert sent.body_text() == "<Report/>"


def test_the_header_has_endpoint_client_and_zlib_hook() -> None:
    header = ET.fromstring(ccm.read_message(message()).header_xml)
    assert header.findtext("TargetEndpoint") == "MP_HinvEndpoint"
    assert header.findtext("SourceID") == f"GUID:{GUID.upper()}"
    assert header.findtext("TargetHost") == "mp01.corp.example"
    assert [hook.tag for hook in header.iterfind("Hooks/*")] == ["Hook3"]


def test_without_a_key_there_is_no_clientauth_hook() -> None:
    assert ccm.read_message(message()).hook_properties() == {}


def test_signatures_are_reversed_pkcs1_of_the_guid_and_the_sent_bytes() -> None:
    sent = ccm.read_message(message(key=KEY))
    properties = sent.hook_properties()
    signed = {
        "ClientIDSignature": f"GUID:{GUID.upper()}".encode("utf-16-le") + b"\0\0",
        "PayloadSignature": sent.payload or b"",
    }
    for name, data in signed.items():
        signature = bytes.fromhex(properties[name])[::-1]
        KEY.public_key().verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
        assert properties[name] == properties[name].upper()
        assert not signing.verifies(KEY.public_key(), properties[name], data + b"x")
    assert properties["HashAlgorithm"] == "1.2.840.113549.1.1.11"


def test_the_public_key_is_a_cryptoapi_blob() -> None:
    blob = signing.public_key_blob(KEY.public_key())
    assert blob[:20] == b"\x06\x02\0\0\0\xa4\0\0RSA1\x00\x08\0\0\x01\0\x01\0"
    assert int.from_bytes(blob[20:], "little") == KEY.public_key().public_numbers().n


def test_the_identification_headers_are_spelled_as_on_the_wire_and_valid() -> None:
    headers = signing.identification_headers(GUID, KEY, ccm.SENT_TIME)
    assert list(headers) == [
        "CCMClientID",
        "CCMClientIDSignature",
        "CCMClientTimestamp",
        "CCMClientTimestampSignature",
    ]
    stamp = signing.terminated(headers["CCMClientTimestamp"])
    assert signing.verifies(KEY.public_key(), headers["CCMClientTimestampSignature"], stamp)


def test_an_inventory_has_a_realistic_size() -> None:
    text = documents.inventory_report(GUID).encode("utf-16-le")
    assert 26_000 < len(text) < 31_000
    assert 2_400 < len(zlib.compress(text)) < 3_500
    ET.fromstring(documents.inventory_report(GUID, rows=3))


def test_the_output_is_deterministic() -> None:
    assert message(key=KEY) == message(key=KEY)


def test_text_is_escaped() -> None:
    header = ccm.read_message(message(client_guid="GUID:<&'--")).header_xml
    assert ET.fromstring(header).findtext("SourceID") == "GUID:<&'--"


def test_no_reply_has_one_part() -> None:
    assert ccm.parse_reply(ccm.NO_REPLY) == ("NoReply", None)


@pytest.mark.parametrize("data", [b"", b"--x--", message()[:-1], message() + b"\r\n"])
def test_a_wrong_frame_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="frame"):
        ccm.read_message(data)


@pytest.mark.parametrize(
    ("endpoint", "body", "root"),
    [
        ("MP_PolicyManager", documents.policy_request(GUID), "ReplyAssignments"),
        ("MP_LocationManager", documents.location_request(), "SiteInformationReply"),
        (
            "mp_locationmanager",
            documents.location_request("ContentLocationRequest"),
            "ContentLocationReply",
        ),
    ],
)
def test_a_management_point_replies_in_two_parts(endpoint: str, body: str, root: str) -> None:
    request = message(endpoint=endpoint, body_xml=body, key=KEY)
    _, text = ccm.parse_reply(MessageReplies().reply(request))
    assert text is not None
    assert ET.fromstring(text).tag == root


def test_a_reply_is_compressed_only_on_request() -> None:
    header = ccm.message_header("MP_LocationManager", 0, hooks="")
    body = documents.location_request().encode("utf-16-le") + b"\0\0"
    header = header.replace('Length="0"', f'Length="{len(body)}"').replace('"zlib"', '"none"')
    plain = b"text/plain; charset=UTF-16"
    reply = MessageReplies().reply(ccm.raw_message(header, body, inner_type=plain))
    payload = ccm.read_message(reply).payload or b""
    assert payload.decode("utf-16-le").startswith("<SiteInformationReply")
    assert (ccm.parse_reply(reply)[1] or "").startswith("<SiteInformationReply")


def test_a_report_gets_no_reply() -> None:
    assert MessageReplies().reply(message(key=KEY)) == ccm.NO_REPLY


def test_a_payload_changed_after_signing_gets_an_empty_reply() -> None:
    sent = ccm.read_message(message(key=KEY))
    other = zlib.compress(zlib.decompress(sent.payload or b""), level=0)
    assert MessageReplies().reply(ccm.raw_message(sent.header_xml, other)) == b""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        ccm.raw_message("<Msg", b""),
        ccm.raw_message(ccm.message_header("MP_HinvEndpoint", 20), b"not zlib"),
        message(endpoint="MP_Unknown"),
    ],
)
def test_an_invalid_message_gets_an_empty_reply(data: bytes) -> None:
    assert MessageReplies().reply(data) == b""
