"""The verdicts of both legs on certification paths that verifiers have judged wrongly.

Each is presented in a handshake with the leg's own context and callbacks, in memory.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from OpenSSL import SSL, crypto

from ibcm_bridge.addons.clock import utc_now
from ibcm_bridge.addons.hooks.client_authentication import CALLBACKS
from ibcm_bridge.addons.tls.current_trust import CurrentTrust
from ibcm_bridge.addons.tls.publication_tls import PublicationTls
from ibcm_bridge.addons.tls.site_system_leg import (
    _state_of,
    expect_name,
    site_system_leg_context,
    verification_failure,
)
from ibcm_bridge.authentication.client import AuthenticatedClient
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.tls_settings import TlsSettings
from tests.addons.stand_ins.driver import open_connection
from tests.addons.stand_ins.lab import BRIDGED, Lab, bridged_publication
from tests.addons.tls.certificate_cases import CASES, SKIPPED, Presented
from tests.addons.tls.made_certificates import NAME
from tests.addons.tls.test_trust_rules import handshake

pytestmark = [
    # The peer needs objects of pyOpenSSL: `cryptography` does not load some of these certificates.
    pytest.mark.filterwarnings("ignore:Passing pyOpenSSL X509:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive"),
]


def presenting(path: Presented, method: int) -> SSL.Connection:
    """Return a peer that presents the path, whatever it is."""
    context = SSL.Context(method)
    context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    context.use_certificate(crypto.load_certificate(crypto.FILETYPE_ASN1, path.leaf))
    for sent in path.sent:
        context.add_extra_chain_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, sent))
    context.use_privatekey(path.key)
    return SSL.Connection(context, None)


def by_client_leg(lab: Lab, path: Presented) -> Deny | None:
    """Return the refusal of the client leg; None if it accepts the client."""
    _, record = open_connection(lab, BRIDGED)
    publication = replace(bridged_publication(lab.policy), client_trust=path.trust)
    record.tls = PublicationTls(publication, CALLBACKS, utc_now)
    server = SSL.Connection(record.tls.client_context, None)
    server.set_app_data(record)
    handshake(presenting(path, SSL.TLS_CLIENT_METHOD), server)
    if record.handshake_refusal is None:
        assert isinstance(record.accepted, AuthenticatedClient)
    assert (server.get_peer_certificate() is not None) is (record.handshake_refusal is None)
    return record.handshake_refusal


def by_site_system_leg(lab: Lab, path: Presented) -> Deny | None:
    """Return the refusal of the site-system leg; None if it accepts the site system."""
    credential = bridged_publication(lab.policy).site_system_credential
    context = site_system_leg_context(credential, CurrentTrust(path.trust), TlsSettings())
    leg = SSL.Connection(context, None)
    expect_name(leg, NAME, NAME)
    handshake(leg, presenting(path, SSL.TLS_SERVER_METHOD))
    refusal = _state_of(leg).refusal
    assert (verification_failure(leg) is None) is (refusal is None)
    return refusal


LEGS = {"client": by_client_leg, "site system": by_site_system_leg}
VERDICTS = [
    (case, leg, verdict)
    for case, found in CASES.items()
    for leg, verdict in (("client", found.client), ("site system", found.site_system))
    if verdict != SKIPPED
]


@pytest.mark.parametrize(("case", "leg", "verdict"), VERDICTS)
def test_a_path_has_its_verdict(lab: Lab, case: str, leg: str, verdict: Reason | None) -> None:
    refusal = LEGS[leg](lab, CASES[case].presented)
    assert (None if refusal is None else refusal.reason) is verdict, refusal
