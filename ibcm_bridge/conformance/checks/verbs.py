"""Verbs: Microsoft's list for each role."""

from __future__ import annotations

from ibcm_bridge.conformance.judgement import Judgement, passed, refused
from ibcm_bridge.conformance.kit import Client
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases import requests
from ibcm_bridge.lab.cases.requests import PACKAGE, TICKET, plain

_LIST = "/SMS_MP/.sms_aut?MPCERT"
_DP = "distribution-point"


def get_of_a_management_point(subject: Subject) -> Judgement:
    """GET MUST be forwarded to a management point.

    Requirement: VERB-MP. Source: protocol.md 4.
    """
    return passed(subject.send(plain("GET", _LIST)))


def head_of_a_management_point(subject: Subject) -> Judgement:
    """HEAD MUST be forwarded to a management point.

    Requirement: VERB-MP. Source: requirements.md, HTTP.
    """
    return passed(subject.send(plain("HEAD", _LIST)))


def ccm_post(subject: Subject) -> Judgement:
    """CCM_POST MUST be forwarded to a management point.

    Requirement: VERB-MP. Source: protocol.md 1.2.
    """
    return passed(subject.send(requests.inventory))


def delete_of_a_management_point(subject: Subject) -> Judgement:
    """DELETE MUST NOT be forwarded to a management point.

    Requirement: VERB-MP. Source: requirements.md, HTTP.
    """
    return refused(subject.send(plain("DELETE", _LIST)))


def put_of_a_management_point(subject: Subject) -> Judgement:
    """PUT MUST NOT be forwarded to a management point.

    Requirement: VERB-MP. Source: requirements.md, HTTP.
    """
    return refused(subject.send(plain("PUT", _LIST)))


def trace(subject: Subject) -> Judgement:
    """TRACE MUST NOT be forwarded: it returns the fields that the proxy added.

    Requirement: VERB-MP. Source: RFC 9110 9.3.8.
    """
    return refused(subject.send(plain("TRACE", _LIST)))


def verb_in_lower_case(subject: Subject) -> Judgement:
    """A verb in lower case MUST NOT be forwarded: verbs are case-sensitive.

    Requirement: VERB-MP. Source: RFC 9110 9.1.
    """
    return refused(subject.send(plain("get", _LIST)))


def propfind_of_a_package(subject: Subject) -> Judgement:
    """PROPFIND of a package MUST be forwarded to a distribution point.

    Requirement: VERB-DP. Source: protocol.md 7.
    """
    return passed(subject.send(requests.package_listing, to=_DP), statuses=(207,))


def head_of_a_file(subject: Subject) -> Judgement:
    """HEAD of a file MUST be forwarded to a distribution point.

    Requirement: VERB-DP. Source: protocol.md 7.
    """
    return passed(subject.send(plain("HEAD", PACKAGE), to=_DP))


def put_of_a_file(subject: Subject) -> Judgement:
    """PUT MUST NOT be forwarded to a distribution point.

    Requirement: VERB-DP. Source: requirements.md, HTTP.
    """
    return refused(subject.send(plain("PUT", PACKAGE), to=_DP))


def post_to_a_fallback_status_point(subject: Subject) -> Judgement:
    """POST of a state message MUST be forwarded to a fallback status point.

    Requirement: VERB-FSP. Source: protocol.md 8.1.
    """
    to = "fallback-status-point"
    return passed(subject.send(requests.state_message, to=to, client=Client.NONE))


def get_of_a_fallback_status_point(subject: Subject) -> Judgement:
    """GET MUST NOT be forwarded to a fallback status point.

    Requirement: VERB-FSP. Source: requirements.md, HTTP.
    """
    to = "fallback-status-point"
    return refused(subject.send(requests.state_question, to=to, client=Client.NONE))


def put_of_an_application_catalog(subject: Subject) -> Judgement:
    """PUT MUST NOT be forwarded to an application catalog.

    Requirement: VERB-APPCATALOG. Source: requirements.md, HTTP.
    """
    subject.needs("windows-authentication")
    request = plain("PUT", "/CMApplicationCatalog/", TICKET)
    to = "application-catalog-website-point"
    return refused(subject.send(request, to=to, client=Client.NONE))


def options_of_a_management_point(subject: Subject) -> Judgement:
    """OPTIONS MUST NOT be forwarded to a management point.

    Requirement: VERB-MP. Source: requirements.md, HTTP.
    """
    return refused(subject.send(plain("OPTIONS", _LIST)))


def patch_of_a_management_point(subject: Subject) -> Judgement:
    """PATCH MUST NOT be forwarded to a management point.

    Requirement: VERB-MP. Source: requirements.md, HTTP.
    """
    return refused(subject.send(plain("PATCH", _LIST)))


def post_to_a_management_point(subject: Subject) -> Judgement:
    """POST MUST NOT be forwarded to a management point.

    Requirement: VERB-MP. Source: requirements.md, HTTP.
    """
    return refused(subject.send(plain("POST", _LIST)))


def get_of_messages(subject: Subject) -> Judgement:
    """GET of the directory of messages SHOULD be refused: clients only post to it.

    Requirement: VERB-MP. Source: protocol.md 1.2.
    """
    return refused(subject.send(plain("GET", "/ccm_system/request")))


def delete_of_a_file(subject: Subject) -> Judgement:
    """DELETE MUST NOT be forwarded to a distribution point.

    Requirement: VERB-DP. Source: requirements.md, HTTP, RFC 4918 9.
    """
    return refused(subject.send(plain("DELETE", PACKAGE), to=_DP))


def move_of_a_file(subject: Subject) -> Judgement:
    """MOVE MUST NOT be forwarded to a distribution point.

    Requirement: VERB-DP. Source: requirements.md, HTTP, RFC 4918 9.
    """
    return refused(subject.send(plain("MOVE", PACKAGE), to=_DP))


def copy_of_a_file(subject: Subject) -> Judgement:
    """COPY MUST NOT be forwarded to a distribution point.

    Requirement: VERB-DP. Source: requirements.md, HTTP, RFC 4918 9.
    """
    return refused(subject.send(plain("COPY", PACKAGE), to=_DP))


def lock_of_a_file(subject: Subject) -> Judgement:
    """LOCK MUST NOT be forwarded to a distribution point.

    Requirement: VERB-DP. Source: requirements.md, HTTP, RFC 4918 9.
    """
    return refused(subject.send(plain("LOCK", PACKAGE), to=_DP))


def proppatch_of_a_file(subject: Subject) -> Judgement:
    """PROPPATCH MUST NOT be forwarded to a distribution point.

    Requirement: VERB-DP. Source: requirements.md, HTTP, RFC 4918 9.
    """
    return refused(subject.send(plain("PROPPATCH", PACKAGE), to=_DP))


def mkcol_of_a_file(subject: Subject) -> Judgement:
    """MKCOL MUST NOT be forwarded to a distribution point.

    Requirement: VERB-DP. Source: requirements.md, HTTP, RFC 4918 9.
    """
    return refused(subject.send(plain("MKCOL", PACKAGE), to=_DP))


def bits_post_to_a_distribution_point(subject: Subject) -> Judgement:
    """BITS_POST MUST NOT be forwarded to a distribution point.

    Requirement: VERB-DP. Source: requirements.md, HTTP.
    """
    fields = (("BITS-Packet-Type", "Create-Session"), ("Content-Length", "0"))
    return refused(subject.send(plain("BITS_POST", PACKAGE, *fields), to=_DP))
