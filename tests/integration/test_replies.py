"""What site systems answer, over real sockets: judged before it passes, and passed as it was."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.bridge.process import RunningBridge
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.lab.protocol.client import Response
from tests.integration.lab import Lab
from tests.integration.raw_site_system import Peer, RawSiteSystem

MP_NAME = "mp01.corp.example"
GUID = "GUID:5EC2E700-0000-4000-8000-0000000000AA"
REGISTERED = f'<ClientRegistrationResponse Status="0" SMSID="{GUID}" ApprovalStatus="1"/>'
LOCATIONS = (
    "<ContentLocationReply><LocationRecord><URL Name="
    '"https://dp01.corp.example/SMS_DP_SMSPKG$/LAB00001"/></LocationRecord></ContentLocationReply>'
)
UPLOAD = "<UploadReply><Host>MP01.corp.example</Host></UploadReply>"
MP_LIST = '<MPList><MP Name="MP01" FQDN="mp01.corp.example"/></MPList>'

Bridged = Callable[..., "contextlib.AbstractContextManager[RunningBridge]"]


@pytest.fixture
def bridged(lab: Lab, raw_site_system: RawSiteSystem, tmp_path: Path) -> Bridged:
    """A bridge of the test's own, in front of a site system that answers with these bytes."""

    @contextlib.contextmanager
    def run(answer: bytes, **messages: str) -> Iterator[RunningBridge]:
        def script(peer: Peer) -> None:
            head, _, body = peer.read_head().partition(b"\r\n\r\n")
            length = head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]
            peer.read_exactly(int(length or b"0") - len(body))
            peer.send(answer)
            peer.wait_for_end()

        raw_site_system.behave(script, lab.pki.server(MP_NAME))
        policy: dict[str, Any] = yaml.safe_load(shipped_policy())
        host, port = raw_site_system.address
        policy["publications"][0]["roles"]["management-point"]["connect"] = f"{host}:{port}"
        policy["messages"] = {**messages, "internal_domains": ["corp.example"]}
        with RunningBridge(tmp_path, lab.pki, lab.site, policy=yaml.safe_dump(policy)) as bridge:
            yield bridge
        assert "Traceback" not in "".join(bridge.lines)

    return run


def answered(body: bytes, content_type: str, *, chunks: int = 0) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n"
    if not chunks:
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    pieces = [body[index : index + chunks] for index in range(0, len(body), chunks)]
    coded = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))
    return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + coded


def message(xml: str) -> bytes:
    payload = xml.encode("utf-16-le") + b"\0\0"
    return ccm.raw_message(
        ccm.message_header("SccmMessaging", len(payload)), zlib.compress(payload)
    )


def post(lab: Lab, bridge: RunningBridge) -> Response:
    with lab.client(address=bridge.address) as client:
        return lab.ccm_post(client)


def record(bridge: RunningBridge) -> dict[str, Any]:
    (one,) = bridge.wait_for_records(1)
    return one


@pytest.mark.parametrize("chunks", [0, 7])
@pytest.mark.parametrize("messages", [{}, {"host_names": "enforce", "intranet_only": "enforce"}])
def test_a_registration_reply_is_forwarded_byte_for_byte(
    lab: Lab, bridged: Bridged, chunks: int, messages: dict[str, str]
) -> None:
    body = message(REGISTERED)
    with bridged(answered(body, ccm.CONTENT_TYPE, chunks=chunks), **messages) as bridge:
        reply = post(lab, bridge)
        assert (reply.status, reply.body) == (200, body)
        assert reply.header("Content-Type") == ccm.CONTENT_TYPE
        assert reply.header("Transfer-Encoding") == ("chunked" if chunks else None)
        seen = record(bridge)
    assert (seen["verdict"], seen["bytes_to_client"]) == ("allow", len(body))
    assert not [rule for rule in seen.get("observed", []) if rule.startswith("reply-")]


@pytest.mark.parametrize(
    ("xml", "name"), [(LOCATIONS, "dp01.corp.example"), (UPLOAD, "mp01.corp.example")]
)
def test_a_reply_with_an_internal_host_is_allowed_and_recorded(
    lab: Lab, bridged: Bridged, xml: str, name: str
) -> None:
    body = message(xml)
    with bridged(answered(body, ccm.CONTENT_TYPE)) as bridge:
        reply = post(lab, bridge)
        assert (reply.status, reply.body) == (200, body)
        seen = record(bridge)
    assert seen["verdict"] == "allow"
    assert f"reply-host-names: {name}" in seen["observed"]


def test_a_reply_with_an_internal_host_is_refused_if_the_policy_enforces_it(
    lab: Lab, bridged: Bridged
) -> None:
    """BRIDGE-INSPECT."""
    body = message(LOCATIONS)
    with bridged(answered(body, ccm.CONTENT_TYPE), host_names="enforce") as bridge:
        reply = post(lab, bridge)
        lab.check_refusal(reply, Reason.REPLY_HOST_NAMES)
        assert reply.status == 502
        assert b"corp" not in reply.body
        seen = record(bridge)
    lab.check_denied(seen, Reason.REPLY_HOST_NAMES, "messages.host_names")
    assert seen["detail"] == "dp01.corp.example"
    assert (seen["forwarded"], seen["bytes_to_client"]) == (True, 0)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_list_of_management_points_is_inspected(
    lab: Lab, bridged: Bridged, encoding: str
) -> None:
    answer = answered(MP_LIST.encode(encoding), "text/xml")
    with (
        bridged(answer, host_names="enforce") as bridge,
        lab.client(address=bridge.address) as client,
    ):
        reply = client.request("GET", "/SMS_MP/.sms_aut?MPLIST2&LAB")
        lab.check_refusal(reply, Reason.REPLY_HOST_NAMES)


def test_intranet_policy_is_refused_if_the_policy_enforces_it(lab: Lab, bridged: Bridged) -> None:
    body = message('<ReplyAssignments><Policy PolicyID="{A}" PolicyFlags="9"/></ReplyAssignments>')
    with bridged(answered(body, ccm.CONTENT_TYPE), intranet_only="enforce") as bridge:
        lab.check_refusal(post(lab, bridge), Reason.REPLY_INTRANET_ONLY)
        assert record(bridge)["detail"] == "{A}"


def test_an_unreadable_reply_is_refused_if_the_policy_enforces_a_rule(
    lab: Lab, bridged: Bridged
) -> None:
    body = message(REGISTERED)[:-1]
    with bridged(answered(body, ccm.CONTENT_TYPE), intranet_only="enforce") as bridge:
        lab.check_refusal(post(lab, bridge), Reason.REPLY_UNREADABLE)
        lab.check_denied(record(bridge), Reason.REPLY_UNREADABLE, "multipart.close")


def test_a_large_reply_is_streamed_without_inspection_and_recorded(
    lab: Lab, bridged: Bridged
) -> None:
    body = bytes(6_000_000)
    with bridged(answered(body, ccm.CONTENT_TYPE, chunks=500_000)) as bridge:
        reply = post(lab, bridge)
        assert reply.body == body
        assert "reply-unreadable: more than 4194304 bytes" in record(bridge)["observed"]


# Error pages


ERROR_PAGE = b"<html><a href='https://mp01.corp.example/'>404</a></html>"
NOT_FOUND = b"HTTP/1.1 404 MP01\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (
    len(ERROR_PAGE),
    ERROR_PAGE,
)


@pytest.mark.parametrize("host_names", ["observe", "enforce"])
def test_an_error_page_is_replaced_where_the_policy_says_so(
    lab: Lab, bridged: Bridged, host_names: str
) -> None:
    with bridged(NOT_FOUND, host_names=host_names) as bridge:
        reply = post(lab, bridge)
        seen = record(bridge)
    assert (reply.status, reply.reason) == (404, "Not Found")
    assert (seen["verdict"], seen["status"]) == ("allow", 404)
    if host_names == "observe":
        assert reply.body == ERROR_PAGE
        assert seen["observed"] == ["reply-host-names: mp01.corp.example"]
    else:
        assert reply.body.startswith(b"404 Not Found\r\n")
        assert seen["reference"].encode() in reply.body
        assert seen["note"] == "the site system's error page was replaced"
