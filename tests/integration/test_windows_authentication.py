"""Windows authentication stays with its client (USER-WINDOWS-AUTH, protocol.md §10).

NTLM authenticates the TCP connection: once its three messages have been exchanged, whatever else
comes on that connection is that user's. So the stand-in here knows its users by the connection
alone, as IIS does, and takes the answer to a challenge on no other connection.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.lab.protocol.client import ConnectionEnded, LabClient, Response
from tests.integration.lab import Lab
from tests.integration.raw_site_system import Peer, RawSiteSystem

MP_NAME = "mp01.corp.example"
POLICY = "/SMS_MP_WindowsAuth/.sms_pol?{00000000-0000-0000-0000-000000000001}.1_00"
REQUEST = "/CCM_System_WindowsAuth/request"
MP_LIST = "/SMS_MP/.sms_aut?MPLIST"
PORTS = {name: free_port() for name in ("opted-in", "closed")}


@pytest.fixture(scope="module")
def change_policy(policy: dict[str, Any], raw_site_system: RawSiteSystem) -> None:
    (bridge, *_) = policy["publications"]
    host, port = raw_site_system.address
    policy["publications"] = []
    for name, added in {
        "opted-in": {"windows_authentication": {"because": "users get their own policy"}},
        "closed": {},
    }.items():
        roles = bridge["roles"]
        point = {**roles["management-point"], "connect": f"{host}:{port}", **added}
        policy["publications"].append(
            {
                **bridge,
                "listen": f"127.0.0.1:{PORTS[name]}",
                "roles": {**roles, "management-point": point},
            }
        )


@dataclass
class Conversation:
    """One connection to the stand-in: who it is, and what was asked on it."""

    number: int
    user: str | None = None
    challenge: str | None = None
    requests: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    said: list[bytes] = field(default_factory=list)


class NtlmSiteSystem:
    """As IIS: 401, a challenge, and then the connection is the user's."""

    def __init__(self) -> None:
        self.conversations: list[Conversation] = []
        self.close_after_challenge = False
        self.go_after_challenge = threading.Event()
        self._numbers = itertools.count(1)

    def __call__(self, peer: Peer) -> None:
        here = Conversation(next(self._numbers))
        self.conversations.append(here)
        while head := peer.read_head():
            head, _, body = head.partition(b"\r\n\r\n")
            length = re.search(rb"(?im)^content-length: (\d+)", head)
            missing = int(length[1]) - len(body) if length else 0
            if missing > 0:
                start = len(peer.received)
                peer.read_exactly(missing)
                body += bytes(peer.received[start:])
            here.requests.append(head.split(b"\r\n")[0].decode())
            here.bodies.append(body)
            given = re.search(rb"(?im)^authorization: (.*?)\r?$", head)
            here.said.append(given[1] if given else b"")
            status, fields, text = self._answer(here, given[1].decode() if given else "")
            fields += f"Content-Length: {len(text)}\r\n"
            peer.send(f"HTTP/1.1 {status} Said\r\n{fields}\r\n{text}".encode())
            if here.challenge and not here.user and self.close_after_challenge:
                self.go_after_challenge.wait(10)
                peer.close_and_wait()
                return

    def _answer(self, here: Conversation, given: str) -> tuple[int, str, str]:
        kind, _, rest = given.removeprefix("NTLM ").partition("-")
        if kind == "TYPE1":
            here.challenge, here.user = f"challenge{here.number}", None
            return 401, f"WWW-Authenticate: NTLM {here.challenge}\r\n", "who"
        if kind == "TYPE3":
            user, _, challenge = rest.partition("-")
            if challenge != here.challenge:
                return 401, "WWW-Authenticate: NTLM\r\n", "not asked here"
            here.user = user
        if here.user is None:
            fields = "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\n"
            return 401, fields, "nobody"
        return 200, "Authentication-Info: x\r\n", f"{here.user} on {here.number}"


@pytest.fixture
def ntlm(lab: Lab, raw_site_system: RawSiteSystem) -> Iterator[NtlmSiteSystem]:
    site_system = NtlmSiteSystem()
    raw_site_system.behave(site_system, lab.pki.server(MP_NAME))
    yield site_system
    site_system.go_after_challenge.set()
    raw_site_system.check_scripts()


def client(lab: Lab, name: str = "opted-in", user: str = "alice") -> LabClient:
    credentials = {"alice": lab.credentials.computer, "bob": lab.credentials.other}
    return lab.client(credentials[user], address=("127.0.0.1", PORTS[name]))


def ask(
    lab: Lab, connection: LabClient, said: str | None = None, body: bytes | None = None
) -> Response:
    fields = {"Authorization": f"NTLM {said}"} if said else {}
    if body is None:
        return connection.request("GET", POLICY, fields)
    fields["Content-Type"] = ccm.CONTENT_TYPE
    return connection.request("CCM_POST", REQUEST, fields, body)


def challenge(reply: Response) -> str:
    assert reply.status == 401
    return (reply.header("WWW-Authenticate") or "").removeprefix("NTLM ")


def test_interleaved_requests_keep_their_users(lab: Lab, ntlm: NtlmSiteSystem) -> None:
    users = ("alice", "bob")
    with client(lab, user="alice") as first, client(lab, user="bob") as second:
        connections = dict(zip(users, (first, second), strict=True))
        for said in connections.values():
            assert ask(lab, said).status == 401
        challenges = {
            user: challenge(ask(lab, said, f"TYPE1-{user}")) for user, said in connections.items()
        }
        assert len(set(challenges.values())) == 2
        # The other way round, so that the last to be challenged is the first to answer.
        for user in reversed(users):
            reply = ask(lab, connections[user], f"TYPE3-{user}-{challenges[user]}")
            assert (reply.status, reply.header("Authentication-Info")) == (200, "x")
            assert reply.body.startswith(user.encode())
        for _ in range(3):
            for user, said in connections.items():
                assert ask(lab, said).body.startswith(user.encode())
                assert ask(lab, said, body=lab.message()).body.startswith(user.encode())
    assert len(ntlm.conversations) == 2
    assert {conversation.user for conversation in ntlm.conversations} == set(users)
    assert [len(conversation.requests) for conversation in ntlm.conversations] == [9, 9]
    lab.records(18)


def test_the_challenges_of_the_site_system_arrive_unchanged(lab: Lab, ntlm: NtlmSiteSystem) -> None:
    with client(lab) as connection:
        reply = ask(lab, connection)
    given = [value for name, value in reply.headers if name == "WWW-Authenticate"]
    assert (reply.status, given) == (401, ["Negotiate", "NTLM"])
    lab.records(1)


def test_a_message_is_sent_again_on_the_leg_that_was_challenged(
    lab: Lab, ntlm: NtlmSiteSystem
) -> None:
    body = lab.message()
    with client(lab) as connection:
        assert ask(lab, connection, body=body).status == 401
        given = challenge(ask(lab, connection, "TYPE1-alice", body))
        reply = ask(lab, connection, f"TYPE3-alice-{given}", body)
    assert (reply.status, reply.body) == (200, b"alice on 1")
    (here,) = ntlm.conversations
    assert here.bodies == [body] * 3
    lab.records(3)


def test_the_next_client_starts_unauthenticated(lab: Lab, ntlm: NtlmSiteSystem) -> None:
    with client(lab) as connection:
        given = challenge(ask(lab, connection, "TYPE1-alice"))
        assert ask(lab, connection, f"TYPE3-alice-{given}").status == 200
    with client(lab) as connection:
        assert ask(lab, connection).status == 401
    lab.records(3)


def test_the_reply_to_the_challenge_of_another_does_not_authenticate(
    lab: Lab, ntlm: NtlmSiteSystem
) -> None:
    with client(lab, user="alice") as first, client(lab, user="bob") as second:
        given = challenge(ask(lab, first, "TYPE1-alice"))
        challenge(ask(lab, second, "TYPE1-bob"))
        assert ask(lab, second, f"TYPE3-alice-{given}").status == 401
        assert ask(lab, second).status == 401
    lab.records(4)


def test_without_the_opt_in_authorization_is_dropped_and_the_directories_are_refused(
    lab: Lab, ntlm: NtlmSiteSystem
) -> None:
    with client(lab, "closed") as connection:
        reply = connection.request("GET", MP_LIST, {"Authorization": "NTLM TYPE1-alice"})
        assert (reply.status, reply.body) == (401, b"nobody")
        assert ask(lab, connection, "TYPE1-alice").status == 404
    (here,) = ntlm.conversations
    assert here.said == [b""]
    sent, refused = lab.records(2)
    assert sent["dropped_headers"] == ["Authorization"]
    assert (refused["verdict"], refused["requirement"]) == ("deny", "NO-USER-DEPLOYMENT")


def test_credentials_are_sent_to_the_directories_that_authenticate_only(
    lab: Lab, ntlm: NtlmSiteSystem
) -> None:
    with client(lab) as connection:
        reply = connection.request("GET", MP_LIST, {"Authorization": "NTLM TYPE1-alice"})
        assert (reply.status, reply.body) == (401, b"nobody")
        challenge(ask(lab, connection, "TYPE1-alice"))
    (here,) = ntlm.conversations
    assert here.said == [b"", b"NTLM TYPE1-alice"]
    assert lab.records(2)[0]["dropped_headers"] == ["Authorization"]


def test_a_site_system_cannot_ask_for_a_password(lab: Lab, raw_site_system: RawSiteSystem) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        fields = 'WWW-Authenticate: Basic realm="mp01"\r\nWWW-Authenticate: NTLM\r\n'
        peer.send(f"HTTP/1.1 401 No\r\n{fields}Content-Length: 0\r\n\r\n".encode())

    raw_site_system.behave(script, lab.pki.server(MP_NAME))
    with client(lab) as connection:
        reply = ask(lab, connection)
    given = [value for name, value in reply.headers if name == "WWW-Authenticate"]
    assert (reply.status, given) == (401, ["NTLM"])
    (record,) = lab.records(1)
    assert "schemes other than Negotiate and NTLM were removed" in record["note"]


def test_a_response_with_surplus_bytes_ends_the_sign_in(
    lab: Lab, raw_site_system: RawSiteSystem
) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        fields = "WWW-Authenticate: NTLM x\r\nContent-Length: 0\r\n\r\n"
        peer.send(f"HTTP/1.1 401 No\r\n{fields}HTTP/1.1 200 OK\r\n".encode())
        peer.wait_for_end()

    raw_site_system.behave(script, lab.pki.server(MP_NAME))
    with client(lab) as connection:
        assert challenge(ask(lab, connection, "TYPE1-alice")) == "x"
        assert connection.connect().recv(1) == b"", "no other connection can continue it"
    (peer,) = raw_site_system.peers
    lab.until(peer.ended.is_set)
    assert peer.received.count(b"HTTP/1.1") == 1
    assert [record["status"] for record in lab.records(1)] == [401]


def test_a_leg_closed_between_two_requests_closes_the_client_connection(
    lab: Lab, ntlm: NtlmSiteSystem, raw_site_system: RawSiteSystem
) -> None:
    # As IIS closing its own connection: the client sees the end, and authenticates again.
    ntlm.close_after_challenge = True
    with client(lab) as connection:
        challenge(ask(lab, connection, "TYPE1-alice"))
        ntlm.go_after_challenge.set()
        assert connection.connect().recv(1) == b""
        with pytest.raises(ConnectionEnded):
            ask(lab, connection, "TYPE3-alice-challenge1")
    assert len(ntlm.conversations) == 1
    assert [record["status"] for record in lab.records(1)] == [401]


def test_a_request_on_a_closed_leg_is_a_502_and_closes_the_connection(
    lab: Lab, ntlm: NtlmSiteSystem, raw_site_system: RawSiteSystem
) -> None:
    ntlm.close_after_challenge = True
    last = lab.request("GET", POLICY, {"Authorization": "NTLM TYPE3-alice-challenge1"})
    with lab.connect(address=("127.0.0.1", PORTS["opted-in"])) as connection:
        connection.sendall(lab.request("GET", POLICY, {"Authorization": "NTLM TYPE1-alice"}))
        first = b""
        while not first.endswith(b"who"):
            first += connection.recv(65_536)
        connection.sendall(last[:-2])  # begun before the leg closes
        lab.until(lambda: len(ntlm.conversations) == 1)
        ntlm.go_after_challenge.set()
        lab.until(raw_site_system.peers[0].ended.is_set)
        connection.sendall(last[-2:])
        (reply,) = lab.read_responses(lab.read_to_end(connection), ["GET"])
    assert reply.status == 502
    assert len(ntlm.conversations) == 1, "no other leg was opened for it"
    _, record = lab.records(2)
    rule = "site_system.windows_authentication"
    lab.check_denied(record, Reason.SITE_SYSTEM_RESPONSE, rule)


def test_a_leg_with_connection_close_closes_the_client_connection(
    lab: Lab, raw_site_system: RawSiteSystem
) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        fields = "WWW-Authenticate: NTLM x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        peer.send(f"HTTP/1.1 401 No\r\n{fields}".encode())

    raw_site_system.behave(script, lab.pki.server(MP_NAME))
    with client(lab) as connection:
        reply = ask(lab, connection, "TYPE1-alice")
        assert (reply.status, reply.header("Connection")) == (401, "close")
    lab.records(1)
