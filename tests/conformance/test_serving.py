from __future__ import annotations

import json
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from ibcm_bridge.commands.main import main
from ibcm_bridge.conformance.evidence import RemoteEvidence
from ibcm_bridge.conformance.kit import Client, records_address
from ibcm_bridge.conformance.serving import serving
from ibcm_bridge.conformance.subject_file import SCHEMA
from ibcm_bridge.lab.errors import LabError
from ibcm_bridge.lab.protocol.client import ConnectionEnded, HandshakeRefused, LabClient
from ibcm_bridge.policy_file import load_policy

from .conftest import SuiteLab


def test_the_kit_has_what_the_proxy_and_an_editor_need(suite_lab: SuiteLab) -> None:
    folder = suite_lab.kit.folder
    assert load_policy(folder / "bridge.yaml").listeners
    # With `identity: enforce`, `run` would refuse a file of bindings that does not exist.
    assert (folder / "bindings.sqlite").stat().st_size > 0
    assert json.loads((folder / SCHEMA).read_text("utf-8"))["title"].startswith("Subject")
    for name, kind in (("authorities.pem", b"CERTIFICATE"), ("crls.pem", b"X509 CRL")):
        assert (folder / "pki" / name).read_bytes().count(b"-----BEGIN %b-----" % kind) == 2


def test_only_the_suite_reads_the_records(suite_lab: SuiteLab) -> None:
    kit, address = suite_lab.kit, records_address(suite_lab.kit.folder)
    for credential in kit.clients.values():
        client = LabClient(
            address, "conformance.example", trust=kit.suite.certificate, credential=credential
        )
        with client, pytest.raises((HandshakeRefused, ConnectionEnded)):
            client.request("GET", "/received")
    evidence = RemoteEvidence(address, kit)
    requests, position = evidence.since(0)
    assert len(requests) == position
    assert evidence.since(position) == ((), position)
    sent = b"GET / HTTP/1.1\r\nHost : x\r\n\r\n\xff"
    with LabClient(
        suite_lab.site.management_point,
        "mp01.corp.example",
        trust=kit.root,
        credential=kit.clients[Client.COMPUTER],
    ) as client:
        client.connect().sendall(sent)
        client.connect().recv(1)
    ((malformed,), position) = evidence.since(position)
    assert ((malformed,), position) == suite_lab.site.since(position - 1)
    assert (malformed.complete, malformed.ended, malformed.body) == (False, True, sent)
    evidence.close()


def test_the_end_of_serve_is_one_sentence_for_run(suite_lab: SuiteLab, tmp_path: Path) -> None:
    with serving(IPv4Address("127.0.0.1"), tmp_path / "kit", fixed_ports=False):
        address = records_address(tmp_path / "kit")
    with pytest.raises(LabError, match=r"cannot read the records .*start: ibcm-bridge conformance"):
        RemoteEvidence(address, suite_lab.kit).since(0)


def test_serve_cannot_start_without_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    assert main(["conformance", "serve", "--kit", str(file)]) == 1
    assert "ibcm-bridge conformance: " in capsys.readouterr().err
