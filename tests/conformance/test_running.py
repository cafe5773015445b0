"""`conformance run` as a user runs it, against a real bridge, through the files of the kit."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import socketserver
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from ibcm_bridge.commands.main import main
from ibcm_bridge.lab.site_systems.server_thread import ServerThread
from ibcm_bridge.policy.addresses import address_text

from .conftest import SuiteLab

type Text = pytest.CaptureFixture[str]
NAME = "certificates::"


@pytest.fixture
def subject(tmp_path: Path, suite_lab: SuiteLab) -> Path:
    """A subject file for the bridge."""
    (tmp_path / "bridge.conf").write_text("configuration")
    lines = [
        f"  {role}: {{name: {place.name}, address: '{address_text(place.address)}'}}"
        for role, place in suite_lab.places.items()
    ]
    file = tmp_path / "subject.yaml"
    head = "version: 1\nproduct: ibcm-bridge\nproduct_version: '1'\nconfiguration: bridge.conf\n"
    text = "\n".join([f"{head}seconds: 20\nkit: {suite_lab.kit.folder}\npublications:", *lines])
    file.write_text(text + "\n", "utf-8")
    return file


def run(subject: Path, *options: str) -> int:
    return main(["conformance", "run", str(subject), *options])


def test_a_run_reports_both_ends(subject: Path, tmp_path: Path, capsys: Text) -> None:
    report, junit = tmp_path / "report.json", tmp_path / "junit.xml"
    status = run(
        subject,
        *("--only", f"{NAME}another_computer", "--only", f"{NAME}revoked"),
        *("--json", str(report), "--junit", str(junit), "--html", str(tmp_path / "pages")),
    )
    printed = capsys.readouterr().out
    assert (status, printed.count("pass  ")) == (0, 2), printed
    # Two of the checks are not all.
    assert "no MUST failed, but not all were checked" in printed
    read = json.loads(report.read_text("utf-8"))
    assert read["conformant"] is False
    assert read["configuration_sha256"] == hashlib.sha256(b"configuration").hexdigest()
    passed, revoked = read["results"]
    assert (revoked["outcome"], revoked["stopped"]) == ("pass", "at the perimeter")
    assert revoked["exchanges"][0]["client_received"] == "TLS alert: certificate revoked"
    assert revoked["exchanges"][0]["arrived"] == []
    (arrived,) = passed["exchanges"][0]["arrived"]
    assert arrived["request"] in passed["exchanges"][0]["sent"]
    assert arrived["certificate"].startswith("CN=bridge.perimeter.example")
    suite = ET.parse(junit).getroot()
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("2", "0")
    page = (tmp_path / "pages" / "certificates-another_computer.html").read_text("utf-8")
    assert "CN=bridge.perimeter.example" in page


def test_a_failure_has_a_command_that_sends_the_request_again(
    subject: Path, tmp_path: Path, capsys: Text, suite_lab: SuiteLab
) -> None:
    junit = tmp_path / "junit.xml"
    suite_lab.break_bridge("revocation")
    try:
        status = run(subject, "--only", "certificates", "--failures-only", "--junit", str(junit))
    finally:
        suite_lab.break_bridge("")
    printed = capsys.readouterr().out
    assert status == 1
    assert "pass   " not in printed
    assert "fail            certificates::revoked, stopped not at all" in printed
    assert "seen: not refused: GET /SMS_MP/.sms_aut?MPCERT (management-point) arrived" in printed
    assert "again: curl " in printed
    assert f"{suite_lab.kit.folder}/pki/clients/revoked.pem" in printed
    assert "not conformant: 1 MUST failed" in printed
    suite = ET.parse(junit).getroot()
    assert suite is not None
    assert [case.get("name") for case in suite if case.find("failure") is not None] == ["revoked"]


def test_a_hang_states_the_time_limit_and_is_sent_again(
    subject: Path, capsys: Text, suite_lab: SuiteLab
) -> None:
    text = subject.read_text("utf-8")
    subject.write_text(f"{text}time_limits: {{handshake: 4}}\n")
    suite_lab.break_bridge("patient handshake")
    try:
        assert run(subject, "--only", "limits::stalled_handshake") == 0
    finally:
        suite_lab.break_bridge("")
    printed = capsys.readouterr().out
    assert "hang (SHOULD)   limits::stalled_handshake\n" in printed
    assert "if the proxy waits longer, state it: time_limits.handshake" in printed
    assert "limits-stalled_handshake; sleep 7) | bash -c 'exec 3<>/dev/tcp/127.0.0.1/" in printed


def test_a_failed_should_is_skipped_in_junit_and_says_so(
    subject: Path, tmp_path: Path, suite_lab: SuiteLab
) -> None:
    junit = tmp_path / "junit.xml"
    suite_lab.break_bridge("user taken for a computer")
    try:
        check = f"{NAME}user_on_a_computer_publication"
        assert run(subject, "--only", check, "--junit", str(junit)) == 0
    finally:
        suite_lab.break_bridge("")
    suite = ET.parse(junit).getroot()
    assert suite is not None
    (skipped,) = suite.iter("skipped")
    assert (skipped.get("message") or "").startswith("fail (SHOULD): not refused: GET ")


GAP = "known_gaps: [{check: 'CHECK', because: 'not planned'}]\n"


def test_a_known_gap_that_passes_or_does_not_exist_fails_the_run(
    subject: Path, capsys: Text
) -> None:
    text = subject.read_text("utf-8")
    subject.write_text(text + GAP.replace("CHECK", f"{NAME}revoked"))
    assert run(subject, "--only", f"{NAME}revoked") == 1
    assert f"known gap {NAME}revoked: pass; remove it" in capsys.readouterr().out
    subject.write_text(text + GAP.replace("CHECK", "certificates::reborn"))
    assert run(subject, "--only", f"{NAME}revoked") == 1
    assert "known gap certificates::reborn: there is no such check" in capsys.readouterr().out


def test_a_known_gap_that_fails_does_not_fail_the_run(
    subject: Path, tmp_path: Path, capsys: Text, suite_lab: SuiteLab
) -> None:
    subject.write_text(subject.read_text("utf-8") + GAP.replace("CHECK", f"{NAME}revoked"))
    report, folder = tmp_path / "report.json", tmp_path / "pages"
    outputs = ("--json", str(report), "--html", str(folder))
    suite_lab.break_bridge("revocation")
    try:
        status = run(subject, "--only", f"{NAME}revoked", *outputs)
    finally:
        suite_lab.break_bridge("")
    printed = capsys.readouterr().out
    assert status == 0
    assert "known gap       certificates::revoked" in printed
    assert "known gap: not planned" in printed
    # The run is excused, the subject is not.
    verdict = "not conformant: 1 MUST failed as a known gap"
    assert f"ibcm-bridge 1: {verdict} (1 fail)" in printed
    read = json.loads(report.read_text("utf-8"))
    assert (read["verdict"], read["conformant"]) == (verdict, False)
    assert f"<title>ibcm-bridge 1: {verdict}</title>" in (folder / "index.html").read_text("utf-8")


def test_a_publication_that_is_missing_is_not_applicable(subject: Path, capsys: Text) -> None:
    lines = subject.read_text("utf-8").splitlines()
    subject.write_text("\n".join(line for line in lines if "management-point-users" not in line))
    assert run(subject, "--only", f"{NAME}user_on_a_user_publication") == 0
    assert "not applicable  " in (printed := capsys.readouterr().out)
    assert "the subject file has no management-point-users" in printed


def redirected(text: str, suite_lab: SuiteLab, address: str) -> str:
    """A subject file with this address for all roles."""
    for place in suite_lab.places.values():
        text = text.replace(address_text(place.address), address)
    return text


def test_a_subject_that_is_down_fails_each_check_with_one_sentence(
    subject: Path, capsys: Text, suite_lab: SuiteLab
) -> None:
    text = subject.read_text("utf-8")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    subject.write_text(redirected(text, suite_lab, f"127.0.0.1:{port}"))
    assert run(subject, "--only", f"{NAME}revoked", "--only", f"{NAME}none") == 1
    printed = capsys.readouterr().out
    assert printed.count("a valid request was not forwarded: no connection: ") == 2


def test_a_subject_that_never_responds_is_a_failure(
    subject: Path, capsys: Text, suite_lab: SuiteLab
) -> None:
    text = subject.read_text("utf-8").replace("seconds: 20", "seconds: 2.5")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        subject.write_text(redirected(text, suite_lab, address_text(silent.getsockname())))
        names = ("revoked", "none", "expired")
        assert run(subject, *(word for name in names for word in ("--only", NAME + name))) == 1
    printed = capsys.readouterr().out
    # After two of them, the others take less time.
    assert printed.count("no complete response within 2.5 s") == 2
    assert printed.count("no complete response within 2 s") == 1


@pytest.mark.parametrize(
    ("response", "seen"),
    [
        (b"220 mail.example ESMTP\r\n", "the end of the handshake"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "TLS alert: "),
        (b"", "the end of the handshake"),
    ],
)
def test_a_subject_that_sends_garbage_fails_each_check_with_one_sentence(
    subject: Path, capsys: Text, suite_lab: SuiteLab, response: bytes, seen: str
) -> None:
    text = subject.read_text("utf-8")
    with serving(response) as address:
        subject.write_text(redirected(text, suite_lab, address_text(address)))
        assert run(subject, "--only", f"{NAME}revoked", "--only", f"{NAME}none") == 1
    printed = capsys.readouterr().out
    assert printed.count(f"a valid request was not forwarded: {seen}") == 2


@contextlib.contextmanager
def serving(response: bytes) -> Iterator[tuple[str, int]]:
    """Run a server that sends the same bytes to each client, and closes the connection."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65_536)
            self.request.sendall(response)

    with (
        socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server,
        ServerThread(server),
    ):
        host, port = server.server_address[:2]
        yield str(host), port


def test_a_subject_with_another_certificate_fails_each_check_with_one_sentence(
    subject: Path, capsys: Text, suite_lab: SuiteLab
) -> None:
    # The site system itself has a certificate for another name.
    text = subject.read_text("utf-8")
    address = address_text(suite_lab.site.management_point)
    subject.write_text(redirected(text, suite_lab, address))
    assert run(subject, "--only", f"{NAME}revoked", "--only", f"{NAME}none") == 1
    printed = capsys.readouterr().out
    assert printed.count("a server certificate that it refuses: Hostname mismatch") == 2


def test_a_report_that_cannot_be_written_is_refused_before_the_run(
    subject: Path, tmp_path: Path, capsys: Text
) -> None:
    for option in ("--json", "--junit"):
        assert run(subject, option, str(tmp_path / "none" / "report")) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "none/report: No such file or directory" in captured.err


def test_a_public_address_needs_yes(subject: Path, capsys: Text, suite_lab: SuiteLab) -> None:
    text = subject.read_text("utf-8")
    subject.write_text(redirected(text, suite_lab, "8.8.8.8:443"))
    assert run(subject) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "8.8.8.8:443: neither a loopback nor a private address; pass --yes" in captured.err


def test_an_unknown_check_is_refused(subject: Path, capsys: Text) -> None:
    assert run(subject, "--only", "certificates::reborn") == 1
    assert main(["conformance", "explain", "certificates::reborn"]) == 1
    assert capsys.readouterr().err.count("there is no check certificates::reborn") == 2


def test_the_checks_are_listed_and_explained(capsys: Text) -> None:
    assert main(["conformance", "--list"]) == 0
    assert f"{NAME}revoked" in capsys.readouterr().out.splitlines()
    assert main(["conformance", "explain", f"{NAME}revoked"]) == 0
    assert "requirement: BRIDGE-AUTH-COMPUTER" in capsys.readouterr().out


def test_without_the_site_systems_no_check_runs(subject: Path, capsys: Text) -> None:
    text = subject.read_text("utf-8").replace("kit: ", "kit: no-")
    subject.write_text(text)
    assert run(subject) == 1
    assert "make the kit with: ibcm-bridge conformance serve" in capsys.readouterr().err


def test_init_writes_a_subject_file_once(tmp_path: Path, capsys: Text) -> None:
    file = tmp_path / "new.yaml"
    assert main(["conformance", "init", str(file), "--kit", str(tmp_path)]) == 0
    assert "product: my-proxy" in file.read_text("utf-8")
    assert "Change the product, names and addresses." in capsys.readouterr().out
    assert main(["conformance", "init", str(file)]) == 1
    assert "File exists" in capsys.readouterr().err


def test_init_writes_a_subject_file_for_the_bridge_with_the_kit_s_policy(
    tmp_path: Path, capsys: Text
) -> None:
    file = tmp_path / "bridge.yaml"
    own = ("--for", "ibcm-bridge", "--kit", str(tmp_path))
    assert main(["conformance", "init", str(file), *own]) == 0
    assert "product: ibcm-bridge\n" in file.read_text("utf-8")
    assert "time_limits: {handshake: 5," in file.read_text("utf-8")
    assert "Change the product" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("check", "twin", "command"),
    [
        ("payloads::malware", "every body", "--data-binary @"),
        ("smuggling::null_in_a_field", "tolerant head", "(cat "),
    ],
)
def test_the_last_request_of_a_failed_check_is_in_a_file(
    subject: Path, capsys: Text, suite_lab: SuiteLab, check: str, twin: str, command: str
) -> None:
    suite_lab.break_bridge(twin)
    try:
        assert run(subject, "--only", check) == 1
    finally:
        suite_lab.break_bridge("")
    file = suite_lab.kit.folder / "requests" / check.replace("::", "-")
    assert f"{command}{file}" in capsys.readouterr().out
    assert b"\0z" in file.read_bytes() or b"Msg" in file.read_bytes()
