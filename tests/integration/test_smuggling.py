"""Requests made to be split differently by two readers, on a raw socket.

Each carries another request behind it. However it is sent, it is refused with the documented
status, the connection is closed, and neither it nor what it carries arrives (HTTP-1.1).
"""

from __future__ import annotations

import contextlib
import ssl

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.decisions.refusals import REFUSALS
from ibcm_bridge.lab.protocol import ccm
from tests.integration.lab import Lab
from tests.smuggling_shapes import FAMILIES, Shape
from tests.smuggling_shapes import SMUGGLED as NEXT

HOST = b"Host: bridge.internet.example\r\n"
POST = b"CCM_POST /ccm_system/request HTTP/1.1\r\n" + HOST
POST += f"Content-Type: {ccm.CONTENT_TYPE}\r\n".encode()
GET = b"GET /SMS_MP/.sms_aut?MPLIST HTTP/1.1\r\n" + HOST
SMUGGLED = b"GET /SMS_MP/.sms_aut?MPCERT HTTP/1.1\r\n" + HOST + b"X-Smuggled: yes\r\n\r\n"
CHUNKED = b"0\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(CHUNKED + SMUGGLED)

SHAPES: dict[str, tuple[bytes, Reason]] = {
    "CL.TE": (POST + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED, Reason.FRAMING),
    "TE.CL": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n",
        Reason.FRAMING,
    ),
    "TE.TE": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n" + CHUNKED,
        Reason.LENGTH_REQUIRED,
    ),
    "CL.CL": (
        POST + b"Content-Length: 0\r\n" + LENGTH + b"\r\n" + CHUNKED,
        Reason.FRAMING,
    ),
    "CL.0 on GET": (GET + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED), Reason.BODY_NOT_ALLOWED),
    "TE on GET": (GET + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED, Reason.LENGTH_REQUIRED),
    **{
        f"TE {line!r}": (POST + LENGTH + line + b"\r\n\r\n" + CHUNKED, Reason.MALFORMED_HEAD)
        for line in (
            b"Transfer-Encoding : chunked",
            b"Transfer-Encoding\t: chunked",
            b" Transfer-Encoding: chunked",
            b"X: y\r\n Transfer-Encoding: chunked",
            b"X: y\rTransfer-Encoding: chunked",
            b"X: y\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: chunked\x00",
            b"Transfer-Encoding:\x0bchunked",
            b"Transfer-Encoding: chunked\r",
            b"Transfer-Encoding\x00: chunked",
            b"\x00Transfer-Encoding: chunked",
        )
    },
    **{
        f"CL {value!r}": (POST + b"Content-Length: " + value + b"\r\n\r\n", Reason.FRAMING)
        for value in (
            b"+0",
            b"0x0",
            b"00",
            b"0 0",
            b"0,0",
            b"",
            b"18446744073709551616",
            b"9223372036854775808",
        )
    },
    "CL in a folded line": (POST + b"Content-Length:\r\n 0\r\n\r\n", Reason.MALFORMED_HEAD),
    "a request line in a field": (
        GET + b"X: y\n\nGET /SMS_MP/ HTTP/1.1\r\n\r\n",
        Reason.MALFORMED_HEAD,
    ),
    "HTTP/0.9": (b"GET /SMS_MP/.sms_aut?MPLIST\r\n\r\n", Reason.MALFORMED_HEAD),
    "HTTP/1.0": ((GET + b"\r\n").replace(b"1.1", b"1.0"), Reason.HTTP_VERSION),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), Reason.HTTP_VERSION),
    "two hosts": (GET + b"Host: mp01.corp.example\r\n\r\n", Reason.HOST_MISMATCH),
    "absolute form": (
        GET.replace(b"/SMS", b"https://mp01.corp.example/SMS") + b"\r\n",
        Reason.TARGET_FORM,
    ),
    "a way out by Connection": (
        POST + b"Connection: close, Content-Length\r\nContent-Length: 0\r\n\r\n",
        Reason.HEADER,
    ),
    "a way out by an upgrade": (
        POST
        + b"Connection: Upgrade, HTTP2-Settings, Content-Length\r\nUpgrade: h2c\r\n"
        + b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nContent-Length: 0\r\n\r\n",
        Reason.HEADER,
    ),
}


def exchange(lab: Lab, pieces: list[bytes]) -> bytes:
    """Send piece by piece, whether it is still wanted or not; all that comes back, to the end."""
    with lab.connect() as connection:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            for piece in pieces:
                connection.sendall(piece)
        return lab.read_to_end(connection)


@pytest.mark.parametrize("sent", ["whole", "byte by byte", "alone"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_smuggling_attempt_is_refused_and_closes_the_connection(
    lab: Lab, shape: str, sent: str
) -> None:
    data, reason = SHAPES[shape]
    whole = data if sent == "alone" else data + SMUGGLED
    pieces = [bytes([byte]) for byte in whole] if sent == "byte by byte" else [whole]
    answer = exchange(lab, pieces)
    status = REFUSALS[reason].status
    assert status is not None
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"\r\nConnection: close\r\n") == 1
    assert answer.count(b"\r\n\r\n") == 1
    lab.check_nothing_arrived()
    assert lab.record()["reason"] == reason.value


def test_a_request_after_an_upgrade_gets_its_own_decision(lab: Lab) -> None:
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    upgrade += b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"
    http_2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)
    answer = exchange(lab, [GET + upgrade + http_2])
    # No 101: it goes on in HTTP/1.1, in which the preface is a request of another version.
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 505 ") == 1
    received = lab.received()
    assert received.target == "/SMS_MP/.sms_aut?MPLIST"
    assert not {name.lower() for name, _ in received.headers} & {
        "connection",
        "upgrade",
        "http2-settings",
    }


def test_requests_without_a_body_share_the_connection(lab: Lab) -> None:
    body = lab.message()
    data = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    replies = lab.send(data + GET + b"Connection: close\r\n\r\n", "CCM_POST", "GET")
    assert [response.status for response in replies] == [200, 200]


SAMPLE = {
    f"{name} {at}": shape
    for name, family in FAMILIES.items()
    for at, shape in enumerate(family())
    if at % 50 == 0
}
"""Every fiftieth shape of each family; tests/addons/layers/test_smuggling_families.py has all."""


@pytest.mark.parametrize("sent", ["whole", "byte by byte"])
@pytest.mark.parametrize("shape", SAMPLE.values(), ids=SAMPLE)
def test_a_sample_of_the_families_over_a_socket(lab: Lab, shape: Shape, sent: str) -> None:
    last = NEXT.replace(b"X-Smuggled: yes", b"Connection: close")
    whole = shape.sent + (NEXT if shape.reason else last)
    pieces = [bytes([byte]) for byte in whole] if sent == "byte by byte" else [whole]
    answer = exchange(lab, pieces)
    if shape.reason is None:
        methods = shape.sent.split(b" ")[0].decode(), "GET"
        assert [response.status for response in lab.read_responses(answer, methods)] == [200, 200]
        first, second = lab.site.received()
        assert (first.method, second.target) == (methods[0], "/SMS_MP/.sms_aut?MPCERT")
        assert [record["verdict"] for record in lab.records(2)] == ["allow", "allow"]
    else:
        assert answer.startswith(b"HTTP/1.1 %d " % (REFUSALS[shape.reason].status or 0))
        assert answer.count(b"\r\n\r\n") == 1
        lab.check_nothing_arrived()
        assert lab.record()["reason"] == shape.reason.value
