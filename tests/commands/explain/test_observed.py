"""A publication with `observe`: what it forwards, and next to it what it still refuses."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import io
import zipfile
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from ibcm_bridge.commands.explain.explanation import Explanation
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.observing import OBSERVABLE
from ibcm_bridge.lab.cases.requests import eicar, zip_bomb
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol import ccm, documents, wsus
from ibcm_bridge.policy.policy import Policy
from tests.commands.explain.questions import ANOTHERS, GUID, UNBOUND, ask
from tests.lab.cases.test_observed_cases import observing

MP = "https://bridge.internet.example"
SUP = f"{MP}:8531"
MESSAGE = f"{MP}/ccm_system/request"
PACKAGE = f"{MP}/SMS_DP_SMSPKG$/LAB00001"
SERVICE = f"{SUP}/ClientWebService/Client.asmx"
POLICY = f"{MP}/SMS_MP/.sms_pol?{{LAB00001}}.1_00"

type Fields = tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Question:
    """A described request, of a computer."""

    method: str
    url: str
    body: bytes | None = None
    headers: Fields = ()


def sent(
    body: bytes, content_type: str = "", *, method: str = "PUT", url: str = MESSAGE
) -> Question:
    return Question(method, url, body, (("Content-Type", content_type),) if content_type else ())


def message(endpoint: str, root: str = "Report", guid: str = GUID, **more: Any) -> bytes:
    return ccm.ccm_post_body(endpoint=endpoint, body_xml=f"<{root}/>", client_guid=guid, **more)


def posted(body: bytes, content_type: str = ccm.CONTENT_TYPE) -> Question:
    return sent(body, content_type, method="CCM_POST")


def related(body: bytes) -> Question:
    return posted(body, ccm.CONTENT_TYPE.replace("mixed", "related"))


def soap(
    operation: str, inner: str = "", content_type: str = "text/xml", method: str = "POST"
) -> Question:
    request = wsus.operation_request(wsus.CLIENT, operation, inner)
    kept = tuple(field for field in request.headers if field[0] == "SOAPAction")
    return Question(method, SERVICE, request.body, (("Content-Type", content_type), *kept))


def cookie(data: bytes) -> str:
    return (
        f"<oldCookie><EncryptedData>{base64.b64encode(data).decode()}</EncryptedData></oldCookie>"
    )


STREAM = b"\x00\x01\x00\x00\x00\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00\x00\x00"
"""The start of a serialized object ([MS-NRBF] section 2.6.1)."""


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", content)
    return file.getvalue()


ANOTHERS_KEY = rsa.generate_private_key(65537, 2048)
TWO_GUIDS = documents.policy_request(GUID).replace(
    "</Identification>", f"<Other><ClientID>{UNBOUND}</ClientID></Other></Identification>"
)
STALE = (
    ("CCMClientID", GUID),
    ("CCMClientIDSignature", "00"),
    ("CCMClientTimestamp", "2001-01-01T00:00:00Z"),
    ("CCMClientTimestampSignature", "00"),
)


OBSERVED: dict[str, tuple[Question, Reason, str]] = {
    "a verb": (Question("DELETE", PACKAGE), Reason.VERB, '{verb: "DELETE", '),
    "a verb with a body": (sent(b"hello"), Reason.VERB, '{verb: "PUT", '),
    "a verb with a message": (sent(message("MP_HinvEndpoint")), Reason.VERB, '{verb: "PUT", '),
    "a verb with an archive": (sent(zipped(b"hello")), Reason.VERB, '{verb: "PUT", '),
    "a verb of another resource": (
        Question("PROPFIND", f"{MP}/SMS_MP/.sms_aut?MPLIST"),
        Reason.VERB,
        '{directory: "SMS_MP", path: "\\\\.sms_aut", query: ..., verbs: ["PROPFIND"], ',
    ),
    "a header field": (Question("GET", PACKAGE, None, (("X-Own", "1"),)), Reason.HEADER, "drop"),
    "a depth": (Question("PROPFIND", PACKAGE, None, (("Depth", "2"),)), Reason.HEADER, ""),
    "a media type": (posted(b"hello", "text/plain"), Reason.MEDIA_TYPE, ""),
    "no media type": (posted(b"hello", ""), Reason.MEDIA_TYPE, ""),
    "another multipart": (related(message("MP_HinvEndpoint")), Reason.MEDIA_TYPE, ""),
    "an endpoint": (
        posted(message("MP_Own", "Own")),
        Reason.ENDPOINT,
        '{endpoint: "MP_Own", root: "Own", ',
    ),
    "a root": (
        posted(message("MP_HinvEndpoint", "Own")),
        Reason.MESSAGE,
        '{endpoint: "MP_HinvEndpoint", root: "Own", ',
    ),
    "a refused message": (posted(message("MP_OOBMgr", "x")), Reason.MESSAGE, ""),
    "no client GUID": (
        posted(message("MP_HinvEndpoint", guid="")),
        Reason.IDENTITY_MISSING,
        "messages: {identity: observe}",
    ),
    "no signature": (
        posted(message("MP_HinvEndpoint")),
        Reason.SIGNATURE_MISSING,
        "messages: {signatures: observe}",
    ),
    "a signature with another key": (
        posted(message("MP_HinvEndpoint", key=ANOTHERS_KEY)),
        Reason.SIGNATURE_FORGED,
        "messages: {signatures: observe}",
    ),
    "an old signature": (
        Question("GET", POLICY, None, STALE),
        Reason.TIMESTAMP_STALE,
        "messages: {signatures: observe}",
    ),
    "another client's GUID": (
        posted(message("MP_HinvEndpoint", guid=ANOTHERS)),
        Reason.IDENTITY_OF_ANOTHER,
        "messages: {identity: observe}",
    ),
    "an unknown client GUID": (
        posted(message("MP_HinvEndpoint", guid=UNBOUND)),
        Reason.IDENTITY_UNKNOWN,
        "messages: {unknown_guids: learn}",
    ),
    "two client GUIDs": (
        posted(
            ccm.ccm_post_body(endpoint="MP_PolicyManager", body_xml=TWO_GUIDS, client_guid=GUID)
        ),
        Reason.IDENTITY_AMBIGUOUS,
        "messages: {identity: observe}",
    ),
    "a media type and another client's GUID": (
        related(message("MP_HinvEndpoint", guid=ANOTHERS)),
        Reason.IDENTITY_OF_ANOTHER,
        "messages: {identity: observe}",
    ),
    "an action": (soap("GetOwn"), Reason.SOAP_ACTION, ""),
    "SOAP of another type": (soap("GetConfig", "", "application/xml"), Reason.MEDIA_TYPE, ""),
    "SOAP of another verb": (soap("GetConfig", "", "text/xml", "PUT"), Reason.VERB, "PUT"),
}

REFUSED: dict[str, tuple[Question, Reason]] = {
    "TRACE": (Question("TRACE", PACKAGE), Reason.VERB),
    "CONNECT": (Question("connect", PACKAGE), Reason.VERB),
    "a listed verb in another case": (posted(b"x"), Reason.MULTIPART),
    "a path": (Question("GET", f"{MP}/SMS_MP/own"), Reason.RESOURCE),
    "a directory": (Question("PUT", f"{MP}/own/x"), Reason.DIRECTORY),
    "a bypass directory": (
        Question("PUT", f"{MP}/NOCERT_SMS_DP_SMSPKG$/x"),
        Reason.BYPASS_DIRECTORY,
    ),
    "an unsafe target": (Question("PUT", f"{MP}/SMS_MP/../x"), Reason.TARGET_UNSAFE),
    "framing": (
        Question("PUT", MESSAGE, None, (("Content-Length", "0"), ("Content-Length", "1"))),
        Reason.FRAMING,
    ),
    "a body of a GET": (sent(b"x", method="GET", url=PACKAGE), Reason.BODY_NOT_ALLOWED),
    "an encoded body": (
        Question("PUT", MESSAGE, gzip.compress(b"x"), (("Content-Encoding", "gzip"),)),
        Reason.MEDIA_TYPE,
    ),
    "a charset": (sent(b"x", "text/plain; charset=utf-7"), Reason.MEDIA_TYPE),
    "a charset of a type": (posted(b"x", "text/plain; charset=utf-7"), Reason.MEDIA_TYPE),
    "a DTD": (sent(b"<!DOCTYPE a><a/>"), Reason.XML_DTD),
    "a DTD in UTF-16": (posted("<!DOCTYPE a><a/>".encode("utf-16-le"), "a/b"), Reason.XML_DTD),
    "a bomb": (sent(zip_bomb()), Reason.INFLATED_TOO_LARGE),
    "a bomb in an archive": (posted(zipped(bytes(20_000_000)), "a/b"), Reason.ARCHIVE),
    "malware": (sent(eicar().encode()), Reason.MALICIOUS_CONTENT),
    "malware of another type": (posted(eicar().encode(), "text/plain"), Reason.MALICIOUS_CONTENT),
    "malware in an archive": (sent(zipped(eicar().encode())), Reason.MALICIOUS_CONTENT),
    "boot media": (sent(message("MP_ClientIdManager")), Reason.MESSAGE),
    "boot media of another type": (posted(message("MP_ClientIdManager"), "a/b"), Reason.MESSAGE),
    "boot media for an endpoint": (
        posted(message("MP_Own", reply_to="direct:OSD")),
        Reason.MESSAGE,
    ),
    "site assignment": (related(message("MP_Own", "AssignedSiteRequest")), Reason.MESSAGE),
    "tokens": (posted(message("MP_TokenManager")), Reason.MESSAGE),
    "a message after a preamble": (
        posted(b"x\r\n" + message("MP_HinvEndpoint"), "text/plain"),
        Reason.MULTIPART,
    ),
    "a message after a line feed": (
        posted(b"\n" + message("MP_x"), "text/plain"),
        Reason.MULTIPART,
    ),
    "a message of another boundary": (
        posted(message("MP_HinvEndpoint"), "multipart/related; boundary=x"),
        Reason.MULTIPART,
    ),
    "two boundaries": (
        posted(message("MP_HinvEndpoint"), "multipart/related; boundary=a; boundary=aAbBcC"),
        Reason.MULTIPART,
    ),
    "a malformed SourceID": (sent(message("MP_Own", guid="x")), Reason.IDENTITY_MALFORMED),
    "a serialized cookie": (soap("GetOwn", cookie(STREAM)), Reason.SOAP_CONTENT),
    "a serialized cookie of another type": (
        soap("GetCookie", cookie(STREAM), "application/xml"),
        Reason.SOAP_CONTENT,
    ),
    "a serialized cookie of another verb": (
        soap("GetCookie", cookie(STREAM), "text/xml", "PUT"),
        Reason.SOAP_CONTENT,
    ),
    "a body without SOAP": (sent(b"x", method="PUT", url=SERVICE), Reason.SOAP_ACTION),
    "a web service": (
        sent(b"x", url=f"{SUP}/ApiRemoting30/x.asmx"),
        Reason.RESOURCE,
    ),
}


def test_each_observable_reason_has_a_request() -> None:
    assert {reason for _, reason, _ in OBSERVED.values()} == OBSERVABLE.keys()


@pytest.mark.parametrize("name", OBSERVED)
def test_an_observable_refusal_is_only_observed(
    pilot: Policy, computer: LabCredential, name: str
) -> None:
    question, reason, line = OBSERVED[name]
    explanation = answer(pilot, computer, question)
    assert explanation.denial is None, explanation.denial
    found = [finding for finding in explanation.would_refuse if finding.denial.reason is reason]
    assert found
    assert line in found[0].allowed_by if line else found[0].allowed_by == ""
    assert explanation.verdict.startswith("OBSERVED ONLY; without `observe`: DENY ")
    assert any(step.startswith("Would be refused; observed only: ") for step in explanation.steps)


@pytest.mark.parametrize("name", OBSERVED)
def test_the_same_is_refused_without_observe(
    pilot: Policy, computer: LabCredential, name: str
) -> None:
    question, _, _ = OBSERVED[name]
    observed = answer(pilot, computer, question).would_refuse[0].denial
    denial = answer(enforcing(pilot), computer, question).denial
    assert denial == observed


@pytest.mark.parametrize("name", REFUSED)
def test_everything_else_is_refused(pilot: Policy, computer: LabCredential, name: str) -> None:
    question, reason = REFUSED[name]
    denial = answer(pilot, computer, question).denial
    assert isinstance(denial, Deny)
    assert denial.reason is reason


def answer(policy: Policy, computer: LabCredential, question: Question) -> Explanation:
    return ask(policy, question.method, question.url, computer, question.body, question.headers)


def enforcing(policy: Policy) -> Policy:
    return observing(policy, None)
