"""Messages of clients: their parts and slices (BRIDGE-INSPECT, BRIDGE-IDENTITY, HTTP-MULTIPART)."""

from __future__ import annotations

import zlib

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.protocol import ccm, documents
from tests.integration.inspection.samples import GUID, REQUEST, around, compressed, post, report
from tests.integration.lab import Lab

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
def test_a_valid_message_is_forwarded_byte_for_byte(lab: Lab, kind: str, signed: bool) -> None:
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
    assert views[:5] == ["sent", "header", "inflated", "text", "parsed-text"]
    assert all(view.startswith("value ") for view in views[5:]), "signatures and keys, decoded"


def test_other_forms_of_a_valid_message_are_allowed(lab: Lab) -> None:
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
def test_another_boundary_is_allowed(lab: Lab, quoted: bool) -> None:
    payload, length = compressed(report("x"))
    body = around(payload, length, boundary=b"another-boundary_1")
    boundary = '"another-boundary_1"' if quoted else "another-boundary_1"
    fields = {"Connection": "close", "Content-Type": f"multipart/mixed; boundary={boundary}"}
    assert lab.send_one(lab.request("CCM_POST", REQUEST, fields, body)).status == 200
    assert lab.received().body == body
    assert lab.record()["verdict"] == "allow"


def test_a_large_inventory_is_allowed(lab: Lab) -> None:
    body = lab.message(xml=documents.inventory_report(GUID, 16_000))
    with lab.client() as client:
        assert lab.ccm_post(client, body).body == ccm.NO_REPLY
    inflated = lab.record()["inspected"][2]
    assert int(inflated.partition(":")[2]) > 10_000_000


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
def test_an_ambiguous_multipart_body_is_refused(lab: Lab, case: str) -> None:
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
def test_a_content_type_has_exactly_one_valid_boundary(lab: Lab, content_type: str) -> None:
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
def test_a_slice_outside_the_payload_is_refused(lab: Lab, offset: int, taken: int) -> None:
    payload, length = compressed(report("x"))
    header = ccm.message_header("MP_HinvEndpoint", length + taken)
    header = header.replace('Offset="0"', f'Offset="{offset}"')
    reply = post(lab, ccm.raw_message(header, payload))
    record = lab.record()
    assert record["rule"] in ("ccm.slices", "ccm.payload.xml")
    lab.check_refused(reply, Reason.XML, record["rule"])


def test_bytes_outside_the_slices_are_refused(lab: Lab) -> None:
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
