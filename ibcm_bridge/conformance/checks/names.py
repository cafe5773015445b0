"""Names: the server name of the connection, and Host."""

from __future__ import annotations

from ibcm_bridge.conformance.judgement import Judgement, passed, refused
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases.requests import plain, plaintext

_TARGET = "/SMS_MP/.sms_aut?MPCERT"


def unknown_server_name(subject: Subject) -> Judgement:
    """A connection for a server name that is not published SHOULD be refused.

    Requirement: DNS-INTERNET-FQDN. Source: RFC 6066 3.
    """
    return refused(subject.send(plain("GET", _TARGET), name="mail.internet.example"))


def other_host(subject: Subject) -> Judgement:
    """A request whose Host differs from the server name MUST be refused.

    Requirement: DNS-INTERNET-FQDN. Source: RFC 9110 7.4.
    """
    return refused(subject.send(plain("GET", _TARGET, ("Host", "mp01.corp.example"))))


def host_with_port(subject: Subject) -> Judgement:
    """A Host with the port of the connection MUST be accepted.

    Requirement: DNS-INTERNET-FQDN. Source: RFC 9110 7.2.
    """
    place = subject.place("management-point")
    host = f"{place.name}:{place.address[1]}"
    return passed(subject.send(plain("GET", _TARGET, ("Host", host))))


def host_in_upper_case(subject: Subject) -> Judgement:
    """A Host in upper case MUST be accepted.

    Requirement: DNS-INTERNET-FQDN. Source: RFC 9110 4.2.3.
    """
    host = subject.place("management-point").name.upper()
    return passed(subject.send(plain("GET", _TARGET, ("Host", host))))


def two_hosts(subject: Subject) -> Judgement:
    """A request with two Host fields MUST be refused.

    Requirement: HTTP-1.1. Source: RFC 9112 3.2.
    """
    name = subject.place("management-point").name
    hosts = (("Host", name), ("Host", "mp01.corp.example"))
    return refused(subject.send(plain("GET", _TARGET, *hosts)))


def no_host(subject: Subject) -> Judgement:
    """A request without Host MUST be refused.

    Requirement: HTTP-1.1. Source: RFC 9112 3.2.
    """
    return refused(subject.send_bytes(f"GET {_TARGET} HTTP/1.1\r\n\r\n".encode()))


def plaintext_on_the_tls_port(subject: Subject) -> Judgement:
    """A request without TLS on the port for TLS MUST be refused.

    Requirement: BRIDGE-HTTPS-ONLY. Source: requirements.md, Bridging.
    """
    return refused(subject.send(plaintext))


def host_with_an_address(subject: Subject) -> Judgement:
    """A Host with an address instead of the name MUST be refused.

    Requirement: DNS-INTERNET-FQDN. Source: RFC 9110 7.4.
    """
    return refused(subject.send(plain("GET", _TARGET, ("Host", "127.0.0.1"))))


def host_with_a_user(subject: Subject) -> Judgement:
    """A Host with a user name MUST be refused.

    Requirement: DNS-INTERNET-FQDN. Source: RFC 9110 7.2.
    """
    name = subject.place("management-point").name
    return refused(subject.send(plain("GET", _TARGET, ("Host", f"user@{name}"))))


def host_with_a_path(subject: Subject) -> Judgement:
    """A Host with a path MUST be refused.

    Requirement: DNS-INTERNET-FQDN. Source: RFC 9110 7.2.
    """
    name = subject.place("management-point").name
    return refused(subject.send(plain("GET", _TARGET, ("Host", f"{name}/x"))))


def host_with_a_list(subject: Subject) -> Judgement:
    """A Host with a list of names MUST be refused.

    Requirement: DNS-INTERNET-FQDN. Source: RFC 9110 7.2.
    """
    name = subject.place("management-point").name
    return refused(subject.send(plain("GET", _TARGET, ("Host", f"{name}, mp01.corp.example"))))


def empty_host(subject: Subject) -> Judgement:
    """An empty Host MUST be refused: the server name is known.

    Requirement: DNS-INTERNET-FQDN. Source: RFC 9110 7.2.
    """
    return refused(subject.send(plain("GET", _TARGET, ("Host", ""))))


def host_of_another_publication(subject: Subject) -> Judgement:
    """A Host of another publication SHOULD be refused: its clients are others.

    Requirement: DNS-INTERNET-FQDN. Source: RFC 9110 7.4.
    """
    host = subject.place("management-point-users").name
    return refused(subject.send(plain("GET", _TARGET, ("Host", host))))


def server_name_in_upper_case(subject: Subject) -> Judgement:
    """A server name in upper case MUST be accepted.

    Requirement: DNS-INTERNET-FQDN. Source: RFC 6066 3.
    """
    name = subject.place("management-point").name
    return passed(subject.send(plain("GET", _TARGET, ("Host", name)), name=name.upper()))
