"""A weak certificate is refused in the handshake, with one alert for both versions of TLS."""

from __future__ import annotations

import socket
import ssl

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.lab.protocol.client import load_credential
from tests.addons.stand_ins.lab import BRIDGED, Lab
from tests.addons.stand_ins.running import SOON, Running

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def connect(lab: Lab, running: Running, version: ssl.TLSVersion, bits: int) -> bytes:
    """Make a handshake with a key of this size, and return the start of the response."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # otherwise the client itself refuses
    context.load_verify_locations(cadata=lab.pki.root.public_bytes(Encoding.DER))
    context.minimum_version = context.maximum_version = version
    key = rsa.generate_private_key(65537, bits)
    load_credential(context, lab.pki.computer_with_key("pc8.corp.example", key))
    plain = socket.create_connection(running.address, SOON)
    with context.wrap_socket(plain, server_hostname=BRIDGED) as tls:
        tls.sendall(f"GET /SMS_MP/.sms_aut?MPLIST HTTP/1.1\r\nHost: {BRIDGED}\r\n\r\n".encode())
        return tls.recv(12)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_weak_key_is_refused_and_its_twin_is_not(
    lab: Lab, running: Running, version: ssl.TLSVersion
) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)bad.certificate"):
        connect(lab, running, version, 1024)
    record = running.wait_for_reason("certificate-weak")
    assert (record["tls_alert"], record["rule"]) == ("bad_certificate", "clients.trust")
    assert record["client_certificate"]["subject"].startswith("CN=pc8.corp.example")
    assert not lab.site.handshakes()
    assert connect(lab, running, version, 2048) == b"HTTP/1.1 200"
