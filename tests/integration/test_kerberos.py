"""Windows authentication end to end by Kerberos, and by NTLM where there is no ticket.

A key distribution center of MIT's (`lab.domain`) stands in for a domain controller, curl for the
client, pyspnego and MIT's library for the site system (USER-WINDOWS-AUTH, protocol.md §10). What
this needs is not skipped where it is missing: whether users are kept apart must not depend on where
the tests run.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.lab.domain.domain import Domain
from ibcm_bridge.lab.domain.files import applied
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.lab.protocol.reply_documents import USER_POLICY
from ibcm_bridge.lab.site_systems.published import BRIDGED
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.lab.site_systems.windows_authentication import WindowsAuthentication
from tests.integration.credentials import Credentials
from tests.integration.lab import Lab

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="drives Debian's packages"),
    pytest.mark.needs(
        *("krb5kdc", "kdb5_util", "kadmin.local", "kinit", "klist", "kvno", "setpriv"),
        *("gss-ntlmssp", "gssapi", "curl"),
    ),
]

REALM = "CORP.EXAMPLE"
PASSWORDS = {"alice": "Lab-Password-of-Alice-1", "bob": "Lab-Password-of-Bob-2"}
POLICY = f"/SMS_MP_WindowsAuth/.sms_pol?{USER_POLICY}.1_00"


class Users:
    """Users of a domain, with or without a ticket, as environments of curl."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain

    def signed_in(self, user: str) -> dict[str, str]:
        """The environment of somebody who has a ticket, as at a sign-in to Windows."""
        tickets = self._domain.signed_in(f"{user}@{REALM}", PASSWORDS[user])
        return {**self._domain.files.environment, "KRB5CCNAME": f"FILE:{tickets}"}

    def without_ticket(self, user: str) -> dict[str, str]:
        """Of somebody who is out of the domain controller's reach, and has a password."""
        directory = self._domain.files.directory
        file = directory / f"{user}.ntlm"
        file.touch(mode=0o600)
        file.write_text(f"CORP:{user}:{PASSWORDS[user]}\n")
        return {
            **self._domain.files.environment,
            "KRB5CCNAME": f"FILE:{directory / 'nobody'}",
            "NTLM_USER_FILE": str(file),
        }


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Users]:
    with Domain(tmp_path_factory.mktemp("kdc")) as domain:
        controller = domain.add_realm(REALM, PASSWORDS)
        domain.add_service(controller, BRIDGED)
        domain.accept_by_ntlm({f"CORP\\{name}": own for name, own in PASSWORDS.items()})
        controller.start()
        # For the stand-ins, which are in this process.
        with applied(domain.files.environment):
            yield Users(domain)


@pytest.fixture(scope="module")
def site_systems(users: Users, pki: LabPki, credentials: Credentials) -> Iterator[SiteSystems]:
    with SiteSystems(pki, user_authentication=WindowsAuthentication) as site:
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


def test_a_user_with_a_ticket_gets_policy(lab: Lab, users: Users) -> None:
    done = ask(lab, users.signed_in("alice"))
    check_policy(done)
    assert said(lab)[-1] == (f"alice@{REALM}", "Negotiate")
    # A ticket needs one message and no challenge.
    assert len([way for _, way in said(lab) if way]) == 1
    assert b"\r\nWww-Authenticate: Negotiate " in done.stdout.partition(b"200 OK")[2]
    assert {record["verdict"] for record in lab.records(len(said(lab)))} == {"allow"}


def test_each_request_has_the_user_of_its_ticket(lab: Lab, users: Users) -> None:
    for user in ("alice", "bob", "alice"):
        check_policy(ask(lab, users.signed_in(user)))
    authenticated = [user for user, _ in said(lab) if user]
    assert authenticated == [f"{name}@{REALM}" for name in ("alice", "bob", "alice")]
    lab.records(len(said(lab)))


def test_without_a_ticket_it_falls_back_to_ntlm(lab: Lab, users: Users) -> None:
    check_policy(ask(lab, users.without_ticket("bob")))
    assert said(lab)[-1] == ("CORP\\bob", "Negotiate")
    signing_in = [
        received for received in lab.site.received() if "Authorization" in dict(received.headers)
    ]
    assert len(signing_in) == 2, "a challenge is between them"
    assert len({request.peer_port for request in signing_in}) == 1
    lab.records(len(said(lab)))


def test_without_a_ticket_and_a_password_there_is_no_policy(lab: Lab, users: Users) -> None:
    environment = users.without_ticket("alice")
    Path(environment["NTLM_USER_FILE"]).write_text("CORP:alice:another password\n")
    done = ask(lab, environment)
    assert b"<Policy " not in done.stdout
    assert {user for user, _ in said(lab)} == {""}
    assert {received.status for received in lab.site.received()} == {401}
    lab.records(len(said(lab)))


def test_a_ticket_authenticates_once(lab: Lab, users: Users) -> None:
    # Nobody who saw it, on either leg, can use it again.
    check_policy(ask(lab, users.signed_in("alice")))
    given = dict(lab.site.received()[-1].headers)["Authorization"]
    with lab.client() as client:
        reply = client.send(Request("GET", POLICY, (("Authorization", given),)))
    assert reply.status == 401
    assert said(lab)[-1] == ("", "Negotiate")
    lab.records(len(said(lab)))
