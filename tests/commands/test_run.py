"""The web page of `run`: served in a lab, or if the policy gives a reason."""

import datetime
import socket
from pathlib import Path

import pytest

from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.commands.check.policy import check_policy
from ibcm_bridge.commands.main import main
from ibcm_bridge.commands.run import web_page_refusal
from ibcm_bridge.policy_file import load_policy
from tests.policy_samples import sample, tunnel

BECAUSE = "we debug failing clients this week"


def write(directory: Path, *listens: str, because: str | None = None) -> Path:
    """Write a policy with these listeners."""
    tunnels = [tunnel(f"t{number}.example", listen) for number, listen in enumerate(listens)]
    text = sample(*tunnels) + (f"web: {{because: {because}}}\n" if because else "")
    path = directory / "bridge.yaml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    "listens",
    [
        ("127.0.0.1:8443",),
        ("127.9.9.9:8443", '"[::1]:8443"', "localhost:8444", "LocalHost:8445"),
    ],
)
def test_a_policy_on_loopback_only_is_a_lab(tmp_path: Path, listens: tuple[str, ...]) -> None:
    assert web_page_refusal(load_policy(write(tmp_path, *listens))) is None


@pytest.mark.parametrize(
    "listen",
    ["0.0.0.0:443", '"[::]:443"', "192.0.2.1:443", "bridge.example:443", "localhost.example:443"],
)
def test_a_policy_that_others_can_reach_requires_a_reason(tmp_path: Path, listen: str) -> None:
    policy = load_policy(write(tmp_path, "127.0.0.1:8443", listen))
    assert web_page_refusal(policy) == (
        f"the policy listens on {listen.strip('"')}, so this is not a lab; to show traffic anyway, "
        "give a reason in the policy (web: {because: ...})"
    )
    with_reason = load_policy(write(tmp_path, "127.0.0.1:8443", listen, because=BECAUSE))
    assert with_reason.web_because == BECAUSE
    assert web_page_refusal(with_reason) is None


@pytest.mark.parametrize("because", ["short", "yes", "''"])
def test_a_reason_must_be_in_words(
    tmp_path: Path, because: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "127.0.0.1:8443", because=because)
    assert main(["check", "--config", str(path)]) == 1
    assert "web.because" in capsys.readouterr().err


def test_run_does_not_start_if_traffic_must_not_be_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(*_: object) -> None:
        pytest.fail("started")

    monkeypatch.setattr("ibcm_bridge.addons.run.serve.run", run)
    path = write(tmp_path, "0.0.0.0:0")
    assert main(["run", "--web", "--config", str(path)]) == 1
    assert capsys.readouterr().err.startswith("ibcm-bridge: --web: the policy listens on 0.0.0.0:0")


@pytest.mark.parametrize("port", ["65536", "-1", "x"])
def test_run_refuses_an_invalid_port(
    tmp_path: Path, port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "127.0.0.1:0")
    with pytest.raises(SystemExit):
        main(["run", "--config", str(path), f"--web={port}"])
    assert f"argument --web: {port} is not a port number" in capsys.readouterr().err


def test_run_reports_a_page_that_cannot_be_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "127.0.0.1:0")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["run", "--config", str(path), "--web", str(port)]) == 1
    printed = capsys.readouterr().err
    why = f"127.0.0.1:{port} is already in use; select another port with --web PORT"
    assert printed == f"ibcm-bridge: cannot start: cannot serve the web page: {why}\n"
    assert "listening on" not in printed


@pytest.mark.parametrize("because", [None, BECAUSE])
def test_check_reports_that_traffic_may_be_shown_and_why(
    tmp_path: Path, because: str | None
) -> None:
    policy = load_policy(write(tmp_path, "127.0.0.1:8443", because=because))
    now = datetime.datetime.now(datetime.UTC)
    found = [
        finding for finding in check_policy(policy, now, lambda *_: ()) if finding.where == "web"
    ]
    text = f"`run --web` may show traffic on a local web page, because: {BECAUSE}"
    assert found == ([Finding(Level.WARNING, "web", text)] if because else [])
