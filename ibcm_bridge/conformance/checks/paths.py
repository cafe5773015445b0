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


def escaped_letter(subject: Subject) -> Judgement:
    """An escaped letter MUST NOT hide a directory.

    Requirement: BRIDGE-INSPECT. Source: RFC 3986 6.2.2.2.
    """
    return refused(subject.send(plain("GET", "/%43CM_Client/ccmsetup.exe")))


def two_slashes(subject: Subject) -> Judgement:
    """Two slashes MUST NOT hide a directory.

    Requirement: BRIDGE-INSPECT. Source: RFC 3986 3.3.
    """
    return refused(subject.send(plain("GET", "//CCM_Client/ccmsetup.exe")))


def dot_segment_at_the_start(subject: Subject) -> Judgement:
    """A dot segment at the start MUST NOT hide a directory.

    Requirement: BRIDGE-INSPECT. Source: RFC 3986 5.2.4.
    """
    return refused(subject.send(plain("GET", "/./CCM_Client/ccmsetup.exe")))


def parameter_of_a_segment(subject: Subject) -> Judgement:
    """Dot segments with a parameter SHOULD be refused: some servers remove it.

    Requirement: BRIDGE-INSPECT. Source: RFC 3986 3.3.
    """
    return refused(subject.send(plain("GET", "/SMS_MP/..;/CCM_Client/ccmsetup.exe")))


def overlong_utf_8(subject: Subject) -> Judgement:
    """Overlong UTF-8 MUST be refused: it hides dots.

    Requirement: BRIDGE-INSPECT. Source: RFC 3629 3.
    """
    return refused(subject.send(plain("GET", "/SMS_MP/%c0%ae%c0%ae/CCM_Client/ccmsetup.exe")))


def escape_with_u(subject: Subject) -> Judgement:
    """An escape with %u SHOULD be refused: only some servers decode it.

    Requirement: BRIDGE-INSPECT. Source: RFC 3986 2.1.
    """
    return refused(subject.send(plain("GET", "/SMS_MP/%u002e%u002e/CCM_Client/ccmsetup.exe")))


def incomplete_escape(subject: Subject) -> Judgement:
    """An incomplete escape SHOULD be refused.

    Requirement: BRIDGE-INSPECT. Source: RFC 3986 2.1.
    """
    return refused(subject.send(plain("GET", "/SMS_MP/.sms_aut%2?MPCERT")))


def short_name(subject: Subject) -> Judgement:
    """The short name of a directory (8.3) MUST NOT be published.

    Requirement: BRIDGE-INSPECT. Source: protocol.md 4.
    """
    return refused(subject.send(plain("GET", "/CCM_CL~1/ccmsetup.exe")))


def dot_after_a_directory(subject: Subject) -> Judgement:
    """A dot after a directory MUST NOT lead to it: Windows removes it.

    Requirement: BRIDGE-INSPECT. Source: protocol.md 4.
    """
    return refused(subject.send(plain("GET", "/CCM_Client./ccmsetup.exe")))


def root(subject: Subject) -> Judgement:
    """The root of the server MUST NOT be published.

    Requirement: BRIDGE-INSPECT. Source: requirements.md, HTTP.
    """
    return refused(subject.send(plain("GET", "/")))


def unknown_query(subject: Subject) -> Judgement:
    """A query that no client sends SHOULD be refused.

    Requirement: BRIDGE-INSPECT. Source: protocol.md 4.
    """
    return refused(subject.send(plain("GET", "/SMS_MP/.sms_aut?../web.config")))


def certificate_of_the_site(subject: Subject) -> Judgement:
    """The certificate of the site MUST be readable: clients verify policies with it.

    Requirement: VERB-MP. Source: protocol.md 4.
    """
    return passed(subject.send(plain("GET", "/SMS_MP/.sms_aut?SITESIGNCERT")))


def trusted_root_key(subject: Subject) -> Judgement:
    """The trusted root key MUST be readable.

    Requirement: VERB-MP. Source: protocol.md 4.
    """
    return passed(subject.send(plain("GET", "/SMS_MP/.sms_aut?MPTRK")))


def management_points_of_a_site(subject: Subject) -> Judgement:
    """The management points of a site MUST be readable.

    Requirement: VERB-MP. Source: protocol.md 4.
    """
    return passed(subject.send(plain("GET", "/SMS_MP/.sms_aut?MPLIST2&LAB")))
