"""Paths and queries: what is published, and every other spelling of what is not."""

from __future__ import annotations

from ibcm_bridge.conformance.judgement import Judgement, passed, refused
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases.requests import CONTENT, PACKAGE, inventory_to, plain

_DP = "distribution-point"


def directory_without_certificates(subject: Subject) -> Judgement:
    """Directories for clients without a certificate (_AltAuth) MUST NOT be published.

    Requirement: BRIDGE-AUTH-COMPUTER. Source: protocol.md 1.1.
    """
    return refused(subject.send(inventory_to("/ccm_system_altauth/request")))


def token_directory(subject: Subject) -> Judgement:
    """Directories for clients with a token (_TokenAuth) MUST NOT be published.

    Requirement: BRIDGE-AUTH-COMPUTER. Source: protocol.md 1.1.
    """
    return refused(subject.send(plain("GET", "/SMS_MP_TokenAuth/.sms_aut?MPLIST")))


def dot_segments(subject: Subject) -> Judgement:
    """Dot segments MUST NOT lead to another directory.

    Requirement: BRIDGE-INSPECT. Source: RFC 3986 5.2.4.
    """
    return refused(subject.send(inventory_to("/SMS_MP/../ccm_system_altauth/request")))


def backslash(subject: Subject) -> Judgement:
    """An escaped backslash MUST NOT lead to another directory.

    Requirement: BRIDGE-INSPECT. Source: protocol.md 4.
    """
    return refused(subject.send(inventory_to("/SMS_MP/..%5cccm_system_altauth/request")))


def escaped_slash(subject: Subject) -> Judgement:
    """An escaped slash MUST NOT lead to another directory.

    Requirement: BRIDGE-INSPECT. Source: RFC 3986 2.2.
    """
    return refused(subject.send(inventory_to("/SMS_MP/..%2fccm_system_altauth/request")))


def double_escape(subject: Subject) -> Judgement:
    """A path that is escaped twice SHOULD be refused.

    Requirement: BRIDGE-INSPECT. Source: RFC 3986 2.4.
    """
    return refused(subject.send(inventory_to("/SMS_MP/%252e%252e/ccm_system_altauth/request")))


def null(subject: Subject) -> Judgement:
    """A path with an escaped null MUST be refused.

    Requirement: BRIDGE-INSPECT. Source: RFC 3986 7.3.
    """
    return refused(subject.send(plain("GET", "/SMS_MP/.sms_aut%00?MPLIST")))


def content_library(subject: Subject) -> Judgement:
    """The content library of a distribution point MUST NOT be published.

    Requirement: BRIDGE-INSPECT. Source: protocol.md 7.
    """
    return refused(subject.send(plain("GET", "/SMS_DP_SMSPKG$/Datalib"), to=_DP))


def client_setup(subject: Subject) -> Judgement:
    """The setup files of the client MUST NOT be published.

    Requirement: NO-CLIENT-DEPLOYMENT. Source: protocol.md 2.4.
    """
    return refused(subject.send(plain("GET", "/CCM_Client/ccmsetup.exe")))


def boot_media(subject: Subject) -> Judgement:
    """The key information for boot media MUST NOT be published.

    Requirement: NO-OSD. Source: protocol.md 2.4.
    """
    return refused(subject.send(plain("GET", "/SMS_MP/.sms_aut?MPKEYINFORMATIONMEDIA")))


def file_outside_the_package(subject: Subject) -> Judgement:
    """A file name in the query that leaves its package MUST be refused.

    Requirement: BRIDGE-INSPECT. Source: protocol.md 7.
    """
    target = f"/SMS_DP_SMSPKG$/{CONTENT}/sccm?/../../Windows/win.ini"
    return refused(subject.send(plain("GET", target), to=_DP))


def alternate_stream(subject: Subject) -> Judgement:
    """A file name in the query with a data stream MUST be refused.

    Requirement: BRIDGE-INSPECT. Source: protocol.md 7.
    """
    return refused(subject.send(plain("GET", f"{PACKAGE}::$DATA"), to=_DP))


def directory_in_another_case(subject: Subject) -> Judgement:
    """A directory in another case MUST be accepted: clients differ, and IIS ignores case.

    Requirement: VERB-MP. Source: protocol.md 4.
    """
    return passed(subject.send(plain("GET", "/sms_mp/.sms_aut?MPCERT")))
