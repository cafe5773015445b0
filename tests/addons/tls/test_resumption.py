"""TLS sessions are resumed, and the client is verified again each time (BRIDGE-AUTH-COMPUTER)."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.addons.hooks import client_authentication
from ibcm_bridge.authentication.client import authenticate
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import load_credential, request_bytes
from ibcm_bridge.policy.roles import CertificatePolicy
from ibcm_bridge.policy.trust import Revocation, Trust
from tests.addons.stand_ins.lab import BRIDGED, GOOD, Lab, bridged_publication, changed
from tests.addons.stand_ins.running import SOON, Running

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class Clock:
    """The clock of the bridge, for verification of resumed sessions and revocation lists."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class Attempt:
    """The result of one connection."""

    resumed: bool
    response: bytes
    session: ssl.SSLSession | None


class Client:
    """A client that can resume a session."""

    def __init__(self, lab: Lab, version: ssl.TLSVersion, credential: LabCredential | None) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.load_verify_locations(cadata=lab.pki.root.public_bytes(Encoding.DER))
        if credential is not None:
            load_credential(self.context, credential)
        self.context.minimum_version = self.context.maximum_version = version

    def ask(self, running: Running, session: ssl.SSLSession | None, name: str = BRIDGED) -> Attempt:
        """Send one request on a new connection."""
        request = request_bytes(*GOOD, {"Connection": "close"}, None, BRIDGED)
        received = b""
        plain = socket.create_connection(running.address, SOON)
        with self.context.wrap_socket(plain, server_hostname=name, session=session) as tls:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                tls.sendall(request)
                while data := tls.recv(65_536):
                    received += data
            return Attempt(bool(tls.session_reused), received, tls.session)


@pytest.fixture
def clock() -> Clock:  # type: ignore[override]
    return Clock()


def bridge(lab: Lab, tmp_path: Path, clock: Clock, **changes: Any) -> Running:
    policy = changed(lab.policy, tmp_path / "audit.jsonl", clients_resume=True, **changes)
    return Running(lab, policy, clock=clock, check_seconds=3_600)


@pytest.fixture
def running(lab: Lab, tmp_path: Path, clock: Clock) -> Iterator[Running]:
    with bridge(lab, tmp_path, clock) as running:
        yield running


def client_trust(running: Running) -> Any:
    """Return the current trust of the client leg."""
    return running.bridge.generation.publication_tls[0].client_trust


def handshake(client: Client, running: Running) -> ssl.SSLSession:
    """Make a full handshake and return its session."""
    first = client.ask(running, None)
    assert not first.resumed
    assert first.response.startswith(b"HTTP/1.1 200 ")
    assert first.session is not None
    return first.session


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_resumed_and_the_client_recorded(
    lab: Lab, running: Running, version: ssl.TLSVersion
) -> None:
    client = Client(lab, version, lab.computer)
    session: ssl.SSLSession | None = handshake(client, running)
    for _ in range(3):
        again = client.ask(running, session)
        assert again.resumed
        assert again.response.startswith(b"HTTP/1.1 200 ")
        session = again.session
    full, *others = running.audit()
    assert "tls_resumed" not in full
    assert [record["tls_resumed"] for record in others] == [True] * 3
    assert {record["client_name"] for record in running.audit()} == {"pc1.corp.example"}
    assert all(record["client_certificate"] == full["client_certificate"] for record in others)


@pytest.mark.parametrize("version", VERSIONS)
def test_by_default_no_session_is_resumed_or_stored(
    lab: Lab, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    credential, crl = lab.pki.branch("pc7.branch.example")
    trust = bridged_publication(lab.policy).client_trust
    assert trust is not None
    trust = Trust(trust.anchors, trust.intermediates, (*trust.crls, crl))
    with Running(lab, changed(lab.policy, tmp_path / "audit.jsonl", client_trust=trust)) as running:
        client = Client(lab, version, credential)
        session: ssl.SSLSession | None = client.ask(running, None).session
        for _ in range(3):
            again = client.ask(running, session)
            assert not again.resumed
            assert again.response.startswith(b"HTTP/1.1 200 ")
            session = again.session
        assert not any("tls_resumed" in record for record in running.audit())
        assert not client_trust(running)._sent


def revoke(lab: Lab, running: Running, _clock: Clock) -> None:
    trust = client_trust(running)
    serial = lab.computer.certificate.serial_number
    newer = lab.pki.issuing_crl([serial], 1_000, this_update=datetime.now(UTC))
    trust.lists = _renewed(trust, newer)


def _renewed(trust: Any, crl: Any) -> Any:
    from ibcm_bridge.authentication.revocation import renew  # noqa: PLC0415

    renewal = renew(trust.lists, trust.trust, [("", crl)], datetime.now(UTC))
    assert renewal.renewed
    return renewal.lists


def let_the_list_end(_lab: Lab, _running: Running, clock: Clock) -> None:
    clock.ahead = timedelta(days=8)


def let_the_certificate_expire(lab: Lab, running: Running, clock: Clock) -> None:
    clock.ahead = timedelta(days=31)


def take_the_anchor_away(lab: Lab, running: Running, _clock: Clock) -> None:
    trust = client_trust(running)
    trust.trust = dataclasses.replace(trust.trust, anchors=(lab.pki.foreign_root,))


CHANGES: dict[str, Callable[[Lab, Running, Clock], None]] = {
    "certificate-revoked": revoke,
    "revocation-unknown": let_the_list_end,
    "certificate-expired": let_the_certificate_expire,
    "certificate-untrusted": take_the_anchor_away,
}


@pytest.mark.parametrize("reason", CHANGES)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_that_is_no_longer_accepted_cannot_resume(
    lab: Lab,
    tmp_path: Path,
    clock: Clock,
    version: ssl.TLSVersion,
    reason: str,
) -> None:
    with bridge(lab, tmp_path, clock) as running:
        client = Client(lab, version, lab.computer)
        session = handshake(client, running)
        lab.site.clear()
        CHANGES[reason](lab, running, clock)
        assert client.ask(running, session).response == b""
        assert not lab.site.handshakes()
        record = running.wait_for_reason(reason)
        assert (record["event"], record["verdict"]) == ("connection-refused", "deny")
        assert record["rule"] == "clients.trust"
        assert record["tls_resumed"] is True
        assert record["client_certificate"]["subject"].startswith("CN=pc1.corp.example")
        if reason == "certificate-untrusted":
            return  # the OpenSSL context still has the anchor: a full handshake succeeds
        # A second request with the same session gets no response either.
        with contextlib.suppress(ssl.SSLError):  # no session, and the full handshake is refused
            assert client.ask(running, session).response == b""
        assert not lab.site.received()
        assert not lab.site.handshakes()


def test_a_refused_session_is_removed(lab: Lab, running: Running, clock: Clock) -> None:
    # In TLS 1.3 each resumption makes another session, and that one is removed.
    client = Client(lab, ssl.TLSVersion.TLSv1_2, lab.computer)
    session = handshake(client, running)
    clock.ahead = timedelta(days=8)
    assert client.ask(running, session).response == b""
    clock.ahead = timedelta(0)
    again = client.ask(running, session)
    assert not again.resumed
    assert again.response.startswith(b"HTTP/1.1 200 "), "a full handshake is allowed"


@pytest.mark.parametrize("version", VERSIONS)
def test_another_bridge_does_not_resume(
    lab: Lab, running: Running, tmp_path: Path, clock: Clock, version: ssl.TLSVersion
) -> None:
    client = Client(lab, version, lab.computer)
    session = handshake(client, running)
    (tmp_path / "other").mkdir()
    with bridge(lab, tmp_path / "other", clock) as other:
        again = client.ask(other, session)
        assert not again.resumed
        assert again.response.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("version", VERSIONS)
def test_another_publication_does_not_resume(
    lab: Lab, tmp_path: Path, clock: Clock, version: ssl.TLSVersion
) -> None:
    # The other publication refuses this client; a session of the first must not bypass that.
    policy = changed(lab.policy, tmp_path / "audit.jsonl", clients_resume=True)
    publication = bridged_publication(policy)
    other_name = "users.internet.example"
    credential = lab.pki.server(other_name, BRIDGED)
    other = dataclasses.replace(
        publication,
        name=other_name,
        credential=type(publication.credential)(credential.chain_pem(), credential.key_pem()),
        certificate_policy=CertificatePolicy.USER,
    )
    (listener,) = policy.listeners
    listener = dataclasses.replace(
        listener, publications={**listener.publications, other_name: other}
    )
    with Running(lab, dataclasses.replace(policy, listeners=(listener,)), clock=clock) as running:
        client = Client(lab, version, lab.computer)
        client.context.check_hostname = False
        session = handshake(client, running)
        with contextlib.suppress(ssl.SSLError):
            assert client.ask(running, session, other_name).response == b""
        record = running.wait_for_reason("certificate-name")
        assert "tls_resumed" not in record, "the full handshake was refused"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_resumed_client_with_a_certificate_is_not_treated_as_anonymous(
    lab: Lab, tmp_path: Path, clock: Clock, version: ssl.TLSVersion
) -> None:
    optional = {"certificate_policy": CertificatePolicy.OPTIONAL}
    with bridge(lab, tmp_path, clock, **optional) as running:
        client = Client(lab, version, lab.computer)
        assert client.ask(running, handshake(client, running)).resumed
        revoked = Client(lab, version, lab.computer)
        session = handshake(revoked, running)
        revoke(lab, running, clock)
        assert revoked.ask(running, session).response == b""
        running.wait_for_reason("certificate-revoked")
        anonymous = Client(lab, version, None)
        session = handshake(anonymous, running)
        again = anonymous.ask(running, session)
        assert again.response.startswith(b"HTTP/1.1 200 ")
        assert "client_name" not in running.audit()[-1]


@pytest.mark.parametrize("version", VERSIONS)
def test_authorities_that_the_client_sent_are_stored(
    lab: Lab, tmp_path: Path, clock: Clock, version: ssl.TLSVersion
) -> None:
    credential, crl = lab.pki.branch("pc7.branch.example")
    trust = bridged_publication(lab.policy).client_trust
    assert trust is not None
    trust = Trust(trust.anchors, trust.intermediates, (*trust.crls, crl))
    with bridge(lab, tmp_path, clock, client_trust=trust) as running:
        client = Client(lab, version, credential)
        session = handshake(client, running)
        again = client.ask(running, session)
        assert again.resumed
        assert again.response.startswith(b"HTTP/1.1 200 ")
        # Without these authorities the path cannot be built.
        session = again.session
        client_trust(running)._sent.clear()
        assert client.ask(running, session).response == b""
        running.wait_for_reason("certificate-untrusted")
        assert client.ask(running, None).response.startswith(b"HTTP/1.1 200 ")


def test_a_list_in_its_grace_period_is_noted_with_every_request(
    lab: Lab, tmp_path: Path, clock: Clock
) -> None:
    trust = bridged_publication(lab.policy).client_trust
    assert trust is not None
    kind = dataclasses.replace(trust, revocation=Revocation(grace=timedelta(days=3)))
    # Certificates expire by the system clock, lists by this clock.
    with bridge(lab, tmp_path, clock, client_trust=kind) as running:
        client = Client(lab, ssl.TLSVersion.TLSv1_3, lab.computer)
        clock.ahead = timedelta(days=8)
        held_leg = running.bridge.generation.publication_tls[0].site_system_trust
        held_leg.trust = dataclasses.replace(held_leg.trust, revocation=kind.revocation)
        session = handshake(client, running)
        assert client.ask(running, session).resumed
        assert all("in its grace" in record["note"] for record in running.audit())
        clock.ahead = timedelta(days=11)
        with contextlib.suppress(ssl.SSLError):
            client.ask(running, None)
        running.wait_for_reason("revocation-unknown")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_is_authenticated_once_in_each_handshake(
    lab: Lab, running: Running, version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def count(*arguments: Any) -> Any:
        seen.append(authenticate(*arguments))
        return seen[-1]

    monkeypatch.setattr(client_authentication, "authenticate", count)
    client = Client(lab, version, lab.computer)
    session = handshake(client, running)
    assert len(seen) == 1
    assert client.ask(running, session).resumed
    assert len(seen) == 2


def test_a_client_is_not_authenticated_before_the_handshake_is_finished(
    running: Running,
) -> None:
    """A certificate is not secret: the client must first prove that it has the key."""
    found: list[tuple[Any, Any]] = []

    def observe(data: Any) -> None:
        record = running.bridge.connections.of(data.context.client)
        found.append((record.accepted, record.authenticated))
        established(data)
        found.append((record.accepted, record.authenticated))

    established = running.hook("tls_established_client", 0, observe)
    running.assert_serves()
    (accepted, before), (_, after) = found
    assert accepted.name == "pc1.corp.example"
    assert before is None
    assert after is accepted
