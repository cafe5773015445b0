"""What is no TLS, and names that do not belong: BRIDGE-HTTPS-ONLY, DNS-INTERNET-FQDN."""

from __future__ import annotations

import socket
import ssl

import pytest

from ibcm_bridge.decisions.denial import Reason
from tests.integration.lab import Lab

NAME = "bridge.internet.example"
MP_LIST = "/SMS_MP/.sms_aut?MPLIST"
CLOSE = {"Connection": "close"}
SSLV2_HELLO = b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x07\x00\xc0" + bytes(32)


def alert_record(number: int) -> bytes:
    return bytes([0x15, 3, 3, 0, 2, 2, number])


# Not TLS


def test_plain_http_on_the_tls_port_gets_a_response_that_names_https(lab: Lab) -> None:
    run = lab.curl(scheme="http")
    assert run.returncode == 0
    (reply,) = lab.read_responses(run.stdout, ("GET",))
    record = lab.check_refused(reply, Reason.PLAINTEXT, "listener.tls", "BRIDGE-HTTPS-ONLY")
    assert record["event"] == "connection-refused"
    assert "tls_alert" not in record
    assert "server_name" not in record


def test_https_on_the_tls_port_gets_a_response(lab: Lab) -> None:
    run = lab.curl(credential=lab.credentials.computer)
    assert run.stdout.startswith(b"HTTP/1.1 200 OK\r\n")
    assert lab.record()["server_name"] == NAME
    assert lab.received().target == MP_LIST


@pytest.mark.parametrize(
    "data",
    [
        b"CCM_POST /ccm_system/request HTTP/1.1\r\nHost: " + NAME.encode() + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"G",
        SSLV2_HELLO,
        b"\x00",
        b"\x17\x03\x03\x00\x10" + bytes(16),
        b"\x15\x03\x03\x00\x02\x01\x00",
    ],
    ids=["ccm-post", "http-2", "one-letter", "sslv2", "nul", "tls-data", "tls-alert"],
)
def test_bytes_that_do_not_start_like_tls_are_plaintext(lab: Lab, data: bytes) -> None:
    (reply,) = lab.read_responses(lab.plain(data), ("GET",))
    lab.check_refused(reply, Reason.PLAINTEXT, "listener.tls", "BRIDGE-HTTPS-ONLY")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x09\x01\x00\x05hello",
        b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",  # a ServerHello
    ],
    ids=["version-9", "server-hello"],
)
def test_bytes_that_only_start_like_tls_get_an_alert(lab: Lab, data: bytes) -> None:
    assert lab.plain(data) == alert_record(10)
    lab.check_refused_connection(Reason.NOT_TLS, "listener", alert=10)


def test_a_proxy_header_of_another_address_gets_an_alert(lab: Lab) -> None:
    assert lab.plain(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n") == alert_record(10)
    lab.check_refused_connection(Reason.PROXY_HEADER, "listener.proxy_protocol", alert=10)


def test_a_client_hello_that_cannot_be_parsed_gets_decode_error(lab: Lab) -> None:
    data = b"\x16\x03\x01\x00\x29\x01\x00\x00\x25\x03\x03" + b"\xff" * 35
    assert lab.plain(data) == alert_record(50)
    lab.check_refused_connection(Reason.CLIENT_HELLO_MALFORMED, "listener", alert=50)


def test_a_client_hello_in_many_segments_is_accepted(lab: Lab) -> None:
    hello = lab.client_hello(NAME)
    with socket.create_connection(lab.bridge.address, 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for index in range(len(hello)):
            connection.sendall(hello[index : index + 1])
        answer = connection.recv(5)
    assert answer[:3] == b"\x16\x03\x03"  # a ServerHello
    lab.check_refused_connection(
        Reason.HANDSHAKE_FAILED, "listener.tls", alert=None
    )  # we left it at that


def test_an_endless_client_hello_is_refused_at_the_limit(lab: Lab) -> None:
    # Announced as 16 MB; each record is well-formed.
    record = b"\x16\x03\x01\x10\x00"
    data = record + b"\x01\xff\xff\xff\x03\x03" + bytes(4090) + (record + bytes(4096)) * 5
    assert lab.plain(data) == alert_record(50)
    lab.check_refused_connection(Reason.CLIENT_HELLO_TOO_LARGE, "limits.client_hello", alert=50)


def test_a_large_client_hello_is_accepted(lab: Lab) -> None:
    hello = lab.client_hello(NAME, minimum=12_000)
    assert 12_000 < len(hello) < 16_384
    with socket.create_connection(lab.bridge.address, 10) as connection:
        connection.sendall(hello)
        assert connection.recv(5)[:1] == b"\x16"
    lab.check_refused_connection(Reason.HANDSHAKE_FAILED, "listener.tls", alert=None)


def test_a_connection_without_a_byte_has_no_record(lab: Lab) -> None:
    with socket.create_connection(lab.bridge.address, 10) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert lab.audit() == []
    lab.check_nothing_arrived()


# Server names


@pytest.mark.parametrize(
    "name",
    [
        "unknown.internet.example",
        "mp01.corp.example",
        "internet.example",
        "x.bridge.internet.example",
        "bridge.internet.example.evil.example",
    ],
)
def test_an_unknown_server_name_is_refused_with_an_alert(lab: Lab, name: str) -> None:
    run = lab.s_client(credential=lab.credentials.computer, name=name)
    assert "SSL alert number 112" in run.stderr
    record = lab.check_refused_connection(Reason.UNKNOWN_NAME, "listener.publications", alert=112)
    assert record["server_name"] == name


def test_no_server_name_is_refused_with_an_alert(lab: Lab) -> None:
    run = lab.s_client(credential=lab.credentials.computer, name=None)
    assert "SSL alert number 112" in run.stderr
    record = lab.check_refused_connection(Reason.UNKNOWN_NAME, "listener.publications", alert=112)
    assert "server_name" not in record


def test_an_address_as_the_server_name_is_refused(lab: Lab) -> None:
    host, port = lab.bridge.address
    context = lab.context()
    context.check_hostname = False
    with (
        socket.create_connection((host, port), 10) as plain,
        pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"),
    ):
        context.wrap_socket(plain, server_hostname=host)
    lab.check_refused_connection(Reason.UNKNOWN_NAME, "listener.publications", alert=112)


def test_a_server_name_is_compared_without_case(lab: Lab) -> None:
    run = lab.s_client(credential=lab.credentials.computer, name=NAME.upper())
    assert "HTTP/1.1 200 OK" in run.stdout
    assert lab.record()["verdict"] == "allow"


# Host


@pytest.mark.parametrize(
    "host",
    [NAME, NAME.upper(), f"{NAME}:443", f"{NAME}:8443"],
    ids=["same", "upper-case", "with-port", "with-another-port"],
)
def test_host_may_be_the_server_name(lab: Lab, host: str) -> None:
    reply = lab.send_one(lab.request(fields=CLOSE, host=host))
    assert reply.status == 200
    assert lab.record()["verdict"] == "allow"
    assert dict(lab.received().headers)["Host"] == host


@pytest.mark.parametrize(
    "host",
    [
        "mp01.corp.example",
        "mp-tunnel.internet.example",
        "127.0.0.1",
        "127.0.0.1:443",
        "[::1]",
        "localhost",
        "",
        f"{NAME}.",
        f"{NAME}:x",
        f"{NAME}:443:443",
        f"user@{NAME}",
        f"{NAME}, mp01.corp.example",
        f"{NAME}/",
        f"bridge.internet.example{chr(0xE9)}",
    ],
)
def test_any_other_host_is_refused(lab: Lab, host: str) -> None:
    reply = lab.send_one(lab.request(fields=CLOSE | lab.identification, host=host))
    lab.check_refused(reply, Reason.HOST_MISMATCH, "head.host", "DNS-INTERNET-FQDN")


@pytest.mark.parametrize("hosts", [0, 2, 3])
def test_a_request_has_exactly_one_host(lab: Lab, hosts: int) -> None:
    data = f"GET {MP_LIST} HTTP/1.1\r\n" + f"Host: {NAME}\r\n" * hosts + "\r\n"
    reply = lab.send_one(data.encode())
    lab.check_refused(reply, Reason.HOST_MISMATCH, "head.host", "DNS-INTERNET-FQDN")


# The request target


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", f"https://mp01.corp.example{MP_LIST}"),
        ("GET", f"http://169.254.169.254{MP_LIST}"),
        ("GET", f"https://{NAME}{MP_LIST}"),
        ("CCM_POST", f"https://{NAME}/ccm_system/request"),
        ("CONNECT", "mp01.corp.example:443"),
        ("CONNECT", "127.0.0.1:22"),
        ("OPTIONS", "*"),
        ("GET", "SMS_MP/.sms_aut?MPLIST"),
        ("GET", "?MPLIST"),
        ("GET", "\\SMS_MP"),
    ],
)
def test_a_target_that_is_not_a_path_is_refused(lab: Lab, method: str, target: str) -> None:
    reply = lab.send_one(lab.request(method, target))
    lab.check_refused(reply, Reason.TARGET_FORM, "target.origin-form", "HTTP-1.1")


def test_connect_by_curl_opens_no_tunnel(lab: Lab) -> None:
    host, port = lab.bridge.address
    proxy = ("--proxy", f"https://{NAME}:{port}", "--resolve", f"{NAME}:{port}:{host}")
    proxy += ("--proxy-cacert", lab.root_file, "--proxy-cert", lab.pem(lab.credentials.computer))
    run = lab.curl(*proxy, "--noproxy", "", name="mp01.corp.example")
    assert run.returncode != 0
    assert b"CONNECT tunnel failed, response 421" in run.stderr  # its Host is the target
    record = lab.record()
    lab.check_denied(record, Reason.HOST_MISMATCH, "head.host")
    assert record["method"] == "CONNECT"
    lab.check_nothing_arrived()


def test_a_path_as_the_target_is_allowed(lab: Lab) -> None:
    reply = lab.send_one(lab.request(target=MP_LIST, fields=CLOSE))
    assert (reply.status, lab.record()["verdict"]) == (200, "allow")
    assert lab.received().target == MP_LIST


def test_a_client_that_closes_in_the_handshake_is_recorded(lab: Lab) -> None:
    with socket.create_connection(lab.bridge.address, 10) as connection:
        connection.sendall(lab.client_hello(NAME))
        connection.recv(1)
    record = lab.check_refused_connection(Reason.HANDSHAKE_FAILED, "listener.tls", alert=None)
    assert record["detail"] == "connection closed"
