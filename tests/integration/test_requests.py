"""Verbs, header fields and bodies, byte by byte: VERB-*, HEADER-*, BRIDGE-IDENTITY."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.protocol import ccm, documents
from tests.integration.lab import Lab
from tests.integration.samples import CLOSE, CONTENT, DP, MESSAGE, MP, MP_LIST, NAME, body_for


@pytest.fixture(scope="module")
def strict_address() -> tuple[str, int]:
    return ("127.0.0.1", free_port())


@pytest.fixture(scope="module")
def change_policy(policy: dict[str, Any], strict_address: tuple[str, int]) -> None:
    """The same publication twice, on another port with `unlisted_headers: refuse`."""
    host, port = strict_address
    strict = {**policy["publications"][0], "listen": f"{host}:{port}", "unlisted_headers": "refuse"}
    policy["publications"].append(strict)


# Verbs

RESOURCES = {
    "/ccm_system/request": (MP, "VERB-MP", ["CCM_POST"]),
    MP_LIST: (MP, "VERB-MP", ["HEAD", "GET"]),
    "/SMS_MP/.sms_pol?{LAB00001}.1_00": (MP, "VERB-MP", ["HEAD", "GET"]),
    "/SMS_MP/": (MP, "VERB-MP", ["PROPFIND"]),
    "/CCM_Incoming/upload": (MP, "VERB-MP", ["BITS_POST"]),
    CONTENT: (DP, "VERB-DP", ["PROPFIND"]),
    f"{CONTENT}/sccm?/setup.exe": (DP, "VERB-DP", ["HEAD", "GET"]),
    "/SMS_DP_SMSSIG$/LAB00001.1.tar": (DP, "VERB-DP", ["HEAD", "GET"]),
}
ROLE_VERBS = {
    MP: ["HEAD", "CCM_POST", "BITS_POST", "GET", "PROPFIND"],
    DP: ["HEAD", "GET", "PROPFIND"],
}
BYTES = ["ccm_post", "Ccm_Post", "CCM-POST", "CCM_POST_", "get", "Get", "propfind", "bits_post"]
OTHERS = ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "LOCK", "MKCOL", "MOVE", "SEARCH"]
EVERY_VERB = [*ROLE_VERBS[MP], *BYTES, *OTHERS]


@pytest.mark.parametrize(
    ("target", "method"),
    [
        (target, method)
        for target, (_, _, verbs) in RESOURCES.items()
        for method in verbs
        if method != "BITS_POST"
    ],
)
def test_each_listed_verb_arrives(lab: Lab, target: str, method: str) -> None:
    fields, body = body_for(lab, method)
    reply = lab.send_one(lab.request(method, target, CLOSE | fields, body))
    assert reply.status in (200, 207)
    received = lab.received()
    assert (received.method, received.target) == (method, target)
    record = lab.record()
    assert (record["verdict"], record["method"], record["target"]) == ("allow", method, target)
    role = RESOURCES[target][0]
    assert (record["role"], record["rule"]) == (role, f"{role}.verbs.{method}")


@pytest.mark.parametrize(
    ("target", "method"),
    [
        (target, method)
        for target, (_, _, verbs) in RESOURCES.items()
        for method in EVERY_VERB
        if method not in verbs
    ],
)
def test_every_other_verb_is_refused(lab: Lab, target: str, method: str) -> None:
    role, requirement, verbs = RESOURCES[target]
    directory = target.split("/")[1].lower()
    of_role = method in ROLE_VERBS[role]
    rule = f"{role}.directories.{directory}" if of_role else f"{role}.verbs"
    fields, body = body_for(lab, method)
    reply = lab.send_one(lab.request(method, target, lab.identification | fields, body))
    record = lab.check_refused(reply, Reason.VERB, rule, requirement)
    assert record["method"] == method
    allowed = verbs if of_role else ROLE_VERBS[role]
    assert sorted((reply.header("Allow") or "").split(", ")) == sorted(allowed)


def test_curl_posts_a_message(lab: Lab) -> None:
    body = lab.files / "message"
    body.write_bytes(lab.message())
    options = ("-X", "CCM_POST", "-H", f"Content-Type: {ccm.CONTENT_TYPE}")
    run = lab.curl(
        *options,
        "--data-binary",
        f"@{body}",
        target="/ccm_system/request",
        credential=lab.credentials.computer,
    )
    assert run.stdout.startswith(b"HTTP/1.1 200 OK\r\n")
    assert run.stdout.endswith(ccm.NO_REPLY)
    assert lab.received().body == body.read_bytes()
    assert lab.record()["verdict"] == "allow"


def test_a_verb_in_lower_case_of_curl_is_refused(lab: Lab) -> None:
    options = ("-X", "ccm_post", "-H", f"Content-Type: {ccm.CONTENT_TYPE}")
    run = lab.curl(
        *options,
        "--data-binary",
        "x",
        target="/ccm_system/request",
        credential=lab.credentials.computer,
    )
    (reply,) = lab.read_responses(run.stdout, ("POST",))
    lab.check_refused(reply, Reason.VERB, "management-point.verbs", "VERB-MP")


# Header fields

UNLISTED = {
    "X-Original-URL": "/SMS_MP_AltAuth/.sms_pol",
    "X-Rewrite-URL": "/SMS_MP_AltAuth/.sms_pol",
    "X-Forwarded-For": "10.0.0.1",
    "X-Forwarded-Host": "mp01.corp.example",
    "X-HTTP-Method-Override": "DELETE",
    "X-ARR-ClientCert": "bm90IGEgY2VydGlmaWNhdGU=",
    "X-SSL-Client-Cert": "bm90IGEgY2VydGlmaWNhdGU=",
    "Forwarded": "for=10.0.0.1",
    "Authorization": "Negotiate c2VjcmV0",
    "Proxy-Authorization": "Basic c2VjcmV0",
    "Cookie": "a=b",
    "Destination": "https://mp01.corp.example/x",
    "TE": "trailers",
    "Trailer": "X-Later",
    "Content-Encoding": "gzip",
    "CCMClientTimeStamp2": "x",
    "CCM_Client_ID": "x",
}


@pytest.mark.parametrize("name", UNLISTED)
def test_an_unlisted_field_does_not_arrive(lab: Lab, name: str) -> None:
    lab.secrets |= {UNLISTED["Authorization"], UNLISTED["Proxy-Authorization"]}
    fields = {**lab.identification, name: UNLISTED[name], "User-Agent": "ccmhttp"}
    assert lab.send_one(lab.request(fields=CLOSE | fields)).status == 200
    arrived = dict(lab.received().headers)
    assert arrived == {"Host": NAME, "User-Agent": "ccmhttp", **lab.identification}
    record = lab.record()
    assert (record["verdict"], record["dropped_headers"]) == ("allow", [name])


@pytest.mark.parametrize("name", UNLISTED.keys() - {"Authorization"})
def test_an_unlisted_field_is_refused_if_the_policy_refuses_it(
    lab: Lab, strict_address: tuple[str, int], name: str
) -> None:
    lab.secrets |= {UNLISTED["Authorization"], UNLISTED["Proxy-Authorization"]}
    for target, role, requirement in (
        (MP_LIST, MP, "HEADER-MP"),
        (f"{CONTENT}/sccm?/x", DP, "HEADER-DP"),
    ):
        fields = lab.identification if role == MP else {}
        data = lab.request(target=target, fields={**fields, name: UNLISTED[name]})
        reply = lab.send_one(data, address=strict_address)
        record = lab.check_refused(reply, Reason.HEADER, f"{role}.headers", requirement)
        assert record["detail"] == f"{name} is not listed"
        lab.clear()


@pytest.mark.parametrize("field", ["Authorization: Negotiate c2VjcmV0", "Translate: f"])
def test_a_field_that_clients_send_unasked_is_dropped_there_too(
    lab: Lab, strict_address: tuple[str, int], field: str
) -> None:
    lab.secrets |= {UNLISTED["Authorization"]}
    name, _, value = field.partition(": ")
    data = lab.request(target=MP_LIST, fields={**CLOSE, name: value})
    assert lab.send_one(data, address=strict_address).status == 200
    assert dict(lab.received().headers) == {"Host": NAME}
    assert lab.record()["dropped_headers"] == [name]


def test_a_password_is_refused_and_not_recorded(lab: Lab) -> None:
    lab.secrets |= {"c2VjcmV0OnNlY3JldA=="}
    data = lab.request(fields={"Authorization": "Basic c2VjcmV0OnNlY3JldA=="})
    reply = lab.send_one(data)
    lab.check_refused(reply, Reason.HEADER, "head.authorization", "USER-WINDOWS-AUTH")


def test_listed_fields_are_allowed_if_the_policy_refuses_others(
    lab: Lab, strict_address: tuple[str, int]
) -> None:
    fields = CLOSE | lab.identification | {"User-Agent": "ccmhttp", "Range": "bytes=0-3"}
    assert lab.send_one(lab.request(fields=fields), address=strict_address).status == 206
    assert lab.record()["verdict"] == "allow"
    assert lab.received().headers == (("Host", NAME), *list(fields.items())[1:])


def test_identification_is_for_management_points(lab: Lab) -> None:
    # HEADER-DP is Range alone: what proves who a client is stays away from distribution points.
    fields = CLOSE | lab.identification | {"Range": "bytes=0-9"}
    assert lab.send_one(lab.request(target=f"{CONTENT}/sccm?/x", fields=fields)).status == 206
    assert lab.received().headers == (("Host", NAME), ("Range", "bytes=0-9"))
    assert lab.record()["dropped_headers"] == list(lab.identification)


def test_names_keep_their_case_and_fields_their_order(lab: Lab) -> None:
    fields = [
        ("uSER-aGENT", "ccmhttp"),
        ("HOST", NAME),
        ("ccmclientTIMESTAMP", "2026-01-01T00:00:00Z"),
        ("Accept", "*/*"),
        ("X-Dropped", "x"),
        ("accept", "text/xml"),
        ("Connection", "close"),
        ("Pragma", "a  b\tc"),
        ("CCMClientID", "5EC2E700-0000-4000-8000-0000000000AA"),
    ]
    assert lab.send_one(lab.request(fields=fields)).status == 200
    dropped = ("X-Dropped", "Connection")
    assert lab.received().headers == tuple(field for field in fields if field[0] not in dropped)
    assert lab.record()["dropped_headers"] == ["X-Dropped"]


@pytest.mark.parametrize("option", ["Host", "CCMClientID", "close, CCMClientID", "Trailer"])
def test_connection_options_cannot_remove_fields(lab: Lab, option: str) -> None:
    reply = lab.send_one(lab.request(fields={"Connection": option, **lab.identification}))
    lab.check_refused(reply, Reason.HEADER, "head.connection", "HTTP-1.1")


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "TLS/1.2"])
def test_an_upgrade_is_not_forwarded(lab: Lab, protocol: str) -> None:
    fields = [("Connection", "Upgrade, close, TE"), ("Upgrade", protocol), ("TE", "trailers")]
    reply = lab.send_one(lab.request(fields=fields))
    assert reply.status == 200
    assert reply.header("Upgrade") is None
    arrived = {name.lower() for name, _ in lab.received().headers}
    assert not arrived & {"connection", "upgrade", "te"}
    assert lab.record()["dropped_headers"] == ["Upgrade", "TE"]


# Bodies arrive as they were sent


@pytest.mark.parametrize("rows", [1, 32, 4000])
def test_a_body_arrives_byte_for_byte(lab: Lab, rows: int) -> None:
    body = lab.message(xml=documents.inventory_report("", rows))
    digest = hashlib.sha256(body).hexdigest()
    with lab.client() as client:
        assert lab.ccm_post(client, body).status == 200
    received = lab.received()
    assert len(received.body) == len(body)
    assert hashlib.sha256(received.body).hexdigest() == digest
    assert lab.record()["bytes_from_client"] == len(body)


def test_a_body_in_many_segments_arrives_complete(lab: Lab) -> None:
    body = lab.message()
    data = lab.request("CCM_POST", "/ccm_system/request", CLOSE | MESSAGE, body)
    with lab.connect() as connection:
        for index in range(0, len(data), 97):
            connection.sendall(data[index : index + 97])
        (reply,) = lab.read_responses(lab.read_to_end(connection), ["CCM_POST"])
    assert (reply.status, reply.body) == (200, ccm.NO_REPLY)
    assert lab.received().body == body
    assert lab.record()["verdict"] == "allow"


@pytest.mark.parametrize("keep", [0, 1, -1])
def test_an_incomplete_body_reaches_no_site_system(lab: Lab, keep: int) -> None:
    body = lab.message()
    data = lab.request("CCM_POST", "/ccm_system/request", MESSAGE, body)
    with lab.connect() as connection:
        connection.sendall(data[: keep - len(body)] if keep >= 0 else data[:keep])
        connection.unwrap()
        lab.records()
    record = lab.record()
    lab.check_denied(record, Reason.BODY_INCOMPLETE, "exchange", "HTTP-1.1")
    assert record["note"] == "the client closed the connection"
    lab.check_nothing_arrived()
