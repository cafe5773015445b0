"""`ibcm-bridge lab request`, against a simulated management point."""

from __future__ import annotations

import datetime
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from ibcm_bridge.commands.main import main
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import pem
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.policy.addresses import address_text

LIST = "https://mp01.corp.example/SMS_MP/.sms_aut?MPLIST"


@pytest.fixture(scope="module")
def own() -> LabPki:
    return LabPki.make(now=datetime.datetime.now(datetime.UTC))


@pytest.fixture(scope="module")
def folder(own: LabPki, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("request")
    own.write(folder)
    client = own.bridge_client("bridge.corp.example")
    protection = BestAvailableEncryption(b"secret")
    data = pkcs12.serialize_key_and_certificates(
        b"client", client.key, client.certificate, client.issuers, protection
    )
    (folder / "client.pfx").write_bytes(data)
    (folder / "pass.txt").write_text("secret\n")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "other.pem").write_bytes(
        pem(LabPki.make(now=datetime.datetime.now(datetime.UTC)).root)
    )
    return folder


@pytest.fixture(scope="module")
def site(own: LabPki) -> Iterator[SiteSystems]:
    with SiteSystems(own) as site:
        yield site


@pytest.fixture
def line(folder: Path, site: SiteSystems, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(folder)
    return ["lab", "request", "--connect", address_text(site.management_point)]


PEM = ["--root", "root.pem", "--certificate", "bridge-client.pem", "--key", "bridge-client.key"]
PFX = ["--root", "root.pem", "--certificate", "client.pfx", "--passphrase-file", "pass.txt"]


@pytest.mark.parametrize("files", [PEM, PFX], ids=["PEM", "PFX"])
def test_it_prints_the_response(
    files: list[str], line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*line, *files, LIST]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("HTTP/1.1 200 OK\n")
    assert "<MPList" in printed


def test_it_sends_a_method_fields_and_a_body(
    line: list[str], folder: Path, site: SiteSystems
) -> None:
    site.clear()
    (folder / "body").write_bytes(b"\0\1")
    more = [
        "--header",
        "X-Test: yes",
        "--body",
        "body",
        "PUT",
        "https://mp01.corp.example/none?#part",
    ]
    assert main([*line, *PEM, *more]) == 0
    (arrived,) = site.received()
    assert (arrived.method, arrived.target, arrived.body) == ("PUT", "/none?", b"\0\1")
    assert ("X-Test", "yes") in arrived.headers


REFUSED = {
    "another root": (["--root", "other.pem", LIST], "does not verify the server's certificate"),
    "no key": ([*PEM[:4], LIST], "--certificate with a PEM file needs --key FILE"),
    "a wrong passphrase": ([*PFX[:4], LIST], "the certificate or its key cannot be read"),
    "an empty passphrase": (
        [*PFX[:4], "--passphrase-file", "empty.txt", LIST],
        "the certificate or its key cannot be read",
    ),
    "a text as root": (
        ["--root", "pass.txt", LIST],
        "is not a certificate in PEM or DER",
    ),
    "plain HTTP": ([*PEM, "http://mp01.corp.example/"], "is not https://NAME/PATH"),
    "a field without a colon": ([*PEM, "--header", "X", LIST], "'X' is not NAME: VALUE"),
    "a missing file": (["--root", "no.pem", LIST], "no.pem: No such file or directory"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_no_response_is_a_sentence(
    case: str, line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    more, why = REFUSED[case]
    assert main([*line, *more]) == 1
    assert why in capsys.readouterr().err


def test_nothing_listens(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*line[:2], "--connect", "127.0.0.1:9", *PEM, LIST]) == 1
    assert "no connection: Connection refused" in capsys.readouterr().err


def test_a_refused_handshake_is_a_sentence(
    line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def close() -> None:
            server.accept()[0].close()

        closing = threading.Thread(target=close)
        closing.start()
        refusing = address_text(server.getsockname())
        assert main([*line[:2], "--connect", refusing, *PEM, LIST]) == 1
        closing.join()
    assert "refused in the TLS handshake" in capsys.readouterr().err


def test_header_fields_of_a_file_come_before_those_of_the_line(
    line: list[str], folder: Path, site: SiteSystems
) -> None:
    site.clear()
    (folder / "fields").write_bytes(b'X-One: "1"\r\nX-Two: \xe2\x88\x95\n')
    more = ["--header-file", "fields", "--header", "X-Three: 3", LIST]
    assert main([*line, *PEM, *more]) == 0
    (arrived,) = site.received()
    sent = [(name, value) for name, value in arrived.headers if name.startswith("X-")]
    assert sent == [("X-One", '"1"'), ("X-Two", "\xe2\x88\x95"), ("X-Three", "3")]


def test_a_line_of_a_header_file_that_is_not_a_field_is_refused(
    line: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "fields").write_text("X-One: 1\nnothing\n")
    assert main([*line, *PEM, "--header-file", "fields", LIST]) == 1
    assert "fields: 'nothing' is not NAME: VALUE" in capsys.readouterr().err
