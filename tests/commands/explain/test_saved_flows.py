"""`explain` with requests from a flow file of mitmproxy."""

import json
from pathlib import Path

import pytest
from mitmproxy import certs, http
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol import ccm
from tests.commands.explain.questions import LIST, MP, command, saved, sent

WSUS = "/ClientWebService/client.asmx"


def test_saved_requests_are_explained_one_by_one(
    lab_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = sent("GET", "/SMS_MP/.sms_aut?MPLIST")
    bad = sent("CCM_POST", "/ccm_system_altauth/request", b"x")
    path = saved(tmp_path / "flows", good, bad)
    assert command(lab_files, "--json", "--flow", str(path)) == 1
    captured = capsys.readouterr()
    first, second = map(json.loads, captured.out.splitlines())
    assert first["port"] == second["port"] == {"assumed": 8443, "alternatives": [8531]}
    assert captured.err.count("assumed port 8443") == 1, "once, not for each"
    assert (first["verdict"], first["method"]) == ("allow", "GET")
    assert first["url"] == f"{MP}/SMS_MP/.sms_aut?MPLIST"
    assert (second["verdict"], second["reason"]) == ("deny", "bypass-directory")
    assert command(lab_files, "--flow", str(path)) == 1
    printed = capsys.readouterr().out
    assert f"GET {MP}/SMS_MP/.sms_aut?MPLIST\n" in printed
    assert "\nALLOW\n\nCCM_POST " in printed
    assert printed.endswith(
        "\nDENY bypass-directory, by roles.bypass_directories (BRIDGE-AUTH-COMPUTER)\n"
    )


def test_a_saved_certificate_is_used(
    lab_files: Path, tmp_path: Path, pki: LabPki, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = pki.foreign_computer("pc3.corp.example")
    flow = tflow.tflow(req=sent("GET", "/SMS_MP/.sms_aut?MPLIST"))
    flow.client_conn.sni, flow.client_conn.tls = "bridge.internet.example", True
    flow.client_conn.certificate_list = [certs.Cert(foreign.certificate)]
    with (tmp_path / "flows").open("wb") as file:
        FlowWriter(file).add(flow)
    assert command(lab_files, "--json", "--flow", str(tmp_path / "flows")) == 1
    assert json.loads(capsys.readouterr().out)["reason"] == "certificate-untrusted"


HOST = ((b"Host", b"bridge.internet.example"),)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (sent("GET", LIST), None),
        (sent("GET", LIST, fields=(), version=b"HTTP/2.0"), None),
        (sent("GET", LIST, fields=()), Reason.HOST_MISMATCH),
        (sent("GET", LIST, version=b"HTTP/1.0"), Reason.HTTP_VERSION),
        (sent("OPTIONS", "*"), Reason.TARGET_FORM),
        (sent("GET", "/SMS_MP/#x"), Reason.TARGET_UNSAFE),
        (sent("GET", "/SMS_MP/\udcff"), Reason.MALFORMED_HEAD),
        (sent("GET", "/SMS_MP/\x1b[2J"), Reason.MALFORMED_HEAD),
        (sent("GET", LIST, fields=(*HOST, *HOST)), Reason.HOST_MISMATCH),
        (
            sent("POST", LIST, b"x", (*HOST, (b"Transfer-Encoding", b"chunked"))),
            Reason.FRAMING,
        ),
        (
            sent("CCM_POST", "/ccm_system/request", b"", (*HOST, (b"Content-Type", b"a/b"))),
            Reason.LENGTH_REQUIRED,
        ),
    ],
)
def test_a_saved_request_is_explained_as_it_was_sent(
    lab_files: Path,
    tmp_path: Path,
    request_: http.Request,
    expected: Reason | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = saved(tmp_path / "flows", request_, sent("GET", LIST))
    status = 0 if expected is None else 1
    assert command(lab_files, "--json", "--flow", str(path)) == status
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first.get("reason") == expected
    assert second["verdict"] == "allow", "one request has no bearing on the next"
    assert command(lab_files, "--flow", str(path)) == status
    printed = capsys.readouterr().out
    assert printed.replace("\n", "").isprintable(), "it may be a terminal"
    assert printed.isascii()


@pytest.mark.parametrize(("port", "expected"), [(8531, None), (443, "directory"), (9, "directory")])
def test_a_saved_port_is_used_if_clients_connect_to_it(
    lab_files: Path,
    tmp_path: Path,
    port: int,
    expected: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Two publications of the shipped policy have this name; WSUS's is on another port.
    request = sent("POST", WSUS, None, (*HOST, (b"Content-Type", b"text/xml; charset=utf-8")))
    request.port = port
    request.headers["Host"] = "bridge.internet.example"
    path = saved(tmp_path / "flows", request)
    assert command(lab_files, "--json", "--flow", str(path)) == (0 if expected is None else 1)
    assert json.loads(capsys.readouterr().out).get("reason") == expected


def test_a_body_that_was_not_saved_would_still_be_inspected(
    lab_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = (*HOST, (b"Content-Type", ccm.CONTENT_TYPE.encode()), (b"Content-Length", b"5"))
    path = saved(tmp_path / "flows", sent("CCM_POST", "/ccm_system/request", None, fields))
    assert command(lab_files, "--json", "--flow", str(path)) == 0
    assert json.loads(capsys.readouterr().out)["body_not_inspected"] is True


def test_a_truncated_file_is_reported(
    lab_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path / "flows", sent("GET", LIST), sent("GET", LIST))
    path.write_bytes(path.read_bytes()[:-9])
    assert command(lab_files, "--json", "--flow", str(path)) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["verdict"] == "allow"
    assert "or is damaged" in captured.err


@pytest.mark.parametrize(
    "damage",
    [
        (b"certificate_list", b"certificate_lost"),
        (b"11:client_conn", b"11:client_cone"),
        (b"7:version", b"7:vorsion"),
        (b"4:path", b"4:puth"),
    ],
)
def test_a_manipulated_file_is_a_usage_error(
    lab_files: Path,
    tmp_path: Path,
    damage: tuple[bytes, bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = saved(tmp_path / "flows", sent("GET", LIST))
    assert damage[0] in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(*damage))
    assert command(lab_files, "--flow", str(path)) == 2
    assert capsys.readouterr().err.startswith("ibcm-bridge explain: ")
