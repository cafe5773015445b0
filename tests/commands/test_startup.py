"""How `run` starts: what it refuses before it opens a listener."""

from __future__ import annotations

import dataclasses
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibcm_bridge.commands.main import _parser, main
from ibcm_bridge.commands.run import _read_again
from ibcm_bridge.commands.startup import control_path, files_refusal, make_startup
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy_file import PolicyError, load_policy
from tests.policy_samples import sample, tunnel

if sys.platform != "linux":
    pytest.skip("a control socket requires Linux", allow_module_level=True)

from ibcm_bridge.addons.errors import StartError
from ibcm_bridge.addons.run.control_socket import ControlSocket
from ibcm_bridge.addons.run.reload import PolicyText


def write(directory: Path, *ports: int) -> Path:
    tunnels = [tunnel(f"t{port}.example", f"127.0.0.1:{port}") for port in ports]
    path = directory / "bridge.yaml"
    path.write_text(sample(*tunnels), "utf-8")
    return path


@pytest.fixture(autouse=True)
def no_service_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNTIME_DIRECTORY", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    return load_policy(write(tmp_path, 8_443))


def refusal(policy: Policy, *options: str) -> str:
    parsed = _parser().parse_args(["run", "--config", "unused", *options])
    with pytest.raises(StartError) as refused:
        make_startup(parsed, policy)
    return str(refused.value)


# The control socket


@pytest.mark.parametrize(
    ("options", "folder", "path"),
    [
        ([], None, None),
        ([], "/run/ibcm-bridge:/run/other", Path("/run/ibcm-bridge/control.sock")),
        (["--control", "/x/y"], "/run/ibcm-bridge", Path("/x/y")),
    ],
)
def test_the_control_socket_is_in_the_folder_of_the_service(
    options: list[str], folder: str | None, path: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if folder is not None:
        monkeypatch.setenv("RUNTIME_DIRECTORY", folder)
    assert control_path(_parser().parse_args(["run", "--config", "x", *options])) == path


def test_one_bridge_has_a_control_socket(policy: Policy, tmp_path: Path) -> None:
    path = tmp_path / "private" / "control.sock"
    other = ControlSocket(path)
    other.publish()
    assert refusal(policy, "--control", str(path)) == (
        f"a bridge already runs at {path}; stop it, or replace it with --take-over"
    )
    other.close()
    startup = make_startup(
        _parser().parse_args(["run", "--config", "x", "--control", str(path)]), policy
    )
    startup.close()
    assert list(path.parent.iterdir()) == []


def test_it_requires_linux(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert refusal(policy, "--control", "x") == (
        "the control socket requires Linux; reload by SIGHUP"
    )


def test_an_open_folder_prevents_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    path, config = tmp_path / "open" / "control.sock", write(tmp_path, 0)
    assert main(["run", "--config", str(config), "--control", str(path)]) == 1
    assert "is open to other users; close it" in capsys.readouterr().err


# A takeover


def test_a_takeover_requires_a_control_socket(policy: Policy) -> None:
    assert refusal(policy, "--take-over") == (
        "--take-over: name the control socket with --control PATH"
    )


def test_without_a_bridge_a_takeover_is_a_start(
    policy: Policy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "private" / "control.sock"
    options = ["run", "--config", "x", "--take-over", "--control", str(path)]
    startup = make_startup(_parser().parse_args(options), policy)
    startup.close()
    assert startup.takeover is None
    assert capsys.readouterr().err == (
        f"ibcm-bridge: no bridge runs at {path}; this one opens its own listeners\n"
    )


def test_a_takeover_requires_named_files_where_requests_are_inspected(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert files_refusal(policy) is None, "it only tunnels"
    monkeypatch.setattr(Policy, "bridged", lambda _: iter([object()]))
    assert files_refusal(policy) == (
        "--take-over: two processes can only share files that have a name; set uploads.spool and "
        "messages.bindings in the policy"
    )
    uploads = dataclasses.replace(policy.uploads, spool=Path("uploads.sqlite"))
    messages = dataclasses.replace(policy.messages, bindings_file=Path("bindings.sqlite"))
    named = dataclasses.replace(policy, uploads=uploads, messages=messages)
    assert files_refusal(named) is None


# Sockets of systemd


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A listening socket as number 3. Return its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        files = [("clients", listener.fileno())]
        monkeypatch.setattr(
            "ibcm_bridge.addons.operations.service_manager.passed_files", lambda: files
        )
        yield listener.getsockname()[1]
        listener.detach()


def test_sockets_of_systemd_are_used(tmp_path: Path, passed: int) -> None:
    policy = load_policy(write(tmp_path, passed))
    startup = make_startup(_parser().parse_args(["run", "--config", "x"]), policy)
    assert startup.inherited.by_service_manager
    ((address, (listener,)),) = startup.inherited.sockets.items()
    assert address == ("127.0.0.1", passed)
    assert not os.get_blocking(listener.fileno())
    listener.close()


def test_a_takeover_and_sockets_of_systemd_exclude_each_other(tmp_path: Path, passed: int) -> None:
    policy = load_policy(write(tmp_path, passed))
    assert refusal(policy, "--take-over", "--control", "x") == (
        "--take-over: systemd passes sockets already; use one of both"
    )


def test_a_reload_cannot_change_the_listeners_of_systemd(tmp_path: Path) -> None:
    options = _parser().parse_args(["run", "--config", str(write(tmp_path, 8_443))])
    listeners = [("127.0.0.1", 8_443)]
    assert _read_again(options, None, listeners=listeners).listen_addresses == (*listeners,)
    write(tmp_path, 8_443, 8_444)
    assert len(_read_again(options, None, listeners=None).listeners) == 2
    with pytest.raises(PolicyError, match="systemd has opened the listeners"):
        _read_again(options, None, listeners=listeners)


def test_only_a_reload_reads_the_file_of_the_shadow(tmp_path: Path) -> None:
    """A renewal of certificates has a text without a shadow; a worker has both texts."""
    config = write(tmp_path, 8_443)
    shadow = tmp_path / "new.yaml"
    shadow.write_bytes(config.read_bytes())
    options = _parser().parse_args(["run", "--config", str(config), "--shadow", str(shadow)])
    read = _read_again(options, None, listeners=None)
    assert read.shadow is not None
    assert PolicyText.of(read) == (read.source, read.source)
    shadow.write_text("unknown: 1", "utf-8")
    with pytest.raises(PolicyError, match="unknown: "):
        _read_again(options, None, listeners=None)
    assert _read_again(options, PolicyText(read.source), listeners=None).shadow is None
    assert _read_again(options, PolicyText.of(read), listeners=None).shadow == read.shadow
