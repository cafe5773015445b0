"""`state` of a policy file: the database that several machines share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ibcm_bridge.lab.pki.files import shipped_policy
from tests.policy_file.conftest import Load
from tests.policy_samples import Problems

LOCAL = "postgresql:///ibcm?host=/run/postgresql"
SECRET = "hunter2-hunter2"


def with_state(address: str) -> str:
    return f"{shipped_policy()}\nstate: {address}\n"


def test_without_state_bindings_are_local(load: Load) -> None:
    assert load(shipped_policy()).state is None


def test_an_address_is_read_and_tls_is_verified(load: Load) -> None:
    state = load(with_state("postgresql://ibcm@db1.corp.example:5433,db2/ibcm")).state
    assert state is not None
    assert state.address == "postgresql://ibcm@db1.corp.example:5433,db2/ibcm"
    assert dict(state.parameters) == {
        "host": "db1.corp.example,db2",
        "port": "5433,",
        "user": "ibcm",
        "dbname": "ibcm",
        "sslmode": "verify-full",
        "sslrootcert": "system",
    }


def test_identity_can_be_enforced_without_a_file(load: Load) -> None:
    policy = load(with_state(f"{LOCAL}\nmessages: {{identity: enforce}}"))
    assert policy.messages.bindings_file is None
    assert policy.state is not None


def test_windows_is_refused(problems: Problems, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    ((_, message),) = problems(with_state(LOCAL))
    assert message.startswith("state: is not possible on Windows")


def test_files_are_relative_to_the_policy_file(load: Load, directory: Path) -> None:
    for name in ("state.pass", "ca.pem"):
        (directory / name).touch(0o600)
    state = load(with_state(f"{LOCAL}&passfile=state.pass&sslrootcert=ca.pem")).state
    assert state is not None
    parameters = dict(state.parameters)
    assert parameters["passfile"] == str(directory / "state.pass")
    assert parameters["sslrootcert"] == str(directory / "ca.pem")


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("mysql://db/ibcm", "state: is not the address of a PostgreSQL database"),
        ("ibcm", "state: is not the address of a PostgreSQL database"),
        ("postgresql://[db/ibcm", "state: is not an address that PostgreSQL's library"),
        ("postgresql://db:https/ibcm", "state: the port is not a number"),
        ("postgresql:///ibcm", "state: names no host"),
        ("postgresql://db", "state: names no database"),
        (f"{LOCAL}&sslmode=require", "state: sslmode cannot be set; the certificate of the server"),
        (f"{LOCAL}&options=-c%20x%3D1", "state: options cannot be set; allowed: dbname, host"),
        (
            "postgresql://db1,db2/ibcm?target_session_attrs=read-write",
            "state: target_session_attrs cannot be set; the bridge always uses the primary",
        ),
        (f"{LOCAL}&passfile=none", "state: passfile: "),
        (f"postgresql://ibcm:{SECRET}@db/ibcm", "state: contains a password"),
        (f"{LOCAL}&password={SECRET}", "state: contains a password"),
        (f"postgresql://ibcm:{SECRET}@[db/ibcm", "state: is not an address"),
    ],
)
def test_another_address_is_refused_and_its_password_is_not_shown(
    problems: Problems, address: str, problem: str
) -> None:
    ((_, message),) = problems(with_state(address))
    assert message.startswith(problem)
    assert SECRET not in message


def test_a_password_file_that_others_can_read_is_refused(
    problems: Problems, directory: Path
) -> None:
    (directory / "open.pass").touch()
    (directory / "open.pass").chmod(0o640)
    ((_, message),) = problems(with_state(f"{LOCAL}&passfile=open.pass"))
    assert "other users can read" in message


def test_bindings_are_in_one_place(problems: Problems) -> None:
    text = with_state(f"{LOCAL}\nmessages: {{bindings: bindings.sqlite}}")
    ((_, message),) = problems(text)
    assert message.startswith("messages.bindings: state names the database for it")
