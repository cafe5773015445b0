"""Framing, sizes, expectations and pipelining, byte by byte: HTTP-1.1, BRIDGE-INSPECT."""

from __future__ import annotations

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.protocol import ccm
from tests.integration.lab import Lab
from tests.integration.samples import CLOSE, CONTENT, MESSAGE, MP_LIST, NAME

# Framing: what makes a front and the server behind it disagree

HOST = f"Host: {NAME}\r\n".encode()
GET = b"GET " + MP_LIST.encode() + b" HTTP/1.1\r\n"
POST = b"CCM_POST /ccm_system/request HTTP/1.1\r\n" + HOST
TYPE = f"Content-Type: {ccm.CONTENT_TYPE}\r\n".encode()
SMUGGLED = b"GET /SMS_MP_AltAuth/.sms_aut?MPLIST HTTP/1.1\r\n" + HOST + b"\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"

MALFORMED = {
    "folded": (GET + HOST + b"X-A: b\r\n c\r\n\r\n", Reason.MALFORMED_HEAD, "head.field-name"),
    "folded-with-a-tab": (
        GET + b"Host:\r\n\t" + NAME.encode() + b"\r\n\r\n",
        Reason.MALFORMED_HEAD,
        "head.field-name",
    ),
    "space-before-colon": (
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        Reason.MALFORMED_HEAD,
        "head.field-name",
    ),
    "no-colon": (GET + HOST + b"X-A\r\n\r\n", Reason.MALFORMED_HEAD, "head.field-name"),
    "empty-name": (GET + HOST + b": x\r\n\r\n", Reason.MALFORMED_HEAD, "head.field-name"),
    "bare-lf": (GET + HOST + b"X-A: b\nX-C: d\r\n\r\n", Reason.MALFORMED_HEAD, "head.line-end"),
    "all-bare-lf": (
        (GET + HOST + b"\r\n").replace(b"\r", b""),
        Reason.MALFORMED_HEAD,
        "head.line-end",
    ),
    "bare-cr": (GET + HOST + b"X-A: b\rX-C: d\r\n\r\n", Reason.MALFORMED_HEAD, "head.line-end"),
    "empty-line-first": (b"\r\n" + GET + HOST + b"\r\n", Reason.MALFORMED_HEAD, None),
    "nul": (GET + HOST + b"X-A: b\x00c\r\n\r\n", Reason.MALFORMED_HEAD, "head.field-value"),
    "two-spaces": (
        GET.replace(b"GET ", b"GET  ") + HOST + b"\r\n",
        Reason.MALFORMED_HEAD,
        "head.request-line",
    ),
    "tab": (
        GET.replace(b"GET ", b"GET\t") + HOST + b"\r\n",
        Reason.MALFORMED_HEAD,
        "head.request-line",
    ),
    "space-in-target": (
        b"GET /SMS_MP/.sms_aut?MPLIST x HTTP/1.1\r\n" + HOST + b"\r\n",
        Reason.MALFORMED_HEAD,
        "head.request-line",
    ),
    "leading-space": (b" " + GET + HOST + b"\r\n", Reason.MALFORMED_HEAD, "head.request-line"),
    "raw-target": (
        b"GET /SMS_MP/\xe9 HTTP/1.1\r\n" + HOST + b"\r\n",
        Reason.MALFORMED_HEAD,
        "head.target",
    ),
    "method-not-a-token": (
        b"GET/ /SMS_MP/x HTTP/1.1\r\n" + HOST + b"\r\n",
        Reason.MALFORMED_HEAD,
        "head.method",
    ),
    "http-0.9": (b"GET " + MP_LIST.encode() + b"\r\n\r\n", Reason.MALFORMED_HEAD, None),
    "http-lower-case": (
        GET.replace(b"HTTP", b"http") + HOST + b"\r\n",
        Reason.MALFORMED_HEAD,
        "head.version",
    ),
    "http-1.0": (GET.replace(b"1.1", b"1.0") + HOST + b"\r\n", Reason.HTTP_VERSION, "head.version"),
    "http-2-preface": (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        Reason.HTTP_VERSION,
        "head.version",
    ),
    "chunked": (POST + TYPE + CHUNKED, Reason.LENGTH_REQUIRED, "head.transfer-encoding"),
    "chunked-get": (GET + HOST + CHUNKED, Reason.LENGTH_REQUIRED, "head.transfer-encoding"),
    "identity": (
        POST + TYPE + b"Transfer-Encoding: identity\r\n\r\n",
        Reason.LENGTH_REQUIRED,
        "head.transfer-encoding",
    ),
    "no-length": (POST + TYPE + b"\r\n", Reason.LENGTH_REQUIRED, "head.content-length"),
    "length-and-chunked": (
        POST + TYPE + b"Content-Length: 5\r\n" + CHUNKED,
        Reason.FRAMING,
        "head.transfer-encoding",
    ),
    "chunked-and-length": (
        POST + b"Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        Reason.FRAMING,
        "head.transfer-encoding",
    ),
    "two-lengths": (
        POST + TYPE + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + SMUGGLED,
        Reason.FRAMING,
        "head.content-length",
    ),
    "two-equal-lengths": (
        POST + TYPE + b"Content-Length: 0\r\ncontent-length: 0\r\n\r\n",
        Reason.FRAMING,
        "head.content-length",
    ),
    "a-list-of-lengths": (
        POST + TYPE + b"Content-Length: 0, 0\r\n\r\n",
        Reason.FRAMING,
        "head.content-length",
    ),
}
MALFORMED |= {
    f"length-{text}": (
        POST + TYPE + f"Content-Length: {text}\r\n\r\n".encode(),
        Reason.FRAMING,
        "head.content-length",
    )
    for text in ("+5", "-1", "0x10", "05", "5.0", "", "99999999999999999999")
}


@pytest.mark.parametrize("case", MALFORMED)
def test_an_ambiguous_head_is_refused(lab: Lab, case: str) -> None:
    data, reason, rule = MALFORMED[case]
    reply = lab.send_one(data)
    lab.check_refused(reply, reason, rule or lab.record()["rule"], "HTTP-1.1")


def test_the_unambiguous_twins_are_allowed(lab: Lab) -> None:
    body = lab.message()
    head = POST + TYPE + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    data = GET + HOST + b"X-A: b c\r\n\r\n" + head + body
    replies = lab.send(data, "GET", "CCM_POST")
    assert [response.status for response in replies] == [200, 200]
    assert [received.method for received in lab.site.received()] == ["GET", "CCM_POST"]
    assert [record["verdict"] for record in lab.records(2)] == ["allow", "allow"]


# Sizes


@pytest.mark.parametrize(
    "head",
    [
        GET + HOST + b"User-Agent: " + b"x" * 70_000 + b"\r\n\r\n",
        GET + HOST + b"A: b\r\n" * 20_000 + b"\r\n",
        b"GET /SMS_MP/" + b"x" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"A" * 70_000,
    ],
    ids=["a-long-field", "many-fields", "a-long-target", "no-end"],
)
def test_a_head_that_is_too_large_is_refused(lab: Lab, head: bytes) -> None:
    reply = lab.send_one(head)
    lab.check_refused(reply, Reason.HEAD_TOO_LARGE, "limits.request_head", "HTTP-1.1")


def test_a_head_with_a_large_kerberos_ticket_is_allowed(lab: Lab) -> None:
    assert lab.send_one(lab.request(fields=CLOSE | {"User-Agent": "x" * 60_000})).status == 200
    assert lab.record()["verdict"] == "allow"


@pytest.mark.parametrize(
    ("method", "target", "size", "rule"),
    [
        ("CCM_POST", "/ccm_system/request", 4 * 1024 * 1024 + 1, "bodies.ccm-message.limit"),
        ("CCM_POST", "/ccm_system/request", 10**18, "bodies.ccm-message.limit"),
        ("PROPFIND", f"{CONTENT}", 65_537, "bodies.webdav.limit"),
    ],
)
def test_a_body_that_is_too_large_is_refused_without_reading_it(
    lab: Lab, method: str, target: str, size: int, rule: str
) -> None:
    # Not a byte of the body is sent, nor is one asked for.
    fields = {**MESSAGE, "Content-Length": str(size)}
    if method == "PROPFIND":
        fields["Content-Type"] = "text/xml"
    reply = lab.send_one(lab.request(method, target, fields))
    record = lab.check_refused(reply, Reason.BODY_TOO_LARGE, rule, "BRIDGE-INSPECT")
    assert record["bytes_from_client"] == 0


@pytest.mark.parametrize(("method", "size"), [("GET", 1), ("GET", 10**18), ("HEAD", 10**12)])
def test_a_body_that_is_not_allowed_is_refused_without_reading_it(
    lab: Lab, method: str, size: int
) -> None:
    reply = lab.send_one(lab.request(method, MP_LIST, {"Content-Length": str(size)}))
    assert reply.status == 400
    rule = "bodies.none.limit"
    record = lab.check_refused(reply, Reason.BODY_NOT_ALLOWED, rule, "BRIDGE-INSPECT")
    assert record["bytes_from_client"] == 0


def test_a_fragment_that_is_too_large_is_refused_without_reading_it(lab: Lab) -> None:
    fields = {"BITS-Packet-Type": "Fragment", "Content-Length": str(4_194_305)}
    reply = lab.send_one(lab.request("BITS_POST", "/CCM_Incoming/x", fields))
    lab.check_refused(reply, Reason.BODY_TOO_LARGE, "bodies.bits-upload.limit")
    assert reply.status == 413  # BITS sends smaller ones


def test_a_client_that_still_sends_its_body_gets_the_refusal(lab: Lab) -> None:
    fields = {**MESSAGE, "Content-Length": str(50_000_000)}
    head = lab.request("CCM_POST", "/ccm_system/request", fields)
    with lab.connect() as connection:
        connection.sendall(head + bytes(800_000))
        (reply,) = lab.read_responses(lab.read_to_end(connection), ["CCM_POST"])
    lab.check_refused(reply, Reason.BODY_TOO_LARGE, "bodies.ccm-message.limit")


# Expect


def test_an_allowed_body_gets_100_continue(lab: Lab) -> None:
    body = lab.message()
    fields = {**CLOSE, **MESSAGE, "Expect": "100-continue", "Content-Length": str(len(body))}
    with lab.connect() as connection:
        connection.sendall(lab.request("CCM_POST", "/ccm_system/request", fields))
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        lab.check_nothing_arrived()
        connection.sendall(body)
        (reply,) = lab.read_responses(lab.read_to_end(connection), ["CCM_POST"])
    assert reply.status == 200
    received = lab.received()
    assert received.body == body
    assert "Expect" not in dict(received.headers)
    assert "dropped_headers" not in lab.record()


@pytest.mark.parametrize(
    ("target", "reason", "rule"),
    [
        ("/ccm_system_altauth/request", Reason.BYPASS_DIRECTORY, "roles.bypass_directories"),
        (MP_LIST, Reason.VERB, "management-point.directories.sms_mp"),
    ],
)
def test_a_refused_body_gets_no_100_continue(
    lab: Lab, target: str, reason: Reason, rule: str
) -> None:
    fields = {**MESSAGE, "Expect": "100-continue", "Content-Length": "1000"}
    reply = lab.send_one(lab.request("CCM_POST", target, fields))
    lab.check_refused(reply, reason, rule)


@pytest.mark.parametrize("value", ["200-ok", "100-continue, x", ""])
def test_any_other_expectation_is_refused(lab: Lab, value: str) -> None:
    reply = lab.send_one(lab.request(fields={"Expect": value}))
    lab.check_refused(reply, Reason.EXPECTATION, "head.expect", "HTTP-1.1")


# Content types


@pytest.mark.parametrize(
    "content_type",
    ["application/octet-stream", "text/xml", "multipart/form-data; boundary=x", "", None],
)
def test_a_message_is_multipart_mixed(lab: Lab, content_type: str | None) -> None:
    fields = {} if content_type is None else {"Content-Type": content_type}
    reply = lab.send_one(lab.request("CCM_POST", "/ccm_system/request", fields, lab.message()))
    lab.check_refused(reply, Reason.MEDIA_TYPE, "bodies.ccm-message.media_types", "HTTP-MULTIPART")


def test_a_coded_body_is_refused(lab: Lab) -> None:
    fields = {**MESSAGE, "Content-Encoding": "gzip"}
    reply = lab.send_one(lab.request("CCM_POST", "/ccm_system/request", fields, lab.message()))
    lab.check_refused(reply, Reason.MEDIA_TYPE, "bodies.ccm-message.content-encoding")


# More than one request on a connection


def test_requests_share_a_connection(lab: Lab) -> None:
    with lab.client() as client:
        statuses = [
            client.request("GET", MP_LIST).status,
            lab.ccm_post(client).status,
            client.request("HEAD", f"{CONTENT}/sccm?/x").status,
            client.request("GET", MP_LIST).status,
        ]
    assert statuses == [200] * 4
    assert len(lab.records(4)) == len(lab.site.received()) == 4


def test_a_denied_request_on_an_open_connection_reaches_no_site_system(lab: Lab) -> None:
    with lab.client() as client:
        assert client.request("GET", MP_LIST).status == 200
        reply = client.request("GET", "/SMS_MP_AltAuth/.sms_aut?MPLIST")
    allowed, denied = lab.records(2)
    assert allowed["verdict"] == "allow"
    lab.check_denied(denied, Reason.BYPASS_DIRECTORY, "roles.bypass_directories")
    assert lab.check_refusal(reply, Reason.BYPASS_DIRECTORY) == denied["reference"]
    assert lab.received().target == MP_LIST


def test_each_pipelined_request_gets_its_own_decision(lab: Lab) -> None:
    good, bad = lab.request(target=MP_LIST), lab.request("DELETE", MP_LIST)
    replies = lab.send(good + good + bad + good, "GET", "GET", "DELETE", "GET")
    assert [response.status for response in replies] == [200, 200, 405]
    first, second, denied = lab.records(3)
    assert (first["verdict"], second["verdict"]) == ("allow", "allow")
    lab.check_denied(denied, Reason.VERB, "management-point.verbs")
    assert lab.check_refusal(replies[2], Reason.VERB) == denied["reference"]
    # The connection ended there: what came after a refusal is not looked at.
    assert [received.method for received in lab.site.received()] == ["GET", "GET"]


def test_allowed_pipelined_requests_get_responses_in_order(lab: Lab) -> None:
    targets = [f"/SMS_MP/.sms_pol?{{LAB{number:05}}}.1_00" for number in range(20)]
    data = b"".join(lab.request(target=target) for target in targets)
    data += lab.request(target=MP_LIST, fields=CLOSE)
    replies = lab.send(data, *["GET"] * 21)
    for number, reply in enumerate(replies[:20]):
        assert f"LAB{number:05}".encode() in reply.body
    assert [received.target for received in lab.site.received()] == [*targets, MP_LIST]
    assert len(lab.records(21)) == 21


def test_a_request_after_the_closing_boundary_is_not_processed(lab: Lab) -> None:
    body = lab.message() + SMUGGLED
    reply = lab.send_one(lab.request("CCM_POST", "/ccm_system/request", MESSAGE, body))
    lab.check_refused(reply, Reason.MULTIPART, "multipart.close", "HTTP-MULTIPART")


def test_a_request_in_the_body_of_a_get_is_not_processed(lab: Lab) -> None:
    reply = lab.send_one(lab.request("GET", MP_LIST, {}, SMUGGLED))
    lab.check_refused(reply, Reason.BODY_NOT_ALLOWED, "bodies.none.limit", "BRIDGE-INSPECT")


def test_a_request_in_a_get_without_a_length_is_the_next_request(lab: Lab) -> None:
    replies = lab.send(lab.request(target=MP_LIST) + SMUGGLED, "GET", "GET")
    assert [response.status for response in replies] == [200, 404]
    lab.check_denied(lab.records(2)[1], Reason.BYPASS_DIRECTORY, "roles.bypass_directories")
    assert lab.received().target == MP_LIST
