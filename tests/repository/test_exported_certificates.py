"""Client certificates, with the configuration that is exported to Apache."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from ibcm_bridge.conformance.kit import Client, Kit, now
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.export.proxies import PROXIES
from ibcm_bridge.lab.cases.policy import demo_policy
from ibcm_bridge.lab.cases.requests import plain
from ibcm_bridge.lab.pki.authority_files import read_authorities
from ibcm_bridge.lab.pki.certificates import Authority, LabCredential, current, sign
from ibcm_bridge.lab.protocol.client import Response
from tests.needs import demand
from tests.repository.exported import NEEDED, subject_behind


def without_names(kit: Kit) -> LabCredential:
    """Issue a certificate with an empty subject, and without extKeyUsage."""
    issuing = read_authorities(kit.folder / "authorities", now()).authority
    key = ec.generate_private_key(ec.SECP256R1())
    authority = Authority(issuing.certificate, issuing.key)
    certificate = sign(key, x509.Name([]), authority, current(now()), ())
    return LabCredential(certificate, key, (issuing.certificate,))


def answer(subject: Subject, client: Client) -> int:
    make = plain("GET", "/SelfUpdate/wuident.cab?1011091232")
    exchange = subject.send(make, to="software-update-point", client=client)
    assert isinstance(exchange.result, Response), (client, exchange.result)
    return exchange.result.status


def test_an_optional_certificate_has_the_purpose_or_is_absent() -> None:
    apache = PROXIES["apache"]
    demand(*NEEDED[apache.name])
    none = "      certificate: none\n    site_systems:"
    optional = (
        "      certificate: optional\n      trust:\n        anchors: [pki/root.pem]\n"
        "        issuing: [pki/issuing.pem]\n        crls: [pki/root.crl, pki/issuing.crl]\n"
        "    site_systems:"
    )
    assert none in demo_policy()
    with subject_behind(apache, demo_policy().replace(none, optional)) as subject:
        for client, status in (
            (Client.NONE, 200),
            (Client.COMPUTER, 200),
            (Client.NO_PURPOSE, 403),
        ):
            assert answer(subject, client) == status, client
        kit: Any = subject._kit
        kit.clients[Client.NO_PURPOSE] = without_names(kit)
        assert answer(subject, Client.NO_PURPOSE) == 403
