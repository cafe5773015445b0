"""Connected clients are judged again after a newer list or policy, and at the end of a certificate.

A client that is no longer accepted gets no further request through; another goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.addons.hooks import client_judgement
from ibcm_bridge.addons.policy_generation import Generation
from ibcm_bridge.addons.tls.current_trust import ClientTrust
from ibcm_bridge.authentication.revocation import renew
from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import ConnectionEnded, LabClient, Response, request_bytes
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.roles import CertificatePolicy
from ibcm_bridge.policy.trust import Trust
from tests.addons.stand_ins.lab import BRIDGED, GOOD, Lab, bridged_publication, changed, message
from tests.addons.stand_ins.running import SOON, Running, outcome_of, wait_for
from tests.addons.tls.test_resumption import Client, Clock, handshake

DAY = timedelta(days=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def running(lab: Lab, tmp_path: Path, clock: Clock) -> Iterator[Running]:
    policy = changed(lab.policy, tmp_path / "audit.jsonl", clients_resume=True)
    with Running(lab, policy, clock=clock, check_seconds=3_600) as running:
        # Only the clock of the clients' certificates changes.
        running.bridge.generation.publication_tls[0].site_system_trust.clock = lambda: datetime.now(
            UTC
        )
        yield running


@pytest.fixture
def only_before_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections without a request are not judged."""
    monkeypatch.setattr(client_judgement, "SECONDS", 3_600.0)


def ask(client: LabClient) -> Response:
    reply = outcome_of(client, *GOOD)
    assert isinstance(reply, Response), reply
    return reply


def trust_of(running: Running) -> ClientTrust:
    trust = running.bridge.generation.publication_tls[0].client_trust
    assert trust is not None
    return trust


def revoked(lab: Lab, running: Running, *credentials: LabCredential) -> Any:
    """Return newer lists, which revoke these certificates."""
    serials = [credential.certificate.serial_number for credential in credentials]
    crl = lab.pki.issuing_crl(serials, 1_000, this_update=datetime.now(UTC))
    trust = trust_of(running)
    return renew(trust.lists, trust.trust, [("", crl)], datetime.now(UTC)).lists


def revoke(lab: Lab, running: Running, *credentials: LabCredential) -> None:
    lists = revoked(lab, running, *credentials)
    running._loop.call_soon_threadsafe(trust_of(running).renew, lists)
    assert wait_for(lambda: trust_of(running).lists is lists)


def assert_closed(client: LabClient) -> None:
    """Assert that the bridge has closed the connection."""
    assert client.connect().recv(1) == b""


def assert_judged(running: Running) -> None:
    """Assert that all connected clients have been judged again."""
    assert wait_for(lambda: not any(record.due for record in running.bridge.connections))


def test_an_idle_client_that_is_revoked_ends_and_another_goes_on(
    lab: Lab, running: Running
) -> None:
    other = lab.pki.computer("pc2.corp.example")
    with running.client() as gone, running.client(credential=other) as kept:
        assert [ask(gone).status, ask(kept).status] == [200, 200]
        lab.site.clear()
        revoke(lab, running, lab.computer)
        assert_closed(gone)
        record = running.wait_for_reason("certificate-revoked")
        assert record["event"] == "connection-refused"
        assert record["rule"] == "clients.trust"
        assert record["client_name"] == "pc1.corp.example"
        assert ask(kept).status == 200
    assert len(lab.site.received()) == 1
    assert running.reasons().count("certificate-revoked") == 1


@pytest.mark.usefixtures("only_before_requests")
def test_a_revoked_client_gets_no_further_request_through(lab: Lab, running: Running) -> None:
    other = lab.pki.computer("pc2.corp.example")
    with running.client() as gone, running.client(credential=other) as kept:
        assert [ask(gone).status, ask(kept).status] == [200, 200]
        lab.site.clear()
        revoke(lab, running, lab.computer)
        refused = ask(gone)
        assert refused.status == 403
        assert b"has been revoked" in refused.body
        assert isinstance(outcome_of(gone, *GOOD), ConnectionEnded)
        assert not lab.site.received()
        assert [ask(kept).status for _ in range(2)] == [200, 200]
    record = running.wait_for_reason("certificate-revoked")
    assert (record["event"], record["target"]) == ("request", GOOD[1])


@pytest.mark.usefixtures("only_before_requests")
def test_a_client_is_judged_once_after_a_change(
    lab: Lab, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[object] = []
    again = ClientTrust.verify_again

    def count(*arguments: Any) -> Any:
        judged.append(arguments)
        return again(*arguments)

    monkeypatch.setattr(ClientTrust, "verify_again", count)
    with running.client() as client:
        assert ask(client).status == 200
        assert not judged, "the handshake has judged it"
        revoke(lab, running)
        assert [ask(client).status for _ in range(3)] == [200] * 3
    assert len(judged) == 1


def test_a_response_under_way_ends_first(lab: Lab, running: Running) -> None:
    def revoke_now(known: Any) -> Any:
        trust_of(running).renew(lists)
        return known

    lists = revoked(lab, running, lab.computer)
    running.add_hook("reply_collected", revoke_now, first=True)
    with running.client() as client:
        reply = client.request("CCM_POST", "/ccm_system/request", **message())
        assert reply.status == 200
        assert_closed(client)
    running.wait_for_reason("certificate-revoked")
    allowed, _ = running.audit()
    assert (allowed["verdict"], allowed["status"]) == ("allow", 200)


def test_a_request_whose_body_came_before_the_list_is_not_sent(lab: Lab, running: Running) -> None:
    def revoke_now(known: Any) -> Any:
        trust_of(running).renew(lists)
        return known

    lists = revoked(lab, running, lab.computer)
    running.add_hook("body_read", revoke_now, first=True)
    lab.site.clear()
    with running.client() as client:
        assert client.request("CCM_POST", "/ccm_system/request", **message()).status == 403
    assert not lab.site.received()
    assert running.wait_for_reason("certificate-revoked")["event"] == "request"


@pytest.mark.parametrize(
    ("later", "reason"),
    [(timedelta(0), None), (8 * DAY, "revocation-unknown"), (31 * DAY, "certificate-expired")],
    ids=["nothing", "list", "certificate"],
)
def test_the_end_of_a_certificate_or_of_its_list_ends_an_idle_connection(
    running: Running, clock: Clock, later: timedelta, reason: str | None
) -> None:
    with running.client() as client:
        assert ask(client).status == 200
        clock.ahead = later
        if reason is None:
            assert ask(client).status == 200
            return
        assert_closed(client)
    assert running.wait_for_reason(reason)["event"] == "connection-refused"


def of_other_authority(lab: Lab, policy: Policy) -> Policy:
    trust = bridged_publication(policy).client_trust
    assert trust is not None
    return with_changes(
        policy, client_trust=dataclasses.replace(trust, anchors=(lab.pki.foreign_root,))
    )


def with_changes(policy: Policy, **changes: Any) -> Policy:
    assert policy.audit_file is not None
    return changed(policy, policy.audit_file, **changes)


def for_users(_lab: Lab, policy: Policy) -> Policy:
    return with_changes(policy, certificate_policy=CertificatePolicy.USER)


def without_certificates(_lab: Lab, policy: Policy) -> Policy:
    return with_changes(policy, certificate_policy=CertificatePolicy.NONE, client_trust=None)


def without_certificates_and_a_role(lab: Lab, policy: Policy) -> Policy:
    directories = dict(bridged_publication(policy).directories)
    del directories["sms_mp"]
    return with_changes(without_certificates(lab, policy), directories=directories)


def without_the_publication(_lab: Lab, policy: Policy) -> Policy:
    (listener,) = policy.listeners
    others = {name: found for name, found in listener.publications.items() if name != BRIDGED}
    assert others
    return dataclasses.replace(
        policy, listeners=(dataclasses.replace(listener, publications=others),)
    )


def at_another_address(_lab: Lab, policy: Policy) -> Policy:
    (listener,) = policy.listeners
    moved = dataclasses.replace(listener, address=("127.0.0.1", free_port()))
    return dataclasses.replace(policy, listeners=(moved,))


def with_more_requests(_lab: Lab, policy: Policy) -> Policy:
    return dataclasses.replace(
        policy, limits=dataclasses.replace(policy.limits, connection_requests=7)
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (of_other_authority, "certificate-untrusted"),
        (for_users, "certificate-name"),
        (without_certificates, None),
        (without_certificates_and_a_role, "certificate-untrusted"),
        (without_the_publication, "unknown-name"),
        (with_more_requests, None),
        (at_another_address, None),
    ],
)
def test_a_newer_policy_judges_connected_clients(
    lab: Lab, running: Running, change: Callable[[Lab, Policy], Policy], reason: str | None
) -> None:
    with running.client() as client:
        assert ask(client).status == 200
        assert running.reload(lambda: change(lab, running.policy)) == ()
        if reason is None:
            assert_judged(running)
            assert ask(client).status == 200
            return
        assert_closed(client)
    assert running.wait_for_reason(reason)["event"] == "connection-refused"


@pytest.mark.usefixtures("only_before_requests")
@pytest.mark.parametrize(
    ("change", "status"), [(for_users, 403), (with_more_requests, 200)], ids=["refused", "allowed"]
)
def test_a_policy_that_comes_during_a_handshake_judges_the_client(
    lab: Lab, running: Running, change: Callable[[Lab, Policy], Policy], status: int
) -> None:
    """The certificate is accepted by the policy of the connection, after a newer is in use."""
    shared = running.bridge.shared

    def start_and_reload(data: Any) -> None:
        start(data)
        running.hook("tls_start_client", 0, start)
        running.replaced.append(running.bridge.generation)
        running.bridge.use(Generation(change(lab, running.policy), shared))

    start = running.hook("tls_start_client", 0, start_and_reload)
    with running.client() as client:
        assert ask(client).status == status


@pytest.mark.parametrize("resumed", [False, True])
def test_authorities_that_the_client_sent_are_used_again(
    lab: Lab, tmp_path: Path, resumed: bool
) -> None:
    credential, crl = lab.pki.branch("pc7.branch.example")
    trust = bridged_publication(lab.policy).client_trust
    assert trust is not None
    trust = Trust(trust.anchors, trust.intermediates, (*trust.crls, crl))
    audit = tmp_path / "audit.jsonl"
    policy = changed(lab.policy, audit, client_trust=trust, clients_resume=resumed)
    with Running(lab, policy, check_seconds=3_600) as running:
        client = Client(lab, ssl.TLSVersion.TLSv1_2, credential)
        session = handshake(client, running) if resumed else None
        plain = socket.create_connection(running.address, SOON)
        with client.context.wrap_socket(plain, server_hostname=BRIDGED, session=session) as tls:
            for _ in range(2):
                tls.sendall(request_bytes(*GOOD, {}, None, BRIDGED))
                assert tls.recv(65_536).startswith(b"HTTP/1.1 200 ")
                trust_of(running)._sent.clear()
                revoke(lab, running)
                assert_judged(running)
            assert bool(tls.session_reused) is resumed
            revoke(lab, running, credential)  # by another authority: its own list has it not
            tls.sendall(request_bytes(*GOOD, {}, None, BRIDGED))
            assert tls.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_a_client_without_a_certificate_goes_on_while_the_policy_allows_it(
    lab: Lab, tmp_path: Path
) -> None:
    optional = changed(
        lab.policy, tmp_path / "audit.jsonl", certificate_policy=CertificatePolicy.OPTIONAL
    )
    required = changed(lab.policy, tmp_path / "audit.jsonl")
    with Running(lab, optional, check_seconds=3_600) as running, running.anonymous() as client:
        assert ask(client).status == 200
        assert running.reload(lambda: optional) == ()
        assert ask(client).status == 200
        assert running.reload(lambda: required) == ()
        assert_closed(client)
        running.wait_for_reason("certificate-missing")


def test_a_defect_ends_only_the_connection_that_is_judged(
    lab: Lab, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("made to fail")

    with running.client() as client:
        assert ask(client).status == 200
        with monkeypatch.context() as patch:
            patch.setattr(ClientTrust, "verify_again", fail)
            revoke(lab, running)
            assert_closed(client)
    running.assert_serves()
    with running.client() as client:
        assert ask(client).status == 200
        revoke(lab, running, lab.computer)
        assert_closed(client)


@pytest.mark.usefixtures("only_before_requests")
def test_a_defect_before_a_request_refuses_it(
    lab: Lab, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("made to fail")

    with running.client() as client:
        assert ask(client).status == 200
        lab.site.clear()
        monkeypatch.setattr(ClientTrust, "verify_again", fail)
        revoke(lab, running)
        assert ask(client).status == 500
    assert not lab.site.received()
    running.wait_for_reason("bridge-defect")


def test_many_clients_are_judged_in_slices(
    lab: Lab, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each slice has one client here. Others are served in between, and all are judged."""
    monkeypatch.setattr(client_judgement, "SLICE_SECONDS", 0.0)
    other = lab.pki.computer("pc2.corp.example")
    with contextlib.ExitStack() as opened:
        idle = [opened.enter_context(running.client()) for _ in range(60)]
        kept = opened.enter_context(running.client(credential=other))
        assert [ask(client).status for client in (*idle, kept)] == [200] * 61
        revoke(lab, running, lab.computer)
        assert ask(kept).status == 200
        for client in idle:
            assert_closed(client)
        assert ask(kept).status == 200
    assert running.reasons().count("certificate-revoked") == 60
