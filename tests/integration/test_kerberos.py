"""Windows authentication end to end by Kerberos, and by NTLM where there is no ticket.

A key distribution center of MIT's stands in for a domain controller, curl for the client, pyspnego
and MIT's library for the site system (USER-WINDOWS-AUTH, protocol.md §10). What this needs is not
skipped where it is missing: whether users are kept apart must not depend on where the tests run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.lab.protocol.reply_documents import USER_POLICY
from ibcm_bridge.lab.site_systems.published import BRIDGED
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.lab.site_systems.windows_authentication import WindowsAuthentication, ntlm_users
from tests.integration.credentials import Credentials
from tests.integration.lab import Lab
from tests.needs import program

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="drives Debian's packages"),
    pytest.mark.needs(
        *("krb5kdc", "kdb5_util", "kadmin.local", "kinit", "gss-ntlmssp", "gssapi", "curl")
    ),
]

REALM = "CORP.EXAMPLE"
PASSWORDS = {"alice": "Lab-Password-of-Alice-1", "bob": "Lab-Password-of-Bob-2"}
POLICY = f"/SMS_MP_WindowsAuth/.sms_pol?{USER_POLICY}.1_00"
SECONDS = 20.0


class Kdc:
    """A realm in a directory, on a port of loopback."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.keytab = directory / "keytab"
        self.environment = {
            "KRB5_CONFIG": str(directory / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(directory / "kdc.conf"),
            "KRB5_KTNAME": f"FILE:{self.keytab}",
            "KRB5RCACHENAME": f"file2:{directory / 'replays'}",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Kdc:
        self._configure(free_port())
        self._run("kdb5_util", "-r", REALM, "create", "-s", "-P", "Lab-Master-Key")
        for name, password in PASSWORDS.items():
            self._run("kadmin.local", "-r", REALM, "addprinc", "-pw", password, name)
        # The service is what the client calls it: the Internet FQDN (protocol.md 10).
        self._run("kadmin.local", "-r", REALM, "addprinc", "-randkey", f"HTTP/{BRIDGED}")
        self._run("kadmin.local", "-r", REALM, "ktadd", "-k", str(self.keytab), f"HTTP/{BRIDGED}")
        while not self._starts():
            # The port was free a moment ago.
            self._configure(free_port())
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(SECONDS)

    def signed_in(self, user: str) -> dict[str, str]:
        """The environment of somebody who has a ticket, as at a sign-in to Windows."""
        environment = self.environment | {"KRB5CCNAME": f"FILE:{self.directory / user}"}
        self._run("kinit", user, stdin=PASSWORDS[user], environment=environment)
        return environment

    def without_ticket(self, user: str) -> dict[str, str]:
        """Of somebody who is out of the domain controller's reach, and has a password."""
        file = self.directory / f"{user}.ntlm"
        file.touch(mode=0o600)
        file.write_text(f"CORP:{user}:{PASSWORDS[user]}\n")
        return {
            **self.environment,
            "KRB5CCNAME": f"FILE:{self.directory / 'nobody'}",
            "NTLM_USER_FILE": str(file),
        }

    def _configure(self, port: int) -> None:
        (self.directory / "krb5.conf").write_text(
            f"[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n"
            " dns_lookup_realm = false\n dns_canonicalize_hostname = false\n rdns = false\n"
            f" udp_preference_limit = 1\n[realms]\n {REALM} = {{\n"
            f"  kdc = 127.0.0.1:{port}\n }}\n"
            f"[domain_realm]\n .internet.example = {REALM}\n"
        )
        (self.directory / "kdc.conf").write_text(
            f"[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n"
            f" kdc_tcp_listen = 127.0.0.1:{port}\n[realms]\n {REALM} = {{\n"
            f"  database_name = {self.directory}/principals\n"
            f"  key_stash_file = {self.directory}/stash\n }}\n"
            f"[logging]\n kdc = FILE:{self.directory}/kdc.log\n"
        )

    def _starts(self) -> bool:
        """Whether it answers; False where another has its port."""
        log = self.directory / "kdc.log"
        command = [program("krb5kdc"), "-n", "-r", REALM]
        self._process = subprocess.Popen(
            command, env=os.environ | self.environment, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + SECONDS
        while self._process.poll() is None:
            if log.exists() and "commencing operation" in log.read_text():
                return True
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)
        assert "already in use" in log.read_text(), log.read_text()
        return False

    def _run(
        self, name: str, *arguments: str, stdin: str = "", environment: dict[str, str] | None = None
    ) -> None:
        done = subprocess.run(
            [program(name), *arguments],
            input=stdin,
            env=os.environ | (environment or self.environment),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, (name, done.stderr)


@pytest.fixture(scope="module")
def kdc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kdc]:
    with Kdc(tmp_path_factory.mktemp("kdc")) as one, pytest.MonkeyPatch.context() as patch:
        # For the stand-ins, which are in this process.
        for name, value in one.environment.items():
            patch.setenv(name, value)
        yield one


@pytest.fixture(scope="module")
def site_systems(kdc: Kdc, pki: LabPki, credentials: Credentials) -> Iterator[SiteSystems]:
    users = {f"CORP\\{name}": password for name, password in PASSWORDS.items()}
    with ntlm_users(users), SiteSystems(pki, user_authentication=WindowsAuthentication) as site:
        yield site


@pytest.fixture(scope="module")
def change_policy(policy: dict[str, Any]) -> None:
    (bridge, *_) = policy["publications"]
    opted_in = {"windows_authentication": {"because": "users get their own policy"}}
    bridge["roles"]["management-point"] |= opted_in


def ask(lab: Lab, environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[bytes]:
    """curl, as somebody; its certificate is the computer's."""
    # Not in this process's environment: the stand-ins read theirs there.
    return lab.curl(
        *("--negotiate", "--user", ":", *options),
        target=POLICY,
        credential=lab.credentials.computer,
        environment=environment,
    )


def check_policy(done: subprocess.CompletedProcess[bytes]) -> None:
    assert b"\r\n\r\n<Policy " in done.stdout, done


def said(lab: Lab) -> list[tuple[str, str]]:
    """Who was signed in at each request, and by which way."""
    return [
        (request.user, dict(request.headers).get("Authorization", "").partition(" ")[0])
        for request in lab.site.received()
    ]


def test_a_user_with_a_ticket_gets_policy(lab: Lab, kdc: Kdc) -> None:
    done = ask(lab, kdc.signed_in("alice"))
    check_policy(done)
    assert said(lab)[-1] == (f"alice@{REALM}", "Negotiate")
    # A ticket needs one message and no challenge.
    assert len([way for _, way in said(lab) if way]) == 1
    assert b"\r\nWww-Authenticate: Negotiate " in done.stdout.partition(b"200 OK")[2]
    assert {record["verdict"] for record in lab.records(len(said(lab)))} == {"allow"}


def test_each_request_has_the_user_of_its_ticket(lab: Lab, kdc: Kdc) -> None:
    for user in ("alice", "bob", "alice"):
        check_policy(ask(lab, kdc.signed_in(user)))
    users = [user for user, _ in said(lab) if user]
    assert users == [f"{name}@{REALM}" for name in ("alice", "bob", "alice")]
    lab.records(len(said(lab)))


def test_without_a_ticket_it_falls_back_to_ntlm(lab: Lab, kdc: Kdc) -> None:
    check_policy(ask(lab, kdc.without_ticket("bob")))
    assert said(lab)[-1] == ("CORP\\bob", "Negotiate")
    signing_in = [
        received for received in lab.site.received() if "Authorization" in dict(received.headers)
    ]
    assert len(signing_in) == 2, "a challenge is between them"
    assert len({request.peer_port for request in signing_in}) == 1
    lab.records(len(said(lab)))


def test_without_a_ticket_and_a_password_there_is_no_policy(lab: Lab, kdc: Kdc) -> None:
    environment = kdc.without_ticket("alice")
    Path(environment["NTLM_USER_FILE"]).write_text("CORP:alice:another password\n")
    done = ask(lab, environment)
    assert b"<Policy " not in done.stdout
    assert {user for user, _ in said(lab)} == {""}
    assert {received.status for received in lab.site.received()} == {401}
    lab.records(len(said(lab)))


def test_a_ticket_authenticates_once(lab: Lab, kdc: Kdc) -> None:
    # Nobody who saw it, on either leg, can use it again.
    check_policy(ask(lab, kdc.signed_in("alice")))
    given = dict(lab.site.received()[-1].headers)["Authorization"]
    with lab.client() as client:
        reply = client.send(Request("GET", POLICY, (("Authorization", given),)))
    assert reply.status == 401
    assert said(lab)[-1] == ("", "Negotiate")
    lab.records(len(said(lab)))
