"""`ibcm-bridge explain`: its output and exit status."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ibcm_bridge.commands.main import main
from ibcm_bridge.lab.pki.files import make_pki
from tests.commands.explain.questions import LIST, MP, NAMED, command, saved, sent


def test_the_exit_status_shows_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_pki(tmp_path)
    capsys.readouterr()
    common = [
        "explain",
        "--config",
        str(tmp_path / "bridge.yaml"),
        "--certificate",
        str(tmp_path / "pki/clients/computer.pem"),
    ]
    assert main([*common, "GET", f"{MP}/SMS_MP/.sms_aut?MPLIST"]) == 0
    assert capsys.readouterr().out.endswith("\nALLOW\n")
    assert main([*common, "DELETE", f"{MP}/SMS_MP/"]) == 1
    printed = capsys.readouterr().out
    assert printed.endswith("\nDENY verb, by management-point.verbs (VERB-MP)\n")
    assert main([*common, "GET", "ftp://x/"]) == 2
    assert main([*common, "--header", "nonsense", "GET", f"{MP}/"]) == 2
    assert main([*common, "--body", str(tmp_path / "none"), "GET", f"{MP}/"]) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("DELETE", f"{MP}:8443/SMS_MP/"),
        ("GET", f"{MP}:8443{LIST}"),
        ("GET", f"http://{NAMED}:8443/"),
        ("GET", f"{MP}:8531/Content/x.exe"),
        ("GET", "https://nobody.example/"),
        ("GET", "https://[2001:db8::1]/certsrv/"),
        ("GET", "https://mp-tunnel.internet.example:8443/"),
    ],
)
def test_the_output_is_sentences_that_fit_a_terminal(
    lab_files: Path, arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    command(lab_files, *arguments)
    *lines, verdict = capsys.readouterr().out.splitlines()
    assert verdict == "ALLOW" or verdict.startswith("DENY ")
    assert max(map(len, lines)) <= 80
    sentences = "\n".join(lines).replace("\n  ", " ").splitlines()
    if verdict != "ALLOW":
        assert [
            sentence
            for sentence in sentences
            if sentence.startswith("Refused: ") and sentence.endswith(".")
        ]


def test_the_json_output_is_a_record(lab_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(lab_files, "--json", "DELETE", f"{MP}/SMS_MP/") == 1
    record = json.loads(capsys.readouterr().out)
    assert (record["verdict"], record["reason"], record["status"]) == ("deny", "verb", 405)
    assert (record["rule"], record["requirement"]) == ("management-point.verbs", "VERB-MP")
    assert record["next_step"] == "gives up"
    assert command(lab_files, "--json", "GET", f"{MP}/SMS_MP/.sms_aut?MPLIST") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["verdict"] == "allow"
    assert "reason" not in record


@pytest.mark.parametrize(
    "arguments",
    [
        ("GET",),
        ("--flow", "{flows}", "GET"),
        ("--flow", "{flows}", "--body", "{policy}"),
        ("--flow", "{flows}", "--header", "A: b"),
        ("--flow", "{empty}"),
        ("--certificate", "{policy}", "GET", f"{MP}/"),
        (),
        ("--flow", "{nothing}"),
        ("--flow", "{policy}"),
        ("--flow", "{policy}", "GET", f"{MP}/"),
        ("--header", "no colon", "GET", f"{MP}/"),
    ],
)
def test_a_usage_error_exits_with_2(
    lab_files: Path, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"nothing": lab_files / "nothing", "policy": lab_files / "bridge.yaml"}
    files["flows"] = saved(lab_files / "flows", sent("GET", LIST))
    files["empty"] = saved(lab_files / "empty")
    assert command(lab_files, *(argument.format_map(files) for argument in arguments)) == 2
    assert capsys.readouterr().err.startswith("ibcm-bridge explain: ")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--body", "{nothing}", "GET", MP), "{nothing} cannot be read: No such file or directory"),
        (("--body", "{folder}", "GET", MP), "{folder} cannot be read: Is a directory"),
        (("--flow", "{nothing}"), "{nothing} cannot be read: No such file or directory"),
        (("--certificate", "{nothing}", "GET", MP), "{nothing} cannot be read: No such file or"),
        (("--certificate", "{folder}", "GET", MP), "{folder} cannot be read: Is a directory"),
        (("--certificate", "{key}", "GET", MP), "{key} has no readable PEM certificate"),
        (("--certificate", "{broken}", "GET", MP), "{broken} has no readable PEM certificate"),
    ],
)
def test_a_file_that_cannot_be_used_is_reported_in_a_sentence(
    lab_files: Path, arguments: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "nothing": lab_files / "nothing",
        "folder": lab_files / "pki",
        "key": lab_files / "pki/clients/computer.key",
        "broken": lab_files / "broken.pem",
    }
    pem = (lab_files / "pki/clients/computer.pem").read_text("ascii").splitlines()
    files["broken"].write_text("\n".join([pem[0], *pem[5:]]), "ascii")
    assert command(lab_files, *(argument.format_map(files) for argument in arguments)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ibcm-bridge explain: {why.format_map(files)}")


@pytest.mark.parametrize("field", ["Accept : a", " Accept: a", "Accept\t: a", ": a"])
def test_a_header_field_is_decided_as_it_is_given(
    lab_files: Path, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(lab_files, "--header", field, "GET", f"{MP}{LIST}") == 1
    assert "\nDENY malformed-head, by head.field-name (" in capsys.readouterr().out
    assert command(lab_files, "--header", "Accept: \t a ", "GET", f"{MP}{LIST}") == 0


@pytest.mark.slow
def test_a_closed_pipe_is_not_reported(lab_files: Path) -> None:
    certificate = str(lab_files / "pki/clients/computer.pem")
    common = ["explain", "--config", str(lab_files / "bridge.yaml"), "--certificate", certificate]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        run = subprocess.run(
            [sys.executable, "-u", "-m", "ibcm_bridge", *common, "GET", f"{MP}:8443{LIST}"],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (run.returncode, run.stderr) == (1, "")
