"""Which publication of a newer policy judges a connected client.

The same name can be at several ports, such as one with certificates and one without. A connection
keeps its roles, so only a publication that has them may accept its client.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mitmproxy.connection import Client, ConnectionState

from ibcm_bridge.addons.connections import Capacity, ConnectionRecord, Connections
from ibcm_bridge.addons.hooks.client_judgement import ClientJudgement
from ibcm_bridge.addons.stages import ClientDue
from ibcm_bridge.addons.tls.current_trust import WITHOUT_END, Accepted
from ibcm_bridge.authentication.certificate import CertificateFacts, certificate_facts
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.policy.publications import BridgePublication, Listener
from ibcm_bridge.policy.roles import CertificatePolicy
from ibcm_bridge.policy_file import load_policy
from tests.policy_samples import SHIPPED

NAME = "bridge.internet.example"
HERE, THERE, ELSEWHERE = (("127.0.0.1", port) for port in (8531, 8530, 443))
END = Accepted((), WITHOUT_END.until.replace(year=2030))
REVOKED = Deny(Reason.CERTIFICATE_REVOKED, rules.CLIENTS_TRUST, "revoked")


@pytest.fixture(scope="module")
def shipped(directory: Path) -> BridgePublication:
    file = directory / "bridge.yaml"
    file.write_text(SHIPPED)
    listener = load_policy(file).listeners[0]
    assert isinstance(listener, Listener)
    publication = listener.publications[NAME]
    assert isinstance(publication, BridgePublication)
    return publication


@pytest.fixture
def required(shipped: BridgePublication) -> BridgePublication:
    return shipped


@pytest.fixture
def open_to_all(shipped: BridgePublication) -> BridgePublication:
    """The same roles, without certificates."""
    return dataclasses.replace(
        shipped, client_trust=None, certificate_policy=CertificatePolicy.NONE
    )


@pytest.fixture(scope="module")
def certificate(pki: LabPki) -> CertificateFacts:
    return certificate_facts(pki.computer("pc1.corp.example").certificate)


def of_one_role(publication: BridgePublication, directory: str) -> BridgePublication:
    kept = {directory: publication.directories[directory]}
    return dataclasses.replace(publication, directories=kept)


class Trust:
    """Judges every certificate in the same way."""

    def __init__(self, judged: Accepted | Deny) -> None:
        self.judged = judged

    def verify_again(self, *_path: object) -> Accepted | Deny:
        return self.judged


class Tls:
    """As `PublicationTls`."""

    replaced = False

    def __init__(self, publication: BridgePublication, judged: Accepted | Deny) -> None:
        self.publication = publication
        self.client_trust = None if publication.client_trust is None else Trust(judged)


class Leg:
    """As `LegConnection`."""

    @staticmethod
    def sent_path(_authorities: object) -> tuple[object, object]:
        return None, ()


class Published:
    """As a generation. `judged`: what a trust finds, by the address of its publication."""

    def __init__(
        self,
        publications: Mapping[Any, BridgePublication],
        judged: Mapping[Any, Accepted | Deny] | None = None,
    ) -> None:
        self.listeners = {
            address: Listener(address, {found.name: found})
            for address, found in publications.items()
        }
        self.publication_tls = [
            Tls(found, (judged or {}).get(address, END)) for address, found in publications.items()
        ]


def judged_by(
    policy: Published,
    before: BridgePublication,
    certificate: CertificateFacts | None = None,
) -> Reason | None:
    """Judge a client that is connected to HERE. Return why it is refused."""
    client = Client(
        peername=("192.0.2.1", 50_000),
        sockname=HERE,
        timestamp_start=1.0,
        state=ConnectionState.OPEN,
    )
    record = ConnectionRecord(client, Listener(HERE, {NAME: before}), capacity=Capacity(8, 8))
    record.publication, record.certificate = before, certificate
    record.tls_connection = Leg()  # type: ignore[assignment]
    judgement = ClientJudgement(Connections(record.capacity), lambda _: None, lambda: None)  # type: ignore[arg-type, return-value]
    judgement.use(policy)  # type: ignore[arg-type]
    found = judgement.client_due(ClientDue(record))
    assert record.due == isinstance(found, Deny)
    return found.reason if isinstance(found, Deny) else None


def test_a_moved_publication_judges_its_clients(
    required: BridgePublication, open_to_all: BridgePublication, certificate: CertificateFacts
) -> None:
    """One port of the name moves. The other one, which is the first, is not that of the client."""
    scans = of_one_role(open_to_all, "sms_dp_smspkg$")
    moved = Published({ELSEWHERE: required, THERE: scans})
    assert judged_by(moved, scans) is None
    only_with_certificates = Published({ELSEWHERE: required})
    assert judged_by(only_with_certificates, scans) is Reason.CERTIFICATE_MISSING
    assert judged_by(only_with_certificates, required, certificate) is None


def test_another_port_without_the_roles_accepts_nobody(
    required: BridgePublication, open_to_all: BridgePublication, certificate: CertificateFacts
) -> None:
    """Its own port is gone, or refuses the client. Its connection would keep all its roles."""
    scans = of_one_role(open_to_all, "sms_dp_smspkg$")
    assert judged_by(Published({ELSEWHERE: scans}), required, certificate) is Reason.UNKNOWN_NAME
    assert judged_by(Published({ELSEWHERE: scans}), open_to_all) is Reason.UNKNOWN_NAME
    both = Published({ELSEWHERE: scans, HERE: required}, {HERE: REVOKED})
    assert judged_by(both, required, certificate) is Reason.CERTIFICATE_REVOKED
    assert judged_by(both, open_to_all) is Reason.CERTIFICATE_MISSING


def test_its_own_port_alone_judges_while_it_has_the_roles(
    required: BridgePublication, open_to_all: BridgePublication, certificate: CertificateFacts
) -> None:
    both = Published({ELSEWHERE: open_to_all, HERE: required}, {HERE: REVOKED})
    assert judged_by(both, required, certificate) is Reason.CERTIFICATE_REVOKED
    assert judged_by(both, open_to_all) is Reason.CERTIFICATE_MISSING
    both = Published({ELSEWHERE: required, HERE: open_to_all}, {ELSEWHERE: REVOKED})
    assert judged_by(both, required, certificate) is None
    assert judged_by(both, open_to_all) is None


@pytest.mark.parametrize("address", [HERE, THERE])
def test_a_client_goes_on_if_certificates_are_no_longer_requested(
    required: BridgePublication,
    open_to_all: BridgePublication,
    certificate: CertificateFacts,
    address: Any,
) -> None:
    """Only if all roles of its connection are open to all: nothing judges its certificate later."""
    assert judged_by(Published({address: open_to_all}), required, certificate) is None
    fewer = of_one_role(open_to_all, "sms_dp_smspkg$")
    reason = Reason.CERTIFICATE_UNTRUSTED if address == HERE else Reason.UNKNOWN_NAME
    assert judged_by(Published({address: fewer}), required, certificate) is reason


def test_a_revoked_client_does_not_go_on_as_one_without_a_certificate(
    required: BridgePublication, open_to_all: BridgePublication, certificate: CertificateFacts
) -> None:
    moved = {THERE: required, ELSEWHERE: open_to_all}
    for order in (moved, dict(reversed(moved.items()))):
        refused = Published(order, {THERE: REVOKED})
        assert judged_by(refused, required, certificate) is Reason.CERTIFICATE_REVOKED
        assert judged_by(Published(order), required, certificate) is None
        assert judged_by(Published(order), open_to_all) is None


def test_one_of_several_ports_with_the_roles_is_enough(
    required: BridgePublication, certificate: CertificateFacts
) -> None:
    second = dataclasses.replace(required)
    policy = Published({THERE: required, ELSEWHERE: second}, {THERE: REVOKED})
    assert judged_by(policy, required, certificate) is None


def test_its_own_port_judges_by_certificates_with_fewer_roles(
    required: BridgePublication, certificate: CertificateFacts
) -> None:
    fewer = of_one_role(required, "sms_mp")
    assert judged_by(Published({HERE: fewer}), required, certificate) is None
    refused = Published({HERE: fewer}, {HERE: REVOKED})
    assert judged_by(refused, required, certificate) is Reason.CERTIFICATE_REVOKED
