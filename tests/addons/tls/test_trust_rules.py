"""The rule by which a leg refuses a certificate: that of the leg's own trust."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from OpenSSL import SSL

from ibcm_bridge.addons.tls import verify_callback
from ibcm_bridge.addons.tls.client_leg import Callbacks, client_leg_context
from ibcm_bridge.addons.tls.current_trust import CurrentTrust
from ibcm_bridge.addons.tls.site_system_leg import _state_of, site_system_leg_context
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.policy import trust as policy_trust
from ibcm_bridge.policy.publications import BridgePublication, UnlistedHeaders
from ibcm_bridge.policy.roles import CertificatePolicy
from ibcm_bridge.policy.tls_settings import DEFAULT_TLS
from ibcm_bridge.policy.trust import Trust

NAME = "mp01.corp.example"


@pytest.fixture(scope="module")
def pki() -> LabPki:
    return LabPki.make(now=datetime.now(UTC))


def handshake(client: SSL.Connection, server: SSL.Connection) -> None:
    """Run both sides of a handshake until it succeeds or fails."""
    client.set_connect_state()
    server.set_accept_state()
    for _ in range(8):
        for side, other in ((client, server), (server, client)):
            with contextlib.suppress(SSL.Error):
                side.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(side.bio_read(65_535))


def other_side(method: int, credential: LabCredential) -> SSL.Connection:
    context = SSL.Context(method)
    context.use_certificate(credential.certificate)
    for issuer in credential.issuers:
        context.add_extra_chain_cert(issuer)
    context.use_privatekey(credential.key)
    return SSL.Connection(context, None)


def presented(credential: LabCredential) -> policy_trust.Credential:
    return policy_trust.Credential(credential.chain_pem(), credential.key_pem())


def site_system_refusal(pki: LabPki, trust: Trust, credential: LabCredential) -> Deny | None:
    """Return the refusal of the site-system leg for this certificate of a site system."""
    context = site_system_leg_context(
        presented(pki.bridge_client(NAME)), CurrentTrust(trust), DEFAULT_TLS
    )
    leg = SSL.Connection(context, None)
    handshake(leg, other_side(SSL.TLS_SERVER_METHOD, credential))
    return _state_of(leg).refusal


def client_refusal(pki: LabPki, trust: Trust, credential: LabCredential) -> Deny | None:
    """Return the refusal of the client leg for this certificate of a client."""
    noted: list[Deny | None] = []
    current = CurrentTrust(trust)

    def judge(_connection: Any, path: Any, _facts: Any) -> Deny | None:
        judged = current.judge(path)
        return judged if isinstance(judged, Deny) else None

    server = presented(pki.server(NAME))
    publication = BridgePublication(
        NAME,
        443,
        server,
        trust,
        CertificatePolicy.COMPUTER,
        {},
        server,
        trust,
        UnlistedHeaders.DROP,
        request_head=8192,
    )
    callbacks = Callbacks(
        judge,
        lambda _connection, _facts, refusal: noted.append(refusal),
        lambda _connection, _alert: None,
    )
    context = client_leg_context(publication, callbacks)
    handshake(other_side(SSL.TLS_CLIENT_METHOD, credential), SSL.Connection(context, None))
    return next((refusal for refusal in noted if refusal is not None), None)


SITE_SYSTEMS = (site_system_refusal, rules.SITE_SYSTEM_TRUST, rules.SITE_SYSTEM)
CLIENTS = (client_refusal, rules.CLIENTS_TRUST, rules.CLIENTS)
SIDES = pytest.mark.parametrize(
    ("refusal", "of_trust", "of_certificate"),
    [SITE_SYSTEMS, CLIENTS],
    ids=["site-system", "client"],
)


def made(pki: LabPki, side: Callable[..., object]) -> tuple[LabCredential, LabCredential]:
    """Return a valid certificate for one side, and one of an untrusted authority."""
    if side is site_system_refusal:
        return pki.server(NAME, NAME), pki.foreign_server(NAME, NAME)
    return pki.computer(NAME), pki.foreign_computer(NAME)


@SIDES
def test_each_leg_refuses_by_the_rule_of_its_trust(
    pki: LabPki, refusal: Callable[..., Deny | None], of_trust: str, of_certificate: str
) -> None:
    trust = Trust((pki.root,), (pki.issuing,), pki.crls(), rule=rules.Rule(of_trust))
    good, foreign = made(pki, refusal)
    assert refusal(pki, trust, good) is None
    # OpenSSL finds no path; a judge finds no list.
    untrusted = refusal(pki, trust, foreign)
    assert untrusted is not None
    assert (untrusted.reason, untrusted.rule) == (Reason.CERTIFICATE_UNTRUSTED, of_trust)
    unlisted = Trust((pki.root,), (pki.issuing,), (), rule=rules.Rule(of_trust))
    unknown = refusal(pki, unlisted, good)
    assert unknown is not None
    assert (unknown.reason, unknown.rule) == (Reason.REVOCATION_UNKNOWN, of_trust)


@SIDES
def test_an_unreadable_certificate_is_refused_by_the_rule_of_its_leg(
    pki: LabPki,
    monkeypatch: pytest.MonkeyPatch,
    refusal: Callable[..., Deny | None],
    of_trust: str,
    of_certificate: str,
) -> None:
    def unreadable(_store_context: object) -> None:
        raise ValueError

    trust = Trust((pki.root,), (pki.issuing,), pki.crls(), rule=rules.Rule(of_trust))
    credential, _ = made(pki, refusal)
    monkeypatch.setattr(verify_callback, "end_entity_of", unreadable)
    denial = refusal(pki, trust, credential)
    assert denial is not None
    assert (denial.reason, denial.rule) == (Reason.CERTIFICATE_INVALID, of_certificate)


def test_a_policy_file_gives_each_trust_its_rule(lab: Any) -> None:
    bridges = [
        publication
        for listener in lab.policy.listeners
        for publication in listener.publications.values()
        if isinstance(publication, BridgePublication)
    ]
    assert bridges
    for publication in bridges:
        assert publication.client_trust is not None
        assert publication.client_trust.rule == "clients.trust"
        assert publication.site_system_trust.rule == "site_system.trust"
