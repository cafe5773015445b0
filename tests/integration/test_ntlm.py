"""Windows authentication end to end by NTLM (USER-WINDOWS-AUTH, protocol.md §10).

The stand-ins authenticate with pyspnego, the users are pyspnego's too or curl's; the bridge is
between them. `test_windows_authentication` has what goes wrong on a connection, `test_kerberos` the
other way to sign in.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import spnego

from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.clients.life_cycle import document
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol import documents
from ibcm_bridge.lab.protocol.client import LabClient, Request, Response
from ibcm_bridge.lab.protocol.reply_documents import ERROR_PAGE, USER_POLICY
from ibcm_bridge.lab.site_systems.published import BRIDGED
from ibcm_bridge.lab.site_systems.registrations import client_guid
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.lab.site_systems.windows_authentication import WindowsAuthentication, ntlm_users
from tests.integration.credentials import Credentials
from tests.integration.lab import Lab

USERS = {"CORP\\alice": "Lab-Password-of-Alice-1", "CORP\\bob": "Lab-Password-of-Bob-2"}
ALICE, BOB = USERS
POLICY = f"/SMS_MP_WindowsAuth/.sms_pol?{USER_POLICY}.1_00"
REQUEST = "/CCM_System_WindowsAuth/request"
CATALOG_PORT = free_port()
BECAUSE = {"windows_authentication": {"because": "users get their own policy"}}


@pytest.fixture(scope="module")
def site_systems(pki: LabPki, credentials: Credentials) -> Iterator[SiteSystems]:
    with ntlm_users(USERS), SiteSystems(pki, user_authentication=WindowsAuthentication) as site:
        yield site


@pytest.fixture(scope="module")
def change_policy(policy: dict[str, Any]) -> None:
    (bridge, *_) = policy["publications"]
    bridge["roles"]["management-point"] |= BECAUSE
    catalog = {
        "site_system": "https://catalog01.corp.example",
        "connect": "127.0.0.1:9449",
        **BECAUSE,
    }
    more = {
        "listen": f"127.0.0.1:{CATALOG_PORT}",
        "clients": {},
        "roles": {"application-catalog-website-point": catalog},
    }
    policy["publications"].append({**bridge, **more})
    enforced = {"identity": "enforce", "signatures": "enforce", "bindings": "bindings.sqlite"}
    policy["messages"] = enforced


@pytest.fixture(autouse=True)
def no_password_and_no_token_is_written_down(lab: Lab) -> Iterator[None]:
    lab.secrets |= set(USERS.values())
    yield
    for received in lab.site.received():
        for name, value in received.headers:
            if name.lower() == "authorization":
                lab.secrets.add(value.split(" ")[1])


class User:
    """Somebody who signs in on one connection, message by message."""

    def __init__(self, lab: Lab, name: str, password: str | None = None, scheme: str = "NTLM"):
        credentials = {ALICE: lab.credentials.computer, BOB: lab.credentials.other}
        self.connection: LabClient = lab.client(credentials[name])
        self.scheme = scheme
        protocol = {"NTLM": "ntlm", "Negotiate": "negotiate"}[scheme]
        options = getattr(spnego.NegotiateOptions, f"use_{protocol}")
        self._context = spnego.client(
            name, password or USERS[name], BRIDGED, "HTTP", protocol=protocol, options=options
        )
        self._heard: bytes | None = None

    def say(self, request: Request) -> Response:
        """The next message of the three, with a request."""
        token = self._context.step(self._heard)
        assert token is not None
        said = ("Authorization", f"{self.scheme} {base64.b64encode(token).decode()}")
        reply = self.ask(dataclasses.replace(request, headers=(*request.headers, said)))
        given = (reply.header("WWW-Authenticate") or "").partition(" ")[2]
        self._heard = base64.b64decode(given) if given else None
        return reply

    def ask(self, request: Request) -> Response:
        """A request as it is, on the same connection."""
        return self.connection.send(request)


def get(target: str = POLICY) -> Request:
    return Request("GET", target, (("User-Agent", "Microsoft BITS/7.8"),))


def policy_request(lab: Lab, user: str, *, of: str) -> Request:
    """What a client asks for a user, signed by its computer (protocol.md 3.2)."""
    credential = {ALICE: lab.credentials.computer, BOB: lab.credentials.other}[of]
    device = Device.of(credential, "pc1.corp.example")
    device = device.with_guid(client_guid(device.certificate))
    asks = device.post("MP_PolicyManager", documents.policy_request(device.guid, user=user))
    return dataclasses.replace(asks, target=REQUEST)


def is_policy(reply: Response) -> bool:
    return reply.status == 200 and reply.body.startswith(b"<Policy ")


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
def test_an_authenticated_user_gets_policy_and_an_anonymous_one_none(lab: Lab, scheme: str) -> None:
    user = User(lab, ALICE, scheme=scheme)
    with user.connection:
        assert user.ask(get()).status == 401
        assert user.say(get()).status == 401
        assert is_policy(user.say(get()))
        # From now on the connection is hers.
        assert is_policy(user.ask(get()))
        reply = user.ask(policy_request(lab, ALICE, of=ALICE))
        assert f'PolicyID="{USER_POLICY}"' in document(reply)
    assert [received.user for received in lab.site.received()] == ["", "", ALICE, ALICE, ALICE]
    assert len({received.peer_port for received in lab.site.received()}) == 1
    lab.records(5)


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
def test_interleaved_requests_keep_their_users(lab: Lab, scheme: str) -> None:
    users = [User(lab, ALICE, scheme=scheme), User(lab, BOB, scheme=scheme)]
    with users[0].connection, users[1].connection:
        for user in users:
            assert user.say(get()).status == 401
        # The other way round, so that the last to be challenged is the first to answer.
        for user in reversed(users):
            assert is_policy(user.say(get()))
        for _ in range(3):
            for user, name in zip(users, USERS, strict=True):
                assert is_policy(user.ask(get()))
                assert document(user.ask(policy_request(lab, name, of=name)))
    arrived = lab.site.received()
    legs = {
        name: {received.peer_port for received in arrived if received.user == name}
        for name in USERS
    }
    assert [len(ports) for ports in legs.values()] == [1, 1]
    assert legs[ALICE] != legs[BOB]
    # Each comes with the bridge's certificate, so nothing but the connection tells them apart.
    assert len({received.certificate_subject for received in arrived}) == 1
    assert [received.user for received in arrived[2:]] == [BOB, ALICE] + [
        ALICE,
        ALICE,
        BOB,
        BOB,
    ] * 3
    lab.records(16)


def test_no_user_gets_the_policy_of_another(lab: Lab) -> None:
    user = User(lab, ALICE)
    with user.connection:
        user.say(get())
        assert is_policy(user.say(get()))
        reply = user.ask(policy_request(lab, BOB, of=ALICE))
    assert (reply.status, reply.body) == (200, b"")
    lab.records(3)


def test_a_wrong_password_does_not_authenticate(lab: Lab) -> None:
    user = User(lab, ALICE, USERS[BOB])
    with user.connection:
        assert user.say(get()).status == 401
        assert user.say(get()).status == 401
        assert user.ask(get()).status == 401
    assert {received.user for received in lab.site.received()} == {""}
    lab.records(3)


def test_the_reply_to_the_challenge_of_another_does_not_authenticate(lab: Lab) -> None:
    alice, bob = User(lab, ALICE), User(lab, BOB)
    with alice.connection, bob.connection:
        alice.say(get())
        bob.say(get())
        # What she would say on her connection, said on his.
        alice.connection, bob.connection = bob.connection, alice.connection
        assert alice.say(get()).status == 401
        assert bob.say(get()).status == 401
    assert {received.user for received in lab.site.received()} == {""}
    lab.records(4)


def test_the_next_client_starts_unauthenticated(lab: Lab) -> None:
    user = User(lab, ALICE)
    with user.connection:
        user.say(get())
        assert is_policy(user.say(get()))
    with lab.client() as client:
        assert client.send(get()).status == 401
    lab.records(3)


def test_the_policy_of_a_user_is_separate_from_that_of_computers(lab: Lab) -> None:
    user = User(lab, ALICE)
    with user.connection:
        user.say(get())
        assert is_policy(user.say(get()))
        assert user.ask(get(f"/SMS_MP/.sms_pol?{USER_POLICY}.1_00")).body == ERROR_PAGE
    lab.records(3)


def test_the_application_catalog_authenticates_the_user_without_a_certificate(lab: Lab) -> None:
    # VERB-APPCATALOG
    address, target = ("127.0.0.1", CATALOG_PORT), "/CMApplicationCatalog/"
    user = f"{ALICE}:{USERS[ALICE]}"
    signed_in = lab.curl("--ntlm", "--user", user, target=target, address=address)
    assert b"Application Catalog</html>" in signed_in.stdout, signed_in
    nobody = lab.curl(target=target, address=address)
    assert nobody.stdout.startswith(b"HTTP/1.1 401 ")
    assert [received.user for received in lab.site.received()] == ["", ALICE, ""]
    assert {received.site_system for received in lab.site.received()} == {
        "application-catalog-website-point"
    }
    lab.records(3)


def test_a_message_of_curl_arrives_after_ntlm_authentication(lab: Lab, tmp_path: Path) -> None:
    # As Microsoft's own WinINet, it sends no body with what will be answered 401.
    asks = policy_request(lab, BOB, of=BOB)
    file = tmp_path / "message"
    file.write_bytes(asks.body or b"")
    fields = [part for name, value in asks.headers for part in ("--header", f"{name}: {value}")]
    done = lab.curl(
        *("--ntlm", "--user", f"{BOB}:{USERS[BOB]}", "--request", "CCM_POST", *fields),
        *("--header", "Expect:", "--data-binary", f"@{file}"),
        target=REQUEST,
        credential=lab.credentials.other,
    )
    # curl shows the head of what it goes on from, and not its body.
    last = done.stdout[done.stdout.rindex(b"HTTP/1.1 ") :]
    (reply,) = lab.read_responses(last, ["CCM_POST"])
    assert f'PolicyID="{USER_POLICY}"' in document(reply), done
    assert [(received.user, received.body) for received in lab.site.received()] == [
        ("", b""),
        (BOB, asks.body),
    ]
    assert [record["verdict"] for record in lab.records(2)] == ["allow", "allow"]


def test_curl_authenticates_with_ntlm(lab: Lab) -> None:
    done = lab.curl(
        *("--ntlm", "--user", f"{BOB}:{USERS[BOB]}"),
        target=POLICY,
        credential=lab.credentials.computer,
    )
    assert b"<Policy " in done.stdout, done
    assert [received.user for received in lab.site.received()] == ["", BOB]
    lab.records(2)
