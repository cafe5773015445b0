"""The head of a response, returned with the framing of the client leg."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.site_system_leg.received_head import ReceivedHead
from ibcm_bridge.site_system_leg.response_head import (
    BodyEnd,
    ClientFields,
    asks_to_close,
    body_end,
    chunk,
    ends_connection,
    fields_for_client,
    head_for_client,
)
from ibcm_bridge.site_system_leg.response_reader import (
    next_response,
    response_reader,
)
from tests.site_system_leg.responses import GET, OK, accepted, received, request

# The end of the body


@pytest.mark.parametrize(
    ("raw", "method", "end"),
    [
        (OK, "GET", BodyEnd.COUNTED),
        (OK, "HEAD", BodyEnd.NO_BODY),
        (b"HTTP/1.1 206 Partial\r\nContent-Length: 5\r\n\r\n", "GET", BodyEnd.COUNTED),
        (b"HTTP/1.1 207 Multi\r\ntransfer-encoding: CHUNKED\r\n\r\n", "PROPFIND", BodyEnd.CHUNKED),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD", BodyEnd.NO_BODY),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET",
            BodyEnd.CHUNKED,
        ),
        (b"HTTP/1.1 200 OK\r\n\r\n", "GET", BodyEnd.CLOSE),
        (b"HTTP/1.0 200 OK\r\n\r\n", "GET", BodyEnd.CLOSE),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", BodyEnd.NO_BODY),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET", BodyEnd.NO_BODY),
    ],
)
def test_the_request_and_the_response_determine_the_end_of_a_body(
    raw: bytes, method: str, end: BodyEnd
) -> None:
    head = request(method)
    response = accepted(raw, head)
    assert body_end(response, head) is end
    if end is BodyEnd.COUNTED:
        assert response.length == 5


@pytest.mark.parametrize(
    ("raw", "ends"),
    [
        (OK, False),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: x\r\nConnection: y, close\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", True),
    ],
)
def test_the_response_determines_if_the_site_system_closes(raw: bytes, ends: bool) -> None:
    assert ends_connection(accepted(raw)) is ends


@pytest.mark.parametrize(
    ("values", "asks"),
    [([], False), ([b"keep-alive"], False), ([b"CLOSE"], True), ([b"keep-alive", b"close"], True)],
)
def test_a_connection_field_with_close_asks_to_close(values: list[bytes], asks: bool) -> None:
    assert asks_to_close(values) is asks


# The head for the client


def for_client(raw: bytes, *, keep_alive: bool = True) -> bytes:
    response = accepted(raw)
    return head_for_client(
        response, passed(response), body_end(response, GET), keep_alive=keep_alive
    )


def passed(response: ReceivedHead) -> ClientFields:
    fields = fields_for_client(response, b"https://bridge.internet.example", ("mp01.corp.example",))
    assert isinstance(fields, ClientFields)
    return fields


def test_the_head_keeps_its_spelling() -> None:
    assert for_client(OK) == OK


def test_a_connection_that_will_close_has_connection_close() -> None:
    assert for_client(OK, keep_alive=False) == OK[:-2] + b"Connection: close\r\n\r\n"


@pytest.mark.parametrize(
    "line",
    [
        b"Connection: keep-alive",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"TE: x",
        b"Trailer: x",
        b"Upgrade: h2",
    ],
)
def test_fields_of_the_site_system_leg_are_removed(line: bytes) -> None:
    assert for_client(OK[:-2] + line + b"\r\n\r\n") == OK


def test_a_chunked_body_has_one_transfer_encoding_and_no_length() -> None:
    # RFC 9112 §6.3: with both, the client and the bridge could disagree about the end.
    chunked = b"HTTP/1.1 200 OK\r\nX: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    both = b"HTTP/1.1 200 OK\r\nX: a\r\nContent-Length: 5\r\ntransfer-encoding: chunked\r\n\r\n"
    assert for_client(chunked) == for_client(both) == chunked


def test_the_response_to_a_head_keeps_its_length() -> None:
    head = request("HEAD")
    response = accepted(OK, head)
    assert head_for_client(response, passed(response), BodyEnd.NO_BODY, keep_alive=True) == OK


def test_a_204_has_no_length() -> None:
    raw = b"HTTP/1.1 204 No Content\r\nX: a\r\nContent-Length: 0\r\n\r\n"
    assert for_client(raw) == b"HTTP/1.1 204 No Content\r\nX: a\r\n\r\n"
    unchanged = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"
    assert for_client(unchanged) == unchanged


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
def test_serialized_chunks_parse_to_the_same_body(pieces: list[bytes]) -> None:
    reader = response_reader(GET, b"")
    reader.receive_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert isinstance(next_response(reader), ReceivedHead)
    reader.receive_data(b"".join(map(chunk, pieces)) + chunk(b""))
    body = b""
    while isinstance(event := reader.parser.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert body == b"".join(pieces)


def test_fields_that_the_site_systems_connection_names_are_removed() -> None:
    raw = b"HTTP/1.1 200 OK\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nX-End: 2\r\n\r\n"
    assert for_client(raw) == b"HTTP/1.1 200 OK\r\nX-End: 2\r\n\r\n"


def test_a_length_that_ends_the_body_is_not_removed_even_if_connection_names_it() -> None:
    raw = b"HTTP/1.1 200 OK\r\nConnection: keep-alive, content-length\r\nContent-Length: 3\r\n\r\n"
    assert for_client(raw) == b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"


@pytest.mark.parametrize(
    "line",
    [
        b"Server: Microsoft-IIS/10.0",
        b"X-Powered-By: ASP.NET",
        b"x-aspnet-version: 4.0.30319",
        b"X-AspNetMvc-Version: 5.2",
        b'Alt-Svc: h3=":443"',
    ],
)
def test_fields_about_the_site_system_are_removed(line: bytes) -> None:
    assert for_client(OK[:-2] + line + b"\r\n\r\n") == OK


@pytest.mark.parametrize(
    "line",
    [
        b"WWW-Authenticate: NTLM",
        b"WWW-Authenticate: Negotiate, NTLM",
        b"Authentication-Info: x",
        b"DAV: 1,2",
        b"MS-Author-Via: DAV",
    ],
)
def test_fields_for_the_client_are_returned(line: bytes) -> None:
    assert for_client(OK[:-2] + line + b"\r\n\r\n") == OK[:-2] + line + b"\r\n\r\n"


@pytest.mark.parametrize("line", [b"Proxy-Authenticate: Basic", b"Proxy-Authentication-Info: x"])
def test_the_challenge_of_a_proxy_is_not_for_the_client(line: bytes) -> None:
    assert for_client(OK[:-2] + line + b"\r\n\r\n") == OK


def test_other_schemes_are_removed_from_a_challenge() -> None:
    offered = (b"Negotiate", b'Basic realm="mp01"', b'NTLM, Digest realm="x", nonce="y"')
    lines = b"".join(b"WWW-Authenticate: %b\r\n" % value for value in offered)
    raw = b"HTTP/1.1 401 Unauthorized\r\n" + lines + b"Content-Length: 0\r\n\r\n"
    fields = fields_for_client(accepted(raw), b"https://bridge.internet.example", ())
    assert isinstance(fields, ClientFields)
    assert fields.fields == (
        (b"WWW-Authenticate", b"Negotiate"),
        (b"WWW-Authenticate", b"NTLM"),
        (b"Content-Length", b"0"),
    )
    assert fields.note == "WWW-Authenticate: schemes other than Negotiate and NTLM were removed"


def test_a_401_may_be_left_without_a_challenge() -> None:
    raw = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
    assert for_client(raw) == b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("name", ["Location", "content-location"])
def test_the_references_of_a_response_are_checked(name: str) -> None:
    def fields(value: str) -> ClientFields | Deny:
        raw = f"HTTP/1.1 301 Moved\r\n{name}: {value}\r\nContent-Length: 0\r\n\r\n".encode()
        origin = b"https://bridge.internet.example"
        return fields_for_client(accepted(raw), origin, ("mp01.corp.example",))

    same = fields("/x")
    assert isinstance(same, ClientFields)
    assert (same.fields[0][1], same.note) == (b"/x", "")
    replaced = fields("https://mp01.corp.example/x")
    assert isinstance(replaced, ClientFields)
    assert replaced.fields[0] == (name.encode(), b"https://bridge.internet.example/x")
    assert replaced.note == f"{name}: the site system's name was replaced"
    denial = fields("http://bridge.internet.example/x")
    assert isinstance(denial, Deny)
    assert (denial.reason, denial.rule) == (Reason.SITE_SYSTEM_RESPONSE, "site_system.location")


@pytest.mark.parametrize(
    "field",
    [
        ("Refresh", "0; url=http://mp01.corp.example/"),
        ("Link", "<http://mp01.corp.example/>; rel=next"),
        ("Via", "1.1 mp01.corp.example"),
        ("Clear-Site-Data", '"*"'),
        ("Strict-Transport-Security", "max-age=0"),
    ],
)
def test_fields_that_lead_elsewhere_or_name_internal_hosts_are_removed(
    field: tuple[str, str],
) -> None:
    response = received(200, field, ("ETag", "x"))
    passed = fields_for_client(response, b"https://bridge.internet.example", ())
    assert isinstance(passed, ClientFields)
    assert passed.fields == ((b"ETag", b"x"),)


def test_connection_does_not_remove_fields_that_describe_the_body() -> None:
    response = received(
        200,
        ("Connection", "content-encoding, content-type, x-own"),
        ("Content-Encoding", "gzip"),
        ("Content-Type", "text/xml"),
        ("X-Own", "x"),
    )
    passed = fields_for_client(response, b"https://bridge.internet.example", ())
    assert isinstance(passed, ClientFields)
    assert [name for name, _ in passed.fields] == [b"Content-Encoding", b"Content-Type"]


@pytest.mark.parametrize(("code", "line"), [(200, b"200 OK"), (299, b"299 ")])
def test_the_reason_phrase_is_the_standard_one(code: int, line: bytes) -> None:
    response = ReceivedHead(code, b"mp01.corp.example", ())
    head = head_for_client(response, ClientFields((), ()), BodyEnd.NO_BODY, keep_alive=True)
    assert head == b"HTTP/1.1 " + line + b"\r\n\r\n"


def test_a_host_for_an_upload_is_removed_if_it_is_not_the_publications() -> None:
    """Its value for the client: the publication's name is kept, any other is dropped."""
    raw = b"HTTP/1.1 200 OK\r\nBITS-Host-Id: %b\r\nContent-Length: 0\r\n\r\n"
    elsewhere = passed(accepted(raw % b"other.corp.example"))
    assert elsewhere.fields == ((b"Content-Length", b"0"),)
    assert elsewhere.removed == ("BITS-Host-Id",)
    here = passed(accepted(raw % b"bridge.internet.example"))
    assert here.fields == ((b"BITS-Host-Id", b"bridge.internet.example"), (b"Content-Length", b"0"))
    assert here.removed == ()
