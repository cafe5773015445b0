"""Warnings that a client causes with a certificate or an archive: not in the log of any process."""

from __future__ import annotations

import datetime
import io
import re
import struct
import subprocess
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ibcm_bridge.addons.engines.content_engines import EngineSetup
from ibcm_bridge.addons.engines.inspection_worker import framed
from ibcm_bridge.addons.engines.inspection_workers import COMMAND
from ibcm_bridge.authentication.certificate import certificate_facts
from ibcm_bridge.inspection.parser_warnings import (
    ABOUT_ARCHIVES,
    ABOUT_CERTIFICATES,
    ignore_parser_warnings,
)
from ibcm_bridge.inspection.scan import read_and_scan
from ibcm_bridge.inspection.subject import CleanBody, Subject
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.policy_file import shipped_roles

SERIAL = 0x7A5A5A5A
NOTICE = "a notice \u00e9" * 10
"""So long that the certificate's lengths have two bytes, which `with_null` changes."""


def certificate(country: str = "DE") -> bytes:
    """A certificate with every part that is changed here, DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    policy = x509.PolicyInformation(
        x509.ObjectIdentifier("1.3.6.1.4.1.311.21.8"), [x509.UserNotice(None, NOTICE)]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a country of three letters
        attribute = x509.NameAttribute(NameOID.COUNTRY_NAME, country, _validate=False)
        made = (
            x509.CertificateBuilder(x509.Name([attribute]), x509.Name([attribute]))
            .public_key(key.public_key())
            .serial_number(SERIAL)
            .not_valid_before(now)
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.CertificatePolicies([policy]), critical=False)
            .sign(key, SHA256())
        )
    return made.public_bytes(Encoding.DER)


def changed(there: bytes, instead: bytes) -> bytes:
    der = certificate()
    assert there in der
    return der.replace(there, instead)


def with_null() -> bytes:
    """NULL as the parameters of ECDSA, in both places, and the lengths around them."""
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    der = certificate().replace(algorithm, bytes.fromhex("300c06082a8648ce3d0403020500"))
    assert der[:2] == der[4:6] == b"\x30\x82"
    whole, inner = (int.from_bytes(der[at : at + 2]) for at in (2, 6))
    return b"\x30\x82" + (whole + 4).to_bytes(2) + b"\x30\x82" + (inner + 2).to_bytes(2) + der[8:]


ODD: dict[str, Callable[[], bytes]] = {
    "a serial number below zero": lambda: changed(SERIAL.to_bytes(4), b"\xfa" + bytes(3)),
    "NULL parameters": with_null,
    "UTF-8 in a VisibleString": lambda: changed(
        b"\x0c" + bytes([len(NOTICE.encode())]), b"\x1a" + bytes([len(NOTICE.encode())])
    ),
    "a country of three letters": lambda: certificate("DEU"),
}


def read(der: bytes) -> None:
    certificate_facts(x509.load_der_x509_certificate(der))


@pytest.mark.parametrize(("name", "text"), [*zip(ODD, ABOUT_CERTIFICATES, strict=True)])
def test_a_warning_about_a_certificate_is_ignored(name: str, text: str) -> None:
    der = ODD[name]()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            read(der)
        except ValueError:
            assert name == "NULL parameters"
            return  # cryptography 50 refuses it
    assert any(re.search(text, str(warning.message)) for warning in caught)
    ignore_parser_warnings()
    read(der)  # pytest would raise a warning


def test_a_warning_about_an_archive_is_ignored() -> None:
    entry = zipfile.ZipInfo("a.log")
    # APPNOTE 4.6.9, Info-ZIP Unicode Path: version, CRC-32 of the name, and no name.
    field = b"\1" + zlib.crc32(b"a.log").to_bytes(4, "little")
    entry.extra = struct.pack("<HH", 0x7075, len(field)) + field
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(entry, b"a log")
    upload = Subject(shipped_roles().bodies["bits-upload"], b"", stream.getvalue(), whole=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_and_scan(upload, [])
    if sys.version_info >= (3, 13):
        assert ABOUT_ARCHIVES[0] in str(caught[0].message)
    ignore_parser_warnings()
    assert isinstance(read_and_scan(upload, []), CleanBody)


def test_other_warnings_are_reported() -> None:
    ignore_parser_warnings()
    with pytest.warns(UserWarning, match="another"):
        warnings.warn("another", UserWarning, stacklevel=1)


def ran(*arguments: str, given: bytes = b"") -> bytes:
    """Standard error of a command of Python."""
    done = subprocess.run(
        [sys.executable, *arguments], input=given, capture_output=True, timeout=60, check=False
    )
    return done.stderr


SHOWN = b"Parsed a serial number"
PARSE = "import sys; from cryptography import x509; " + (
    "x509.load_pem_x509_certificate(open(sys.argv[1], 'rb').read())"
)


def test_a_command_shows_no_warning(tmp_path: Path) -> None:
    file = tmp_path / "odd.pem"
    with pytest.warns(UserWarning, match="serial"):
        odd = x509.load_der_x509_certificate(ODD["a serial number below zero"]())
    file.write_bytes(odd.public_bytes(Encoding.PEM))
    assert SHOWN in ran("-c", PARSE, str(file))
    assert not ran("-m", "ibcm_bridge", "pki", str(tmp_path / "lab"))
    arguments = ("--config", str(tmp_path / "lab/bridge.yaml"), "--certificate", str(file))
    target = ("GET", "https://bridge.internet.example:8443/SMS_MP/")
    assert not ran("-m", "ibcm_bridge", "explain", *arguments, *target)


def test_a_worker_shows_no_warning(pki: LabPki) -> None:
    computer = pki.computer("pc1.corp.example")
    assert isinstance(computer.key, RSAPrivateKey)
    xml = documents.registration_request(computer.certificate, computer.key, fqdn="pc1.example")
    held = computer.certificate.public_bytes(Encoding.DER).hex()
    odd = ODD["a serial number below zero"]().hex()
    xml = xml.replace(held, odd).replace(held.upper(), odd.upper())
    assert odd in xml.lower()
    body = ccm.ccm_post_body(endpoint="MP_ClientRegistration", body_xml=xml, client_guid="")
    subject = Subject(shipped_roles().bodies["ccm-message"], ccm.CONTENT_TYPE.encode(), body)
    setup = EngineSetup((("test.yar", "rule never { condition: false }"),))
    done = subprocess.run(
        COMMAND, input=framed(setup) + framed(subject), capture_output=True, timeout=60, check=True
    )
    assert done.stdout.count(b"\n") == 2
    assert not done.stderr
