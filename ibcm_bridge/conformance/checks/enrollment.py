"""The policy module (NDES)."""

from __future__ import annotations

from ibcm_bridge.conformance.judgement import Judgement, passed, refused
from ibcm_bridge.conformance.kit import Client
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases import requests

_TO = "policy-module"


def authority_certificates(subject: Subject) -> Judgement:
    """The first request of SCEP, without a client certificate, MUST be forwarded.

    Requirement: BRIDGE-INSPECT. Source: RFC 8894 4.2.
    """
    return passed(subject.send(requests.scep, to=_TO, client=Client.NONE))


def administration(subject: Subject) -> Judgement:
    """The administration page of NDES MUST NOT be published: it shows passwords.

    Requirement: BRIDGE-INSPECT. Source: protocol.md 8.4.
    """
    request = requests.plain("GET", "/certsrv/mscep_admin/")
    return refused(subject.send(request, to=_TO, client=Client.NONE))
