"""The packet that cancels a finally refused upload."""

from __future__ import annotations

import pytest

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule
from ibcm_bridge.request.bits_packet import Packet, PacketType, read_packet
from ibcm_bridge.request.head import RequestHead, read_request_head
from ibcm_bridge.uploads.session import Sender, Session
from ibcm_bridge.uploads.withdrawal import withdrawal

ENDS = {
    Reason.MALICIOUS_CONTENT,
    Reason.COMPRESSION,
    Reason.INFLATED_TOO_LARGE,
    Reason.XML_DTD,
    Reason.UPLOAD_CHANGED,
    Reason.UPLOAD_INCOMPLETE,
    Reason.UPLOAD_TOO_LARGE,
    Reason.UPLOAD_SESSION,  # the site system has more bytes than are stored
}
STAYS = {
    Reason.UPLOAD_GAP,
    Reason.UPLOAD_UNAVAILABLE,
    Reason.ENGINE_UNAVAILABLE,
    Reason.OVERLOADED,
    Reason.SITE_SYSTEM_UNREACHABLE,
    Reason.SITE_SYSTEM_SLOW,
    Reason.BRIDGE_DEFECT,
    Reason.TOO_SLOW,
}


@pytest.fixture
def head() -> RequestHead:
    raw = (
        b"BITS_POST /CCM_Incoming/x.msg HTTP/1.1\r\nHost: bridge.internet.example\r\n"
        b"User-Agent: Microsoft BITS/7.8\r\nBITS-Packet-Type: Fragment\r\n"
        b"BITS-Session-Id: {1}\r\nContent-Range: bytes 0-3/4\r\nContent-Length: 4\r\n"
        b"Authorization: Negotiate x\r\n\r\n"
    )
    read = read_request_head(raw)
    assert isinstance(read, RequestHead)
    return read


@pytest.fixture
def session() -> Session:
    return Session("{1}", Sender("a", "mp", "x"), "name")


@pytest.mark.parametrize("reason", sorted(ENDS))
def test_a_finally_refused_upload_is_cancelled(
    head: RequestHead, session: Session, reason: Reason
) -> None:
    sent = withdrawal(head, session, Deny(reason, Rule("x")))
    assert sent is not None
    assert read_packet(sent) == Packet(PacketType.CANCEL_SESSION, "{1}")
    assert (sent.method, sent.target, sent.length) == (head.method, head.target, 0)
    assert sent.value(b"host") == b"bridge.internet.example"
    assert read_request_head(sent.to_bytes()) == sent
    assert sent.values(b"authorization") == ()


@pytest.mark.parametrize("reason", sorted(STAYS))
def test_an_upload_that_can_continue_is_not_cancelled(
    head: RequestHead, session: Session, reason: Reason
) -> None:
    assert withdrawal(head, session, Deny(reason, Rule("x"))) is None


@pytest.mark.parametrize("reason", Reason)
def test_without_an_own_session_nothing_is_cancelled(head: RequestHead, reason: Reason) -> None:
    assert withdrawal(head, None, Deny(reason, Rule("x"))) is None
