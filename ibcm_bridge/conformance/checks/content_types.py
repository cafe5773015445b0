"""Content types of request bodies."""

from __future__ import annotations

import dataclasses

from ibcm_bridge.conformance.judgement import Judgement, refused
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases import requests
from ibcm_bridge.lab.cases.requests import Senders
from ibcm_bridge.lab.protocol.client import Request


def text_xml(subject: Subject) -> Judgement:
    """A message of type text/xml MUST be refused.

    Requirement: HTTP-MULTIPART. Source: protocol.md 1.2.
    """
    return refused(subject.send(requests.wrong_media_type))


def none(subject: Subject) -> Judgement:
    """A message without Content-Type MUST be refused.

    Requirement: HTTP-MULTIPART. Source: protocol.md 1.2.
    """

    def request(who: Senders) -> Request:
        return dataclasses.replace(requests.inventory(who), headers=(("User-Agent", "ccmhttp"),))

    return refused(subject.send(request))


def encoded_body(subject: Subject) -> Judgement:
    """A message with Content-Encoding MUST be refused: its content cannot be inspected.

    Requirement: BRIDGE-INSPECT. Source: RFC 9110 8.4.
    """

    def request(who: Senders) -> Request:
        message = requests.inventory(who)
        encoding = ("Content-Encoding", "gzip")
        return dataclasses.replace(message, headers=(*message.headers, encoding))

    return refused(subject.send(request))


def unclosed_multipart(subject: Subject) -> Judgement:
    """A multipart body without its closing boundary MUST be refused.

    Requirement: HTTP-MULTIPART. Source: RFC 2046 5.1.1.
    """
    return refused(subject.send(requests.unclosed))


def html_part(subject: Subject) -> Judgement:
    """A message with a part of type text/html MUST be refused.

    Requirement: HTTP-MULTIPART. Source: protocol.md 1.3.
    """
    return refused(subject.send(requests.wrong_part))


def body_of_a_get(subject: Subject) -> Judgement:
    """A GET with a body SHOULD be refused: some servers read it as the next request.

    Requirement: BRIDGE-INSPECT. Source: RFC 9110 9.3.1.
    """
    return refused(subject.send(requests.body_of_a_get))
