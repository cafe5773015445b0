"""`lab client` as a process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ibcm_bridge.commands.main import main
from ibcm_bridge.lab.perimeter.runtime import Runtime, runtime_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("runtime")
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def lab(folder: Path) -> Iterator[None]:
    """A running lab, in the runtime folder of the environment."""
    lab = subprocess.Popen(
        [sys.executable, "-m", "ibcm_bridge", "lab", "up", "--no-browser"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert lab.stdout is not None
        assert lab.stdout.readline().startswith("http://127.0.0.1:")
        yield
    finally:
        lab.send_signal(signal.SIGTERM)
        lab.communicate(timeout=40)


def client(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ibcm_bridge", "lab", "client", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_without_a_lab_the_message_names_lab_up(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lab", "client"]) == 1
    assert capsys.readouterr().err == (
        "ibcm-bridge lab: no lab is running; start one in another terminal with: "
        "ibcm-bridge lab up\n"
    )


def test_a_starting_lab_is_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Runtime(runtime_folder()):
        assert main(["lab", "client"]) == 1
    assert "is still starting; try again in a moment" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [("--count", "0"), ("--count", "x"), ("--mode", "roaming"), ("--at-once", "-1")]
)
def test_a_wrong_option_is_refused(options: tuple[str, str]) -> None:
    with pytest.raises(SystemExit):
        main(["lab", "client", *options])


@pytest.mark.usefixtures("lab")
def test_one_client_plays_the_usual_scenes() -> None:
    shown = client("--mode", "both", "--profile", "own-key")
    assert (shown.returncode, shown.stderr) == (0, "")
    for text in (
        "A client; intranet and Internet (CLIENT-MODE); a separate key signs.\n",
        "(CLIENT-PICK)",
        "(CLIENT-UPDATES)",
        "(fell back)",
        "(CLIENT-RESUME, CLIENT-MODE)",
        "same SHA-256:",
        "Each scene shows what it should.",
    ):
        assert text in shown.stdout
    assert "FAILED" not in shown.stdout


@pytest.mark.usefixtures("lab")
def test_one_client_prints_json() -> None:
    shown = client("--json", "--mode", "internet-only")
    assert shown.returncode == 0
    every = [json.loads(line) for line in shown.stdout.splitlines()]
    assert {action["network"] for action in every} == {"internet"}
    assert {action["result"] for action in every} == {"good", "fell back"}


@pytest.mark.usefixtures("lab")
def test_the_same_seed_makes_the_same_choices() -> None:
    def choices() -> list[tuple[str, str]]:
        lines = client("--json", "--seed", "7", "--mode", "internet-only").stdout.splitlines()
        return [(action["action"], action["site_system"]) for action in map(json.loads, lines)]

    assert choices() == choices()


@pytest.mark.usefixtures("lab")
def test_many_clients_print_counts() -> None:
    # Two at a time: on a busy machine, 20 at once wait for longer than a request may take.
    shown = client("--count", "20", "--at-once", "2", "--polls", "1", "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    every = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [phase["phase"] for phase in every] == [
        "keys and certificates",
        "registration",
        "poll 1",
    ]
    assert all((phase["clients"], phase["failures"]) == (20, {}) for phase in every)
    table = client("--count", "3", "--polls", "1").stdout
    assert table.startswith("3 clients; intranet and Internet")
    assert "poll 1" in table
    assert table.endswith("Everything succeeded.\n")


def test_options_of_many_clients_require_count(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--polls", "--at-once"):
        assert main(["lab", "client", option, "2"]) == 2
        assert "--polls and --at-once require --count" in capsys.readouterr().err


def test_an_active_fault_and_the_text_of_a_refusal_are_printed(lab: None, folder: Path) -> None:
    """The page would switch the fault on; here the same request does."""
    page = Runtime(runtime_folder()).read()["page"]
    switch(page, "site-system-down", on=True)
    try:
        shown = client("--mode", "internet-only")
        # Nobody looks at the page: a scene plays to its end without a browser.
        do(page, "scenes", {"names": ["workgroup"]})
        wait_for(lambda: bool(scenes(page).get("workgroup", {}).get("end")))
    finally:
        switch(page, "site-system-down", on=False)
    assert scenes(page)["workgroup"]["end"] == (
        "There were failures. A fault is on: Management point down; switch it off in Faults."
    )
    assert shown.returncode == 1
    assert "fault on: Management point down" in shown.stderr
    refused = " ".join(shown.stdout.split())
    text = r"502 Bad Gateway FAILED The site system cannot .+ Reference: [0-9a-f]{12}"
    assert re.search(text, refused)
    assert "fault on" not in client("--mode", "internet-only").stderr


def test_an_edited_policy_is_printed(lab: None, folder: Path) -> None:
    state = Runtime(runtime_folder()).read
    page = state()["page"]
    policy = (folder / "ibcm-bridge" / "lab" / "bridge.yaml").read_text("utf-8")
    edited = policy.replace("identity: enforce", "identity: observe", 1)
    assert edited != policy
    do(page, "apply", {"text": edited})
    wait_for(lambda: state().get("edited_policy") is True)
    try:
        shown = client("--scene", "workgroup")
    finally:
        do(page, "reset", {})
    assert shown.returncode == 0
    assert shown.stderr == "ibcm-bridge lab: this lab uses an edited policy; its page has Reset\n"
    wait_for(lambda: state().get("edited_policy") is False)
    assert client("--scene", "workgroup").stderr == ""


def switch(page: str, fault: str, *, on: bool) -> None:
    """Switch a fault, and wait until the lab has written that to its state."""
    do(page, "fault", {"id": fault, "on": on})
    wait_for(lambda: bool(Runtime(runtime_folder()).read().get("faults")) is on)


def scenes(page: str) -> dict[str, dict[str, object]]:
    """Return the last run of each scene on the page."""
    address, token = page.split("/?token=")
    request = urllib.request.Request(f"{address}/scenes", headers={"X-Lab-Token": token})
    with urllib.request.urlopen(request) as response:
        runs: dict[str, dict[str, object]] = json.load(response)
    return runs


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def do(page: str, action: str, data: dict[str, object]) -> None:
    """Do what a button of the page does."""
    address, token = page.split("/?token=")
    body = json.dumps(data).encode()
    urllib.request.urlopen(
        urllib.request.Request(f"{address}/do/{action}", body, {"X-Lab-Token": token})
    ).close()


@pytest.mark.usefixtures("lab")
@pytest.mark.needs("krb5kdc", "kdb5_util", "kadmin.local", "kinit", "klist", "kvno", "setpriv")
@pytest.mark.needs("gssapi")
def test_all_scenes_show_what_they_should() -> None:
    shown = client("--scene", "all")
    assert shown.returncode == 0, shown.stdout
    assert " ".join(shown.stderr.split()) == (
        "ibcm-bridge lab: site-server is not shown: on loopback, no firewall separates the "
        "networks; start the lab with: sudo ibcm-bridge lab up --netns"
    )
    for output in (shown.stdout, shown.stderr):
        assert [line for line in output.splitlines() if len(line) > 80] == []
    assert "  FAILED" not in shown.stdout
    assert shown.stdout.count("(as required)") > 20
    assert shown.stdout.endswith("Not shown: site-server. Each other scene shows what it should.\n")
    one = client("--scene", "wake-up", "--json", "--profile", "own-key")
    results = [json.loads(line)["result"] for line in one.stdout.splitlines()]
    assert results == ["good", "good", "not successful, as required"]


@pytest.mark.usefixtures("lab")
def test_an_interrupted_scene_leaves_nothing() -> None:
    command = [sys.executable, "-m", "ibcm_bridge", "lab", "client", "--scene", "second-site"]
    scene = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert scene.stdout is not None
    while "registration" not in scene.stdout.readline():
        pass
    scene.send_signal(signal.SIGINT)
    _, err = scene.communicate(timeout=60)
    assert scene.returncode in (130, -signal.SIGINT), err
    assert "Traceback" not in err
    again = client("--scene", "second-site")
    assert (again.returncode, again.stderr) == (0, ""), again.stdout


@pytest.mark.usefixtures("lab")
@pytest.mark.needs("krb5kdc", "kdb5_util", "kadmin.local", "kinit", "klist", "kvno", "setpriv")
@pytest.mark.needs("gssapi")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_scene_that_a_signal_ends_leaves_no_domain(name: str) -> None:
    """Its site systems would still accept its users, and its keys would stay in files."""
    command = [sys.executable, "-m", "ibcm_bridge", "lab", "client", "--scene", "user-sign-in"]
    scene = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert scene.stdout is not None
    while "sign-in of alice" not in scene.stdout.readline():
        pass
    domain = runtime_folder() / "lab" / "domain"
    assert (domain / "ntlm-users").exists()
    scene.send_signal(getattr(signal, name))
    _, err = scene.communicate(timeout=60)
    assert (scene.returncode, err) == (130, "")
    assert [path.name for path in domain.iterdir()] == ["lock"]


@pytest.mark.usefixtures("lab")
def test_a_scene_without_its_programs_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ibcm_bridge.lab.domain.programs.shutil.which", lambda *_, **__: None)
    output = io.StringIO()
    with contextlib.redirect_stderr(output):
        assert main(["lab", "client", "--scene", "one-way-trust"]) == 1
    line = " ".join(output.getvalue().split())
    assert line.startswith(
        "ibcm-bridge lab: one-way-trust is not shown: a Kerberos domain needs krb5kdc, "
    )
    assert "install with: sudo apt-get install krb5-kdc " in line


@pytest.mark.usefixtures("lab")
@pytest.mark.needs("krb5kdc", "kdb5_util", "kadmin.local", "kinit", "klist", "kvno", "setpriv")
@pytest.mark.needs("gssapi")
def test_the_client_settings_are_switches() -> None:
    shown = client("--scene", "user-sign-in", "--internet-user-policy", "off", "--json")
    assert shown.returncode == 0, shown.stderr
    actions = [json.loads(line) for line in shown.stdout.splitlines()]
    policies = [action for action in actions if action["action"] == "user policy"]
    assert [action["network"] for action in policies] == ["intranet"]
    why = "not requested; Enable user policy requests from Internet clients: No"
    assert why in {action["response"] for action in actions}


@pytest.mark.usefixtures("lab")
@pytest.mark.needs("krb5kdc", "kdb5_util", "kadmin.local", "kinit", "klist", "kvno", "setpriv")
@pytest.mark.needs("gssapi")
def test_ctrl_c_ends_the_domain_of_a_scene() -> None:
    domain = runtime_folder() / "lab" / "domain"
    playing = subprocess.Popen(
        [sys.executable, "-m", "ibcm_bridge", "lab", "client", "--scene", "one-way-trust"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (domain / "controller-2" / "kdc.log").exists():
        assert playing.poll() is None
        time.sleep(0.02)
    # As a terminal does: to each process of the group.
    os.killpg(playing.pid, signal.SIGINT)
    _, errors = playing.communicate(timeout=60)
    assert (playing.returncode, errors) == (130, "")
    assert [path.name for path in domain.iterdir()] == ["lock"]


def test_a_client_setting_needs_a_scene(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "client", "--user-policy", "off"]) == 2
    assert "require --scene" in capsys.readouterr().err
