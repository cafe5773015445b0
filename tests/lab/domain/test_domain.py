"""A domain: its accounts, its trusts, its read-only controller, and its end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibcm_bridge.lab.domain.domain import Domain
from ibcm_bridge.lab.domain.files import DomainFiles, applied
from ibcm_bridge.lab.errors import LabError

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="drives Debian's packages"),
    pytest.mark.needs("krb5kdc", "kdb5_util", "kadmin.local", "kinit", "klist", "kvno", "setpriv"),
    pytest.mark.needs("gssapi"),
]

CORP, PERIMETER = "CORP.EXAMPLE", "PERIMETER.EXAMPLE"
PASSWORDS = {"alice": "Lab-Password-of-Alice-1", "bob": "Lab-Password-of-Bob-2"}
INSIDE, OUTSIDE = "mp02.corp.example", "signin.internet.example"


@pytest.fixture
def domain(tmp_path: Path) -> Iterator[Domain]:
    with Domain(tmp_path / "domain") as one:
        yield one


def sign_in(domain: Domain, user: str, realm: str = CORP) -> Path:
    return domain.signed_in(f"{user}@{realm}", PASSWORDS[user])


def test_a_user_signs_in_with_the_password_only(domain: Domain) -> None:
    domain.add_realm(CORP, PASSWORDS).start()
    assert domain.services(sign_in(domain, "alice")) == [f"krbtgt/{CORP}@{CORP}"]
    with pytest.raises(LabError, match="Password incorrect"):
        domain.signed_in(f"alice@{CORP}", PASSWORDS["bob"])


def test_a_stopped_controller_is_out_of_reach(domain: Domain) -> None:
    controller = domain.add_realm(CORP, PASSWORDS)
    controller.start()
    controller.stop()
    with pytest.raises(LabError, match="Cannot contact any KDC"):
        sign_in(domain, "alice")


def test_a_trust_has_one_direction_and_an_end(domain: Domain) -> None:
    corp, perimeter = (domain.add_realm(realm, PASSWORDS) for realm in (CORP, PERIMETER))
    domain.add_service(corp, INSIDE)
    domain.add_service(perimeter, OUTSIDE)
    domain.add_trust(perimeter, corp)
    corp.start()
    perimeter.start()

    tickets = sign_in(domain, "alice")
    domain.get_ticket(tickets, OUTSIDE)
    assert domain.services(tickets) == [
        f"krbtgt/{CORP}@{CORP}",
        f"krbtgt/{PERIMETER}@{CORP}",
        f"HTTP/{OUTSIDE}@{PERIMETER}",
    ]
    with pytest.raises(LabError, match=f"krbtgt/{CORP}@{PERIMETER} not found"):
        domain.get_ticket(sign_in(domain, "alice", PERIMETER), INSIDE)

    domain.end_trust(perimeter, corp)
    with pytest.raises(LabError, match="not found in Kerberos database"):
        domain.get_ticket(sign_in(domain, "alice"), OUTSIDE)


def test_a_read_only_controller_has_the_replicated_accounts_only(domain: Domain) -> None:
    writable = domain.add_realm(CORP, PASSWORDS)
    domain.add_service(writable, OUTSIDE)
    read_only = domain.add_read_only(writable, ("alice", f"HTTP/{OUTSIDE}"))
    writable.start()
    read_only.start()
    # The writable one has the others.
    sign_in(domain, "bob")
    writable.stop()
    domain.get_ticket(sign_in(domain, "alice"), OUTSIDE)
    with pytest.raises(LabError, match=r"'bob@CORP\.EXAMPLE' not found"):
        sign_in(domain, "bob")


def test_a_domain_leaves_its_lock_only(tmp_path: Path) -> None:
    directory = tmp_path / "domain"
    with Domain(directory) as domain:
        domain.accept_by_ntlm({"CORP\\alice": PASSWORDS["alice"]})
        domain.add_realm(CORP, PASSWORDS).start()
        files = domain.files
        assert files.ntlm_users.read_text() == f"CORP:alice:{PASSWORDS['alice']}\n"
        private = (files.ntlm_users, files.keytab.parent, sign_in(domain, "alice"))
        assert {path.stat().st_mode & 0o077 for path in private} == {0}
    assert [path.name for path in directory.iterdir()] == ["lock"]


def test_a_domain_whose_directory_is_removed_ends_its_controllers(tmp_path: Path) -> None:
    """As `lab down` does while a scene plays."""
    directory = tmp_path / "domain"
    with Domain(directory) as domain:
        corp = domain.add_realm(CORP, PASSWORDS)
        corp.start()
        pid = corp.pid
        shutil.rmtree(directory)
    assert not directory.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_no_password_is_in_an_argument(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments: list[str] = []
    run = subprocess.run

    def recorded(command: list[str], **options: object) -> object:
        arguments.extend(command)
        return run(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", recorded)
    domain.add_realm(CORP, PASSWORDS).start()
    sign_in(domain, "alice")
    assert "addprinc" in arguments
    assert not set(PASSWORDS.values()) & set(arguments)


def test_two_domains_do_not_share_a_directory(domain: Domain) -> None:
    again = Domain(domain.files.directory)
    with pytest.raises(LabError, match="another scene uses the lab's domain"), again:
        pass


CRASHES = """
import os, signal, sys
from pathlib import Path
from ibcm_bridge.lab.domain.domain import Domain
with Domain(Path(sys.argv[1])) as domain:
    controller = domain.add_realm("CORP.EXAMPLE", {"alice": "Lab-Password-of-Alice-1"})
    controller.start()
    print(controller.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_a_crash_the_kdc_ends_and_the_next_domain_begins_again(tmp_path: Path) -> None:
    directory = tmp_path / "domain"
    crashed = subprocess.run(
        [sys.executable, "-c", CRASHES, str(directory)], capture_output=True, text=True, check=False
    )
    assert crashed.returncode == -signal.SIGKILL, crashed.stderr
    deadline = time.monotonic() + 20
    while runs(int(crashed.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert (directory / "controller-1").exists()
    with Domain(directory) as domain:
        domain.add_realm(CORP, PASSWORDS).start()
        sign_in(domain, "alice")


def runs(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_the_environment_is_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRB5_CONFIG", "/before")
    monkeypatch.delenv("KRB5_KTNAME", raising=False)
    files = DomainFiles(tmp_path)
    with applied(files.environment):
        assert os.environ["KRB5_CONFIG"] == str(files.configuration)
        assert os.environ["KRB5_KTNAME"] == f"FILE:{files.keytab}"
    assert os.environ["KRB5_CONFIG"] == "/before"
    assert "KRB5_KTNAME" not in os.environ
