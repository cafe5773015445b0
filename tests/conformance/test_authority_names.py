"""A proxy that is silent in the handshake does not stop a run for ever."""

from __future__ import annotations

import socket
import threading

import pytest

from ibcm_bridge.conformance.authority_names import NamesClient
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol.client import HandshakeRefused


def silent(pki: LabPki, proxy: socket.socket) -> NamesClient:
    return NamesClient(proxy.getsockname(), "proxy.example", pki.computer("pc1.corp.example"), 20)


def test_an_abort_before_the_connection_is_open_is_kept(pki: LabPki) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        client = silent(pki, proxy)
        client.abort()
        with pytest.raises(TimeoutError, match="aborted"):
            client.names()


def test_an_abort_ends_the_handshake_and_may_come_too_late(pki: LabPki) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        client = silent(pki, proxy)

        def abort() -> None:
            accepted, _ = proxy.accept()
            with accepted:
                accepted.recv(1)
                client.abort()

        aborting = threading.Thread(target=abort)
        aborting.start()
        with pytest.raises((OSError, HandshakeRefused)):
            client.names()
        aborting.join()
        client.abort()
