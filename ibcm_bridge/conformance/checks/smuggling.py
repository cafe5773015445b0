"""Request smuggling: heads that two parsers read differently."""

from __future__ import annotations

from ibcm_bridge.conformance.judgement import (
    Judgement,
    all_of,
    arrival,
    holds,
    is_forwarded,
    refused,
)
from ibcm_bridge.conformance.kit import Client
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases import requests
from ibcm_bridge.lab.protocol import ccm

_TARGET = b"/SMS_MP/.sms_aut?MPCERT"
_TYPE = f"Content-Type: {ccm.CONTENT_TYPE}".encode()


def length_and_chunks(subject: Subject) -> Judgement:
    """A request with Content-Length and Transfer-Encoding SHOULD be refused.

    Requirement: HTTP-1.1. Source: RFC 9112 6.3, 11.2.
    """
    body = _body(subject)
    lengths = (b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked")
    return refused(subject.send_bytes(_post(subject, *lengths, body=body)))


def two_lengths(subject: Subject) -> Judgement:
    """A request with two different Content-Length fields MUST be refused.

    Requirement: HTTP-1.1. Source: RFC 9112 6.3.
    """
    body = _body(subject)
    lengths = (b"Content-Length: %d" % len(body), b"Content-Length: 0")
    return refused(subject.send_bytes(_post(subject, *lengths, body=body)))


def list_of_lengths(subject: Subject) -> Judgement:
    """A Content-Length with two different values MUST be refused.

    Requirement: HTTP-1.1. Source: RFC 9112 6.3.
    """
    body = _body(subject)
    length = b"Content-Length: 0, %d" % len(body)
    return refused(subject.send_bytes(_post(subject, length, body=body)))


def signed_length(subject: Subject) -> Judgement:
    """A Content-Length with a sign MUST be refused.

    Requirement: HTTP-1.1. Source: RFC 9110 8.6.
    """
    body = _body(subject)
    length = b"Content-Length: +%d" % len(body)
    return refused(subject.send_bytes(_post(subject, length, body=body)))


def hexadecimal_length(subject: Subject) -> Judgement:
    """A hexadecimal Content-Length MUST be refused.

    Requirement: HTTP-1.1. Source: RFC 9110 8.6.
    """
    body = _body(subject)
    length = b"Content-Length: 0x%x" % len(body)
    return refused(subject.send_bytes(_post(subject, length, body=body)))


def space_before_the_colon(subject: Subject) -> Judgement:
    """A field name with a space before the colon MUST be refused.

    Requirement: HTTP-1.1. Source: RFC 9112 5.1.
    """
    return refused(subject.send_bytes(_get(subject, b"X-Lab : y")))


def folded_field(subject: Subject) -> Judgement:
    """A folded field SHOULD be refused.

    Requirement: HTTP-1.1. Source: RFC 9112 5.2.
    """
    return refused(subject.send_bytes(_get(subject, b"X-Lab: y\r\n z")))


def space_before_the_first_field(subject: Subject) -> Judgement:
    """A line that begins with a space, after the request line, SHOULD be refused.

    Requirement: HTTP-1.1. Source: RFC 9112 2.2.
    """
    return refused(subject.send_bytes(_get(subject, before=b" X-Lab: y\r\n")))


def bare_line_feed(subject: Subject) -> Judgement:
    """A line that ends with a bare line feed SHOULD be refused: parsers differ.

    Requirement: HTTP-1.1. Source: RFC 9112 2.2.
    """
    return refused(subject.send_bytes(_get(subject, b"X-Lab: y\nX-Other: z")))


def bare_carriage_return(subject: Subject) -> Judgement:
    """A bare carriage return in a field MUST be refused.

    Requirement: HTTP-1.1. Source: RFC 9112 2.2, RFC 9110 5.5.
    """
    return refused(subject.send_bytes(_get(subject, b"X-Lab: y\rX-Other: z")))


def null_in_a_field(subject: Subject) -> Judgement:
    """A field with a null MUST be refused.

    Requirement: HTTP-1.1. Source: RFC 9110 5.5.
    """
    return refused(subject.send_bytes(_get(subject, b"X-Lab: y\0z")))


def line_without_a_colon(subject: Subject) -> Judgement:
    """A field without a colon SHOULD be refused.

    Requirement: HTTP-1.1. Source: RFC 9112 5.
    """
    return refused(subject.send_bytes(_get(subject, b"X-Lab")))


def spaces_in_the_request_line(subject: Subject) -> Judgement:
    """A request line with more than single spaces SHOULD be refused.

    Requirement: HTTP-1.1. Source: RFC 9112 3.
    """
    return refused(subject.send_bytes(_get(subject).replace(b" HTTP", b"  HTTP", 1)))


def unknown_coding(subject: Subject) -> Judgement:
    """An unknown transfer coding SHOULD be refused.

    Requirement: HTTP-1.1. Source: RFC 9112 6.1.
    """
    body = _body(subject)
    return refused(subject.send_bytes(_post(subject, b"Transfer-Encoding: xchunked", body=body)))


def absolute_target_of_another_host(subject: Subject) -> Judgement:
    """A target with the name of another host MUST be refused.

    Requirement: HTTP-1.1. Source: RFC 9112 3.2.2, RFC 9110 7.4.
    """
    absolute = _get(subject).replace(_TARGET, b"https://mp01.corp.example" + _TARGET, 1)
    return refused(subject.send_bytes(absolute))


def connect(subject: Subject) -> Judgement:
    """CONNECT MUST NOT open a tunnel to another host.

    Requirement: VERB-MP. Source: RFC 9110 9.3.6.
    """
    line = b"CONNECT mp01.corp.example:443 HTTP/1.1\r\n"
    return refused(subject.send_bytes(line + _host(subject) + b"\r\n"))


def request_after_a_refused_one(subject: Subject) -> Judgement:
    """A request after a malformed one on the same connection MUST NOT be forwarded.

    Requirement: HTTP-1.1. Source: RFC 9112 9.6, 11.2.
    """
    first = _get(subject, b"X-Lab : y")
    return refused(subject.send_bytes(first + _get(subject)))


def two_codings(subject: Subject) -> Judgement:
    """Two Transfer-Encoding fields SHOULD be refused: parsers use the first or the last.

    Requirement: HTTP-1.1. Source: RFC 9112 6.1.
    """
    body = _chunked(_body(subject))
    return refused(
        subject.send_bytes(
            _post(subject, b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=body)
        )
    )


def chunked_twice(subject: Subject) -> Judgement:
    """A body that is chunked twice SHOULD be refused.

    Requirement: HTTP-1.1. Source: RFC 9112 6.1.
    """
    body = _chunked(_body(subject))
    return refused(
        subject.send_bytes(_post(subject, b"Transfer-Encoding: chunked, chunked", body=body))
    )


def coding_after_chunked(subject: Subject) -> Judgement:
    """A coding after chunked MUST be refused: the body has no end.

    Requirement: HTTP-1.1. Source: RFC 9112 6.3.
    """
    body = _chunked(_body(subject))
    return refused(
        subject.send_bytes(_post(subject, b"Transfer-Encoding: chunked, gzip", body=body))
    )


def coding_with_a_vertical_tab(subject: Subject) -> Judgement:
    """A transfer coding after a vertical tab MUST be refused: some parsers skip it.

    Requirement: HTTP-1.1. Source: RFC 9110 5.5.
    """
    body = _chunked(_body(subject))
    return refused(subject.send_bytes(_post(subject, b"Transfer-Encoding: \x0bchunked", body=body)))


def quoted_coding(subject: Subject) -> Judgement:
    """A quoted transfer coding SHOULD be refused.

    Requirement: HTTP-1.1. Source: RFC 9112 6.1.
    """
    body = _chunked(_body(subject))
    return refused(subject.send_bytes(_post(subject, b'Transfer-Encoding: "chunked"', body=body)))


def empty_length(subject: Subject) -> Judgement:
    """An empty Content-Length MUST be refused.

    Requirement: HTTP-1.1. Source: RFC 9110 8.6.
    """
    body = _body(subject)
    return refused(subject.send_bytes(_post(subject, b"Content-Length: ", body=body)))


def negative_length(subject: Subject) -> Judgement:
    """A negative Content-Length MUST be refused.

    Requirement: HTTP-1.1. Source: RFC 9110 8.6.
    """
    body = _body(subject)
    return refused(
        subject.send_bytes(_post(subject, b"Content-Length: -%d" % len(body), body=body))
    )


def length_with_an_underscore(subject: Subject) -> Judgement:
    """A Content-Length with an underscore MUST be refused: some languages ignore it in numbers.

    Requirement: HTTP-1.1. Source: RFC 9110 8.6.
    """
    body = _body(subject)
    return refused(
        subject.send_bytes(_post(subject, b"Content-Length: 0_%d" % len(body), body=body))
    )


def length_with_a_space(subject: Subject) -> Judgement:
    """A Content-Length with a space in it MUST be refused.

    Requirement: HTTP-1.1. Source: RFC 9110 8.6.
    """
    body = _body(subject)
    return refused(
        subject.send_bytes(_post(subject, b"Content-Length: 0 %d" % len(body), body=body))
    )


def length_of_20_digits(subject: Subject) -> Judgement:
    """A Content-Length beyond 64 bits MUST be refused.

    Requirement: HTTP-1.1. Source: RFC 9110 8.6.
    """
    body = _body(subject)
    return refused(
        subject.send_bytes(_post(subject, b"Content-Length: 1%019d" % len(body), body=body))
    )


def field_name_with_a_parenthesis(subject: Subject) -> Judgement:
    """A field name that is not a token SHOULD be refused.

    Requirement: HTTP-1.1. Source: RFC 9110 5.1.
    """
    return refused(subject.send_bytes(_get(subject, b"X(Lab): y")))


def field_name_beyond_ascii(subject: Subject) -> Judgement:
    """A field name beyond ASCII SHOULD be refused.

    Requirement: HTTP-1.1. Source: RFC 9110 5.1.
    """
    return refused(subject.send_bytes(_get(subject, b"X-L\xe4b: y")))


def tab_in_the_request_line(subject: Subject) -> Judgement:
    """A tab between the parts of the request line SHOULD be refused.

    Requirement: HTTP-1.1. Source: RFC 9112 3.
    """
    return refused(subject.send_bytes(_get(subject).replace(b" HTTP", b"\tHTTP", 1)))


def carriage_return_in_the_request_line(subject: Subject) -> Judgement:
    """A bare carriage return in the request line MUST be refused.

    Requirement: HTTP-1.1. Source: RFC 9112 2.2.
    """
    return refused(subject.send_bytes(_get(subject).replace(b" HTTP", b"\r HTTP", 1)))


def second_of_two_requests(subject: Subject) -> Judgement:
    """A request to refuse MUST NOT be forwarded if it follows a valid one in the same bytes.

    Requirement: HTTP-1.1. Source: RFC 9112 9.3.2.
    """
    second = _get(subject).replace(_TARGET, b"/CCM_Client/ccmsetup.exe", 1)
    exchange = subject.send_bytes(_get(subject) + second)
    late = [arrival(each) for each in exchange.received if "CCM_Client" in each.target]
    return all_of(
        holds("the first request arrives", "" if is_forwarded(exchange) else "nothing arrived"),
        holds("the second request does not arrive", ", ".join(late)),
    )


def http_2_without_agreement(subject: Subject) -> Judgement:
    """The preface of HTTP/2 on a connection of HTTP/1.1 MUST be refused.

    Requirement: HTTP-1.1. Source: RFC 9113 3.4.
    """
    return refused(subject.send_bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _get(subject)))


def _body(subject: Subject) -> bytes:
    return requests.inventory(subject.senders(Client.COMPUTER)).body or b""


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)


def _host(subject: Subject) -> bytes:
    return b"Host: %b\r\n" % subject.place("management-point").name.encode()


def _get(subject: Subject, *fields: bytes, before: bytes = b"") -> bytes:
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"GET %b HTTP/1.1\r\n" % _TARGET + before + _host(subject) + lines + b"\r\n"


def _post(subject: Subject, *fields: bytes, body: bytes) -> bytes:
    lines = b"".join(field + b"\r\n" for field in (_TYPE, *fields))
    line = b"CCM_POST /ccm_system/request HTTP/1.1\r\n"
    return line + _host(subject) + lines + b"\r\n" + body
