"""Request smuggling: heads that two parsers read differently."""

from __future__ import annotations

from ibcm_bridge.conformance.judgement import Judgement, refused
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


def _body(subject: Subject) -> bytes:
    return requests.inventory(subject.senders(Client.COMPUTER)).body or b""


def _host(subject: Subject) -> bytes:
    return b"Host: %b\r\n" % subject.place("management-point").name.encode()


def _get(subject: Subject, *fields: bytes, before: bytes = b"") -> bytes:
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"GET %b HTTP/1.1\r\n" % _TARGET + before + _host(subject) + lines + b"\r\n"


def _post(subject: Subject, *fields: bytes, body: bytes) -> bytes:
    lines = b"".join(field + b"\r\n" for field in (_TYPE, *fields))
    line = b"CCM_POST /ccm_system/request HTTP/1.1\r\n"
    return line + _host(subject) + lines + b"\r\n" + body
