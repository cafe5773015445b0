"""Header fields: the listed ones arrive, and the others do not."""

from __future__ import annotations

from ibcm_bridge.conformance.exchange import Exchange
from ibcm_bridge.conformance.judgement import Judgement, all_of, passed, refused
from ibcm_bridge.conformance.steps import register
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases import requests
from ibcm_bridge.lab.cases.requests import TICKET, plain

_LIST = "/SMS_MP/.sms_aut?MPCERT"
_DP = "distribution-point"


def signed_fields(subject: Subject) -> Judgement:
    """The CCMClient fields of a policy download MUST arrive unchanged.

    Requirement: HEADER-MP. Source: protocol.md 5.
    """
    return all_of(passed(register(subject)), passed(subject.send(requests.policy_download)))


def original_url(subject: Subject) -> Judgement:
    """X-Original-URL MUST NOT arrive: some servers use it instead of the target.

    Requirement: HEADER-MP. Source: CVE-2018-14773.
    """
    field = ("X-Original-URL", "/ccm_system_altauth/request")
    return _dropped(subject, field)


def rewrite_url(subject: Subject) -> Judgement:
    """X-Rewrite-URL MUST NOT arrive: some servers use it instead of the target.

    Requirement: HEADER-MP. Source: CVE-2018-14773.
    """
    return _dropped(subject, ("X-Rewrite-URL", "/ccm_system_altauth/request"))


def client_certificate_field(subject: Subject) -> Judgement:
    """X-ARR-ClientCert of a client MUST NOT arrive: servers take it for a certificate.

    Requirement: HEADER-MP. Source: RFC 9440 4.
    """
    return _dropped(subject, ("X-ARR-ClientCert", "bGFi"))


def unlisted_field(subject: Subject) -> Judgement:
    """A field that is on no list SHOULD NOT arrive.

    Requirement: HEADER-MP. Source: requirements.md, HTTP.
    """
    return _dropped(subject, ("X-Unlisted", "1"))


def method_override(subject: Subject) -> Judgement:
    """X-HTTP-Method-Override MUST NOT arrive: some servers use it instead of the verb.

    Requirement: HEADER-DP. Source: requirements.md, HTTP.
    """
    field = ("X-HTTP-Method-Override", "DELETE")
    exchange = subject.send(requests.download(field), to=_DP)
    return _refused_or_without(exchange, field[0], (206,))


def credentials(subject: Subject) -> Judgement:
    """Authorization MUST NOT arrive where users are not authenticated.

    Requirement: USER-WINDOWS-AUTH. Source: protocol.md 10.
    """
    return _dropped(subject, TICKET)


def connection_option(subject: Subject) -> Judgement:
    """A request whose Connection lists a signature field MUST be refused.

    Requirement: HTTP-1.1. Source: RFC 9110 7.6.1.
    """
    return refused(subject.send(requests.without_signature))


def overlapping_ranges(subject: Subject) -> Judgement:
    """A request for overlapping byte ranges SHOULD be refused.

    Requirement: HEADER-DP. Source: RFC 9110 17.15, CVE-2011-3192.
    """
    return refused(subject.send(requests.overlapping_ranges, to=_DP))


def range_with_overflow(subject: Subject) -> Judgement:
    """A Range of 64 bits MUST NOT arrive: HTTP.sys had an integer overflow.

    Requirement: HEADER-DP. Source: MS15-034.
    """
    field = ("Range", "bytes=0-18446744073709551615")
    return refused(subject.send(plain("GET", requests.PACKAGE, field), to=_DP))


def two_client_guids(subject: Subject) -> Judgement:
    """A request with two CCMClientID fields SHOULD be refused.

    Requirement: HEADER-MP. Source: RFC 9110 5.3.
    """
    fields = [("CCMClientID", "GUID:00000000-0000-0000-0000-00000000000" + end) for end in "12"]
    return refused(subject.send(plain("GET", _LIST, *fields)))


def forwarded_for(subject: Subject) -> Judgement:
    """X-Forwarded-For of a client MUST NOT arrive: servers take it for an address.

    Requirement: HEADER-MP. Source: RFC 7239 8.1.
    """
    return _dropped(subject, ("X-Forwarded-For", "10.0.0.1"))


def forwarded(subject: Subject) -> Judgement:
    """Forwarded of a client MUST NOT arrive: servers take it for an address.

    Requirement: HEADER-MP. Source: RFC 7239 8.1.
    """
    return _dropped(subject, ("Forwarded", "for=10.0.0.1"))


def via_of_a_client(subject: Subject) -> Judgement:
    """Via of a client SHOULD NOT arrive.

    Requirement: HEADER-MP. Source: RFC 9110 7.6.3.
    """
    return _dropped(subject, ("Via", "1.1 inside"))


def proxy_authorization(subject: Subject) -> Judgement:
    """Proxy-Authorization MUST NOT arrive: it is for a proxy.

    Requirement: HEADER-MP. Source: RFC 9110 11.7.2.
    """
    return _dropped(subject, ("Proxy-Authorization", "Basic bGFi"))


def cookie(subject: Subject) -> Judgement:
    """Cookie SHOULD NOT arrive: clients of a management point have none.

    Requirement: HEADER-MP. Source: requirements.md, HTTP.
    """
    return _dropped(subject, ("Cookie", "a=b"))


def source_of_a_script(subject: Subject) -> Judgement:
    """Translate SHOULD NOT arrive with GET: it asks for the source of a script.

    Requirement: HEADER-MP. Source: MS-WDV 2.2.3.
    """
    return _dropped(subject, ("Translate", "f"))


def destination(subject: Subject) -> Judgement:
    """Destination SHOULD NOT arrive: only MOVE and COPY have it.

    Requirement: HEADER-MP. Source: RFC 4918 10.3.
    """
    return _dropped(subject, ("Destination", "/SMS_MP/x"))


def field_of_200_kilobytes(subject: Subject) -> Judgement:
    """A field of 200 kilobytes SHOULD be refused.

    Requirement: HTTP-1.1. Source: RFC 9110 5.4.
    """
    return refused(subject.send(plain("GET", _LIST, ("X-Lab", "x" * 200_000))))


def a_thousand_fields(subject: Subject) -> Judgement:
    """A head with a thousand fields SHOULD be refused.

    Requirement: HTTP-1.1. Source: RFC 9110 5.4.
    """
    fields = [(f"X-Lab-{number}", "x") for number in range(1_000)]
    return refused(subject.send(plain("GET", _LIST, *fields)))


def _dropped(subject: Subject, field: tuple[str, str]) -> Judgement:
    return _refused_or_without(subject.send(plain("GET", _LIST, field)), field[0])


def _refused_or_without(
    exchange: Exchange, name: str, statuses: tuple[int, ...] = (200,)
) -> Judgement:
    """A proxy may drop the field, or refuse the request."""
    if not exchange.received:
        return refused(exchange)
    return passed(exchange, dropped=(name,), statuses=statuses)
