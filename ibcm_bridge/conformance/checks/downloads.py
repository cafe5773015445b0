"""Downloads: ranges, and real file names."""

from __future__ import annotations

from urllib.parse import quote

from ibcm_bridge.conformance.judgement import Judgement, passed
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases import requests
from ibcm_bridge.lab.cases.requests import CONTENT, PACKAGE, RANGE, plain
from ibcm_bridge.lab.protocol.content import content

_DP = "distribution-point"
_FILES = f"/SMS_DP_SMSPKG$/{CONTENT}/sccm?/"
_SIZE = 8 * 1024 * 1024


def whole_file(subject: Subject) -> Judgement:
    """A file of 8 MiB MUST be returned unchanged.

    Requirement: VERB-DP. Source: protocol.md 7.
    """
    return passed(subject.send(plain("GET", PACKAGE), to=_DP), body=content(0, _SIZE))


def byte_range(subject: Subject) -> Judgement:
    """A byte range MUST be returned unchanged, with status 206.

    Requirement: HEADER-DP. Source: RFC 9110 14.2.
    """
    body = content(RANGE[0], RANGE[1] + 1)
    return passed(subject.send(requests.download(), to=_DP), statuses=(206,), body=body)


def several_ranges(subject: Subject) -> Judgement:
    """Several ranges in one request MUST be forwarded: BITS sends them for a damaged file.

    Requirement: HEADER-DP. Source: RFC 9110 14.6.
    """
    ranges = ("Range", "bytes=0-9,100-109,1000-1009")
    return passed(subject.send(plain("GET", PACKAGE, ranges), to=_DP), statuses=(206,))


def end_of_a_file(subject: Subject) -> Judgement:
    """The range of the last bytes MUST be returned unchanged.

    Requirement: HEADER-DP. Source: RFC 9110 14.1.2.
    """
    field = ("Range", f"bytes={_SIZE - 100}-")
    body = content(_SIZE - 100, _SIZE)
    return passed(subject.send(plain("GET", PACKAGE, field), to=_DP), statuses=(206,), body=body)


def name_with_a_percent_sign(subject: Subject) -> Judgement:
    """A file name with a percent sign MUST be accepted.

    Requirement: VERB-DP. Source: protocol.md 7.
    """
    return _file(subject, "themes/100%.theme")


def name_beyond_ascii(subject: Subject) -> Judgement:
    """A file name with letters beyond ASCII MUST be accepted.

    Requirement: VERB-DP. Source: protocol.md 7, RFC 3986 2.5.
    """
    return _file(subject, "Espa\u00f1ol.txt")


def name_with_a_number_sign(subject: Subject) -> Judgement:
    """A file name with a number sign MUST be accepted.

    Requirement: VERB-DP. Source: protocol.md 7.
    """
    return _file(subject, "C#/readme.txt")


def name_with_a_semicolon(subject: Subject) -> Judgement:
    """A file name with a semicolon MUST be accepted.

    Requirement: VERB-DP. Source: protocol.md 7.
    """
    return _file(subject, "a;b.txt")


def name_with_tildes(subject: Subject) -> Judgement:
    """The file name of a feature on demand MUST be accepted: it has tildes, like an 8.3 name.

    Requirement: VERB-DP. Source: protocol.md 7.
    """
    name = "sources/sxs/microsoft-windows-netfx3-ondemand-package~31bf3856ad364e35~amd64~~.cab"
    return _file(subject, name)


def _file(subject: Subject, name: str) -> Judgement:
    """The content of such a file is its name."""
    exchange = subject.send(plain("GET", _FILES + quote(name)), to=_DP)
    return passed(exchange, body=name.encode())
