"""CA names in the CertificateRequest: none, unless the policy sets `send_ca_names`."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
from OpenSSL import SSL

from tests.addons.stand_ins.lab import BRIDGED, Lab, changed
from tests.addons.stand_ins.running import SOON, Running

VERSIONS = {SSL.TLS1_2_VERSION: "1.2", SSL.TLS1_3_VERSION: "1.3"}


def names(running: Running, version: int) -> list[str | None]:
    """Return the CA names that a client receives."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    with socket.create_connection(running.address, SOON) as plain:
        plain.setblocking(True)
        client = SSL.Connection(context, plain)
        client.set_tlsext_host_name(BRIDGED.encode())
        client.set_connect_state()
        try:
            client.do_handshake()
            client.recv(1)
        except (SSL.Error, ssl.SSLError):
            pass  # the client presented no certificate
        return [name.commonName for name in client.get_client_ca_list()]


@pytest.mark.parametrize("version", VERSIONS)
def test_ca_names_are_sent_only_if_configured(lab: Lab, tmp_path: Path, version: int) -> None:
    for wanted, expected in ((False, []), (True, ["Lab Issuing CA", "Lab Root CA"])):
        policy = changed(lab.policy, tmp_path / f"{wanted}.jsonl", send_ca_names=wanted)
        with Running(lab, policy) as running:
            assert names(running, version) == expected
            running.assert_serves()
