"""A download through a leg: records of any size, handshakes in its middle, and both ends."""

from __future__ import annotations

import pytest
from mitmproxy.proxy import events
from OpenSSL import SSL

from ibcm_bridge.addons.layers.site_system_leg import Closed, Received
from ibcm_bridge.policy.tls_settings import TlsVersion
from tests.addons.stand_ins.driver import open_connection
from tests.addons.stand_ins.lab import BRIDGED, Lab
from tests.addons.tls.wire import Wire

PART = bytes(index % 251 for index in range(3_001))
RECORDS = pytest.mark.parametrize("size", [1, 3_001])
VERSIONS = pytest.mark.parametrize("version", TlsVersion)


def wire(lab: Lab, version: TlsVersion) -> Wire:
    context, _ = open_connection(lab, BRIDGED)
    return Wire(lab, context, version)


def send(wire: Wire, size: int) -> None:
    """Send PART in records of this size, and let the leg receive it."""
    for at in range(0, len(PART), size):
        wire.server.send(PART[at : at + size])
    wire.until_quiet()


def received(wire: Wire) -> bytes:
    return b"".join(news.data for news in wire.news if isinstance(news, Received))


@RECORDS
def test_a_renegotiation_in_mid_download_changes_nothing(lab: Lab, size: int) -> None:
    under_test = wire(lab, TlsVersion.TLS_1_2)
    send(under_test, size)
    under_test.ask_for_a_handshake()
    under_test.until_quiet()
    send(under_test, size)
    assert under_test.server.total_renegotiations() == 1
    assert received(under_test) == PART + PART


@RECORDS
def test_the_certificate_can_be_requested_in_mid_download(lab: Lab, size: int) -> None:
    under_test = wire(lab, TlsVersion.TLS_1_3)
    under_test.server.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    send(under_test, size)
    assert under_test.server.get_peer_certificate() is None
    assert SSL._lib.SSL_verify_client_post_handshake(under_test.server._ssl) == 1  # type: ignore[attr-defined]
    under_test.server.do_handshake()
    send(under_test, size)
    assert under_test.server.get_peer_certificate() is not None
    send(under_test, size)
    assert received(under_test) == 3 * PART


@pytest.mark.parametrize("records_before", [1, 8, 15])
@VERSIONS
def test_a_handshake_in_a_large_read_of_full_records(
    lab: Lab, version: TlsVersion, records_before: int
) -> None:
    # Records of 16 KB take a path of their own: OpenSSL reads them in the buffer of the socket.
    under_test = wire(lab, version)
    records = [bytes([number]) * 16_384 for number in range(16)]
    for number, record in enumerate(records):
        if number == records_before and version is TlsVersion.TLS_1_2:
            under_test.ask_for_a_handshake()
        elif number == records_before:
            under_test.server.set_verify(SSL.VERIFY_PEER, lambda *_: True)
            assert SSL._lib.SSL_verify_client_post_handshake(under_test.server._ssl) == 1  # type: ignore[attr-defined]
            under_test.server.do_handshake()
        under_test.server.send(record)
    under_test.until_quiet()
    assert received(under_test) == b"".join(records)
    if version is TlsVersion.TLS_1_2:
        assert under_test.server.total_renegotiations() == 1
    else:
        assert under_test.server.get_peer_certificate() is not None


@RECORDS
@VERSIONS
@pytest.mark.parametrize("clean", [True, False], ids=["close_notify", "cut off"])
def test_the_end_is_reported_after_the_data(
    lab: Lab, version: TlsVersion, size: int, clean: bool
) -> None:
    under_test = wire(lab, version)
    send(under_test, size)
    if clean:
        under_test.server.shutdown()
        under_test.until_quiet()
    under_test.tell(events.ConnectionClosed(under_test.leg.server))
    assert received(under_test) == PART
    (end,) = [news for news in under_test.news if isinstance(news, Closed)]
    assert under_test.news[-1] is end
    assert end.clean is clean
