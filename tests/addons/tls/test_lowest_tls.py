"""TLS 1.2 is the minimum on both legs (RFC 8996), whatever else OpenSSL would allow."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
from mitmproxy.proxy.layers.tls import parse_client_hello
from OpenSSL import SSL

from ibcm_bridge.addons.hooks.client_authentication import CALLBACKS
from ibcm_bridge.addons.tls.client_leg import client_leg_context
from ibcm_bridge.addons.tls.current_trust import CurrentTrust
from ibcm_bridge.addons.tls.site_system_leg import site_system_leg_context
from ibcm_bridge.policy.roles import CertificatePolicy
from ibcm_bridge.policy.tls_settings import TlsSettings, TlsVersion
from tests.addons.stand_ins.lab import Lab, bridged_publication

EVERYTHING = b"ALL:@SECLEVEL=0"
"""Otherwise the cipher suites and the security level exclude TLS 1.1 too."""

NAMES = {
    SSL.TLS1_VERSION: "TLSv1",
    SSL.TLS1_1_VERSION: "TLSv1.1",
    SSL.TLS1_2_VERSION: "TLSv1.2",
    SSL.TLS1_3_VERSION: "TLSv1.3",
}


def client_leg(lab: Lab, settings: TlsSettings) -> SSL.Context:
    publication = dataclasses.replace(
        bridged_publication(lab.policy),
        certificate_policy=CertificatePolicy.NONE,
        client_trust=None,
        client_tls=settings,
    )
    context = client_leg_context(publication, CALLBACKS)
    # The callback for alerts needs the record of a connection.
    context.set_info_callback(lambda *_: None)
    return context


def site_system_leg(lab: Lab, settings: TlsSettings) -> SSL.Context:
    publication = bridged_publication(lab.policy)
    trust = CurrentTrust(publication.site_system_trust)
    return site_system_leg_context(publication.site_system_credential, trust, settings)


def peer(lab: Lab, method: int, version: int) -> SSL.Context:
    """The other side, which has one version only."""
    context = SSL.Context(method)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    context.set_cipher_list(EVERYTHING)
    made = lab.pki.server("mp01.corp.example")
    context.use_certificate(made.certificate)
    for issuer in made.issuers:
        context.add_extra_chain_cert(issuer)
    context.use_privatekey(made.key)
    return context


def negotiated(client: SSL.Context, server: SSL.Context) -> str | None:
    """The version that both sides agree on; None if the handshake fails."""
    sides = SSL.Connection(client, None), SSL.Connection(server, None)
    sides[0].set_connect_state()
    sides[1].set_accept_state()
    done = [False, False]
    for _ in range(8):
        for index, side in enumerate(sides):
            try:
                side.do_handshake()
                done[index] = True
            except SSL.WantReadError:
                pass
            except SSL.Error:
                return None
            with contextlib.suppress(SSL.WantReadError):
                sides[1 - index].bio_write(side.bio_read(65_535))
    return sides[0].get_protocol_version_name() if all(done) else None


@pytest.mark.parametrize("version", NAMES)
@pytest.mark.parametrize("highest", TlsVersion)
@pytest.mark.parametrize("leg", [client_leg, site_system_leg])
def test_each_leg_has_its_lowest_and_highest_version(
    lab: Lab, leg: object, highest: TlsVersion, version: int
) -> None:
    assert callable(leg)
    context = leg(lab, TlsSettings(highest))
    context.set_cipher_list(EVERYTHING)
    if leg is client_leg:
        found = negotiated(peer(lab, SSL.TLS_CLIENT_METHOD, version), context)
    else:
        found = negotiated(context, peer(lab, SSL.TLS_SERVER_METHOD, version))
    accepted = (
        SSL.TLS1_2_VERSION
        <= version
        <= (SSL.TLS1_3_VERSION if highest is TlsVersion.TLS_1_3 else SSL.TLS1_2_VERSION)
    )
    assert found == (NAMES[version] if accepted else None)


def test_the_other_side_of_these_tests_has_tls_1_1(lab: Lab) -> None:
    old = SSL.TLS1_1_VERSION
    client, server = (peer(lab, m, old) for m in (SSL.TLS_CLIENT_METHOD, SSL.TLS_SERVER_METHOD))
    assert negotiated(client, server) == "TLSv1.1"


def test_the_site_system_leg_requests_no_ocsp_response(lab: Lab) -> None:
    """Revocation uses lists only. status_request is extension 5 (RFC 6066 §8)."""
    leg = SSL.Connection(site_system_leg(lab, TlsSettings()), None)
    leg.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        leg.do_handshake()
    hello = parse_client_hello(leg.bio_read(65_535))
    assert hello is not None
    kinds = [kind for kind, _ in hello.extensions]
    assert 43 in kinds, "supported_versions"
    assert 5 not in kinds
