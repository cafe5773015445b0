"""Versions of HTTP and TLS."""

from __future__ import annotations

import ssl

from ibcm_bridge.conformance.judgement import Judgement, all_of, holds, passed, refused
from ibcm_bridge.conformance.kit import Client
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases.requests import plain, scep

_TARGET = "/SMS_MP/.sms_aut?MPCERT"


def http_1_0(subject: Subject) -> Judgement:
    """A request of HTTP/1.0 MUST be refused.

    Requirement: HTTP-1.1. Source: requirements.md, HTTP.
    """
    return refused(subject.send(plain("GET", _TARGET, version="HTTP/1.0")))


def http_1_2(subject: Subject) -> Judgement:
    """A request of HTTP/1.2 SHOULD be refused.

    Requirement: HTTP-1.1. Source: RFC 9110 2.5.
    """
    return refused(subject.send(plain("GET", _TARGET, version="HTTP/1.2")))


def no_version(subject: Subject) -> Judgement:
    """A request line without a version MUST be refused.

    Requirement: HTTP-1.1. Source: RFC 9112 3.
    """
    host = subject.place("management-point").name
    return refused(subject.send_bytes(f"GET {_TARGET}\r\nHost: {host}\r\n\r\n".encode()))


def tls_1_2(subject: Subject) -> Judgement:
    """A client with TLS 1.2 MUST be accepted: older Windows has no TLS 1.3.

    Requirement: BRIDGE-TERMINATE. Source: protocol.md 9.
    """
    exchange = subject.send(plain("GET", _TARGET), maximum_version=ssl.TLSVersion.TLSv1_2)
    version = "" if exchange.tls_version == "TLS 1.2" else f"{exchange.tls_version} was used"
    return all_of(passed(exchange), holds("TLS 1.2", version))


def resumed_session(subject: Subject) -> Judgement:
    """A client that offers its TLS session again MUST be accepted, resumed or not.

    Requirement: BRIDGE-TERMINATE. Source: RFC 8446 2.2.
    """
    get = plain("GET", _TARGET)
    exchange = subject.send_resumed(get, after=get, at="management-point", client=Client.COMPUTER)
    return passed(exchange)


def session_of_another_publication(subject: Subject) -> Judgement:
    """A session of a publication without client certificates MUST NOT replace a certificate.

    Requirement: BRIDGE-AUTH-COMPUTER. Source: CVE-2025-23419.
    """
    exchange = subject.send_resumed(
        plain("GET", _TARGET), after=scep, at="policy-module", client=Client.NONE
    )
    return refused(exchange)


def several_requests(subject: Subject) -> Judgement:
    """Several requests on one connection MUST be forwarded.

    Requirement: HTTP-1.1. Source: RFC 9112 9.3.
    """
    with subject.connection() as send:
        return all_of(*(passed(send(plain("GET", _TARGET))) for _ in range(3)))


def refusal_after_a_valid_request(subject: Subject) -> Judgement:
    """A request to refuse MUST be refused after a valid one on the same connection too.

    Requirement: BRIDGE-INSPECT. Source: requirements.md, Bridging.
    """
    with subject.connection() as send:
        first = passed(send(plain("GET", _TARGET)))
        return all_of(first, refused(send(plain("GET", "/CCM_Client/ccmsetup.exe"))))
