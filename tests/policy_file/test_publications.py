"""Publications of a policy file: valid ones, and the messages for invalid ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ibcm_bridge.commands.check.publications import publication_text
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import (
    Listener,
    PlaintextListener,
    TunnelPublication,
)
from ibcm_bridge.policy.roles import CertificatePolicy
from ibcm_bridge.policy.tls_settings import CipherSuites, TlsSettings, TlsVersion
from tests.policy_samples import (
    DP,
    MP,
    NOBODY,
    SHIPPED,
    SUP,
    TRUST,
    WHY,
    Problems,
    bridge,
    plaintext,
    published,
    sample,
    tunnel,
)

Load = Callable[[str], Policy]


# Texts for operators


def test_the_text_of_a_tunnel_has_that_nothing_is_inspected(load: Load) -> None:
    publications = load(SHIPPED).listeners[0].publications
    tunnel = publication_text(publications["mp-tunnel.internet.example"])
    assert tunnel == (
        "mp-tunnel.internet.example is tunneled to 127.0.0.1:9443 (management-point): "
        "the content cannot be inspected"
    )
    assert publication_text(publications["bridge.internet.example"]) == (
        "bridge.internet.example is bridged: management-point at mp01.corp.example, "
        "distribution-point at dp01.corp.example"
    )


# Small policies of each kind


def test_all_publications_of_all_ports_are_listed_in_order(load: Load) -> None:
    second = bridge(MP, name="b.example", listen="127.0.0.1:8443")
    policy = load(sample(bridge(MP), tunnel(), plaintext(), second))
    names = [(publication.name, address) for address, publication in policy.publications()]
    assert names == [
        ("a.example", ("127.0.0.1", 443)),
        ("t.example", ("127.0.0.1", 443)),
        ("fsp.example", ("127.0.0.1", 80)),
        ("b.example", ("127.0.0.1", 8443)),
    ]
    assert [publication.name for _, publication in policy.bridged()] == ["a.example", "b.example"]


def test_management_and_distribution_point_require_computers_by_default(load: Load) -> None:
    assert published(load(sample(bridge(MP, DP)))).certificate_policy is CertificatePolicy.COMPUTER


@pytest.mark.parametrize("kind", ["computer", "user", "either"])
def test_they_can_require_other_certificates(load: Load, kind: str) -> None:
    clients = f"{{certificate: {kind}, trust: {TRUST}}}"
    publication = published(load(sample(bridge(MP, DP, clients=clients))))
    assert publication.certificate_policy == CertificatePolicy(kind)
    assert publication.client_trust is not None


def test_a_software_update_point_requests_no_certificates_by_default(load: Load) -> None:
    publication = published(load(sample(bridge(SUP, clients=NOBODY))))
    assert publication.certificate_policy is CertificatePolicy.NONE
    assert publication.client_trust is None
    assert publication_text(publication).endswith("client certificates are not requested")
    publication = published(load(sample(bridge(SUP, clients="{}"))))
    assert publication.certificate_policy is CertificatePolicy.NONE
    clients = f"{{certificate: optional, trust: {TRUST}}}"
    publication = published(load(sample(bridge(SUP, clients=clients))))
    assert publication.certificate_policy is CertificatePolicy.OPTIONAL
    assert publication_text(publication).endswith("client certificates are optional")


@pytest.mark.parametrize("role", ["application-catalog-website-point", "policy-module"])
def test_other_roles_without_client_certificates_can_be_bridged(load: Load, role: str) -> None:
    publication = published(load(sample(bridge(role, clients=NOBODY))))
    assert publication.certificate_policy is CertificatePolicy.NONE


def test_a_policy_module_accepts_a_whole_message_in_the_query(load: Load) -> None:
    both = sample(
        bridge("policy-module", clients=NOBODY), bridge(MP, name="b.example"), head=HEAD_LIMIT
    )
    policy = load(both)
    assert published(policy).request_head == 131_072
    assert published(policy, "b.example").request_head == 8_192


HEAD_LIMIT = "version: 1\nlimits: {request_head: 8192}\npublications:\n"


def test_a_fallback_status_point_is_plain_http_on_both_legs(load: Load) -> None:
    [listener] = load(sample(plaintext(keys=", connect: 192.0.2.7:8080"))).listeners
    assert isinstance(listener, PlaintextListener)
    assert listener.address == ("127.0.0.1", 80)
    publication = listener.publication
    assert publication.certificate_policy is CertificatePolicy.NONE
    assert publication.because == "clients report that HTTPS fails"
    site_system = publication.directories["sms_fsp"].site_systems.first
    assert (site_system.address, site_system.name) == (("192.0.2.7", 8080), "fsp.corp.example")
    [listener] = load(sample(plaintext())).listeners
    assert isinstance(listener, PlaintextListener)
    site_system = listener.publication.directories["sms_fsp"].site_systems.first
    assert site_system.address == ("fsp.corp.example", 80)


def named_plaintext(name: str) -> str:
    return plaintext(name=name)


NAMES = {
    "mp": False,
    "mptunnel": False,
    "192.0.2.1": False,
    "mp.internet.example.": False,
    "mp.1": False,
    "*.internet.example": False,
    "mp.internet.example": True,
    "a.b": True,
    "MP_1.Internet.Example": True,
    "xn--mnchen-3ya.example": True,
    "1.internet.xn--p1ai": True,
}


@pytest.mark.parametrize("make", [lambda name: bridge(MP, name=name), tunnel, named_plaintext])
@pytest.mark.parametrize(("name", "is_fqdn"), NAMES.items())
def test_the_name_of_a_publication_is_an_fqdn(
    load: Load, problems: Problems, make: Callable[[str], str], name: str, is_fqdn: bool
) -> None:
    """DNS-INTERNET-FQDN: clients find it in public DNS."""
    text = sample(make(f'"{name}"'))
    if is_fqdn:
        (listener,) = load(text).listeners
        (publication,) = listener.published
        assert publication.name == name.lower()
        return
    ((_, message),) = problems(text)
    assert message.startswith(
        "publications.0.name: invalid value; write a fully qualified domain name, such as "
    )


def test_the_name_to_verify_the_highest_tls_and_the_public_port_can_be_set(load: Load) -> None:
    role = f"{MP}:, verify_name: Real.Corp.Example, highest_tls: '1.2', tls: compatible"
    publication = published(load(sample(bridge(role, more="    public_port: 443\n"))))
    site_system = publication.directories["sms_mp"].site_systems.first
    assert (site_system.name, site_system.verify_name) == ("ss.corp.example", "real.corp.example")
    assert site_system.tls == TlsSettings(TlsVersion.TLS_1_2, CipherSuites.COMPATIBLE)
    assert publication.public_port == 443
    plain = published(load(sample(bridge(MP, listen="127.0.0.1:8443"))))
    assert plain.public_port == 8443
    assert plain.directories["sms_mp"].site_systems.first.tls == TlsSettings()


def test_a_publication_can_be_for_clients_without_a_server_name(load: Load) -> None:
    text = sample(bridge(MP), tunnel(more="    without_sni: true\n"))
    [listener] = load(text).listeners
    assert isinstance(listener, Listener)
    assert listener.without_sni == "t.example"
    [listener] = load(sample(bridge(MP), tunnel())).listeners
    assert isinstance(listener, Listener)
    assert listener.without_sni is None


def test_a_tunnel_may_name_any_role_except_plaintext_ones(load: Load) -> None:
    roles = "[management-point, enrollment-proxy-point, policy-module]"
    [listener] = load(sample(tunnel(more=f"    roles: {roles}\n"))).listeners
    assert isinstance(listener, Listener)
    tunneled = listener.publications["t.example"]
    assert isinstance(tunneled, TunnelPublication)
    assert tunneled.roles == ("management-point", "enrollment-proxy-point", "policy-module")


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        # certificate policies
        (
            bridge(MP, SUP),
            "roles:",
            "software-update-point none; publish software-update-point under another name or port",
        ),
        (
            bridge(SUP, clients=f"{{certificate: computer, trust: {TRUST}}}"),
            "software-update",
            "role does not support clients.certificate: computer; write none or optional there",
        ),
        (
            bridge(MP, clients=NOBODY),
            "management",
            "does not support clients.certificate: none; write computer or user or either there",
        ),
        (bridge(MP, clients="{}"), "clients:", "clients.trust: this key is missing"),
        (
            bridge(SUP, clients="{certificate: optional}"),
            "clients:",
            "this key is missing; write the CAs that issue client certificates",
        ),
        (
            bridge(SUP, clients=f"{{certificate: none, trust: {TRUST}}}"),
            "clients:",
            "clients.trust: no client certificates are requested",
        ),
        (
            bridge(MP, clients=f"{{certificate: admin, trust: {TRUST}}}"),
            "clients:",
            "clients.certificate: invalid value; write computer, user, either, optional or none",
        ),
        # HTTP with HTTPS, in both directions
        (
            plaintext(url="https://fsp.corp.example"),
            "fallback",
            "bridging HTTP to HTTPS is not supported (BRIDGE-HTTPS-ONLY)",
        ),
        # roles in unsupported modes
        (
            bridge("enrollment-proxy-point"),
            "enrollment",
            "only with mode: tunnel (BRIDGE-NOT-ENROLLED)",
        ),
        (
            bridge("fallback-status-point", clients=NOBODY),
            "fallback",
            "only with mode: plaintext (BRIDGE-HTTPS-ONLY)",
        ),
        (
            plaintext("management-point"),
            "management",
            "only with mode: bridge or tunnel (BRIDGE-HTTPS-ONLY)",
        ),
        (
            plaintext("management-point", url="https://mp.corp.example"),
            "management",
            "only with mode: bridge or tunnel (BRIDGE-HTTPS-ONLY)",
        ),
        (
            tunnel(more="    roles: [fallback-status-point]\n"),
            "roles:",
            "cannot be published with mode: tunnel, only with mode: plaintext",
        ),
        (tunnel(more="    roles: [mp]\n"), "roles:", "unknown site system role"),
        # keys of another mode, such as the certificate in a tunnel (TUNNEL-NO-CERT)
        (
            tunnel(more="    certificate: {chain: pki/root.pem, key: x}\n"),
            "certificate:",
            "certificate: this key is for mode: bridge; remove it, or change the mode",
        ),
        (tunnel(more="    clients: {}\n"), "clients:", "this key is for mode: bridge; remove it"),
        (tunnel(more="    site_systems: {}\n"), "site_systems:", "this key is for mode: bridge"),
        (
            tunnel(more="    roles: {management-point: {}}\n"),
            "roles:",
            "either a bridge or a tunnel",
        ),
        (tunnel(more="    unlisted_headers: drop\n"), "unlisted", "for mode: bridge or plaintext"),
        (
            bridge(MP, more="    site_system: 192.0.2.1:443\n"),
            "site_system: 192",
            "this key is for mode: tunnel; remove it, or change the mode",
        ),
        (plaintext() + "    certificate: {}\n", "certificate:", "this key is for mode: bridge"),
        (plaintext() + "    clients: {}\n", "clients:", "this key is for mode: bridge"),
        (plaintext() + "    site_systems: {}\n", "site_systems:", "this key is for mode: bridge"),
        (
            plaintext() + "    without_sni: true\n",
            "without_sni",
            "this key is for mode: bridge or tunnel",
        ),
        (plaintext(keys=", verify_name: x"), "fallback", "verify_name: unknown key"),
        (plaintext(because=""), "- name", "because: this key is missing; write a reason"),
        (
            plaintext(because="    because: ''\n"),
            "because",
            "invalid value; write a reason of 8 to 500 characters",
        ),
        # ports and names
        (
            plaintext() + bridge(MP, listen="127.0.0.1:80"),
            "listen",
            "plaintext and TLS cannot share a port (BRIDGE-HTTPS-ONLY)",
        ),
        (
            bridge(MP, listen="127.0.0.1:80") + plaintext(),
            "listen",
            "plaintext and TLS cannot share a port (BRIDGE-HTTPS-ONLY)",
        ),
        (
            plaintext() + plaintext(name="other.example"),
            "listen",
            "a port can have only one plaintext publication",
        ),
        (bridge(MP) + bridge(DP), "name", "a.example is published twice on 127.0.0.1:443"),
        (bridge(MP) + tunnel("A.example"), "name", "a.example is published twice"),
        (
            tunnel(more="    without_sni: true\n")
            + tunnel("u.example", more="    without_sni: true\n"),
            "without_sni",
            "clients without SNI already get t.example",
        ),
        (bridge(MP, more="    public_port: 0\n"), "public_port", "greater than or equal to 1"),
        (bridge(MP, more="    public_port: 70000\n"), "public_port", "less than or equal to"),
        (bridge(f"{MP}:, connect: '192.0.2.1:0'"), "management", "connect: 0 is not a port"),
        (bridge(f"{MP}:, connect: '[::::]:443'"), "management", "[::::] is not an IPv6 address"),
        (
            bridge(f"{MP}:, verify_name: 'a b'"),
            "management",
            "verify_name: invalid value; write a host name",
        ),
        (
            bridge(f"{MP}:, highest_tls: '1.1'"),
            "management",
            "highest_tls: invalid value; write '1.2' or '1.3'",
        ),
        (
            bridge(f"{MP}:, tls: old"),
            "management",
            "tls: invalid value; write modern, standard or compatible",
        ),
        (plaintext(keys=", tls: modern"), "fallback", "tls: unknown key"),
        (
            bridge(f"{MP}:, highest_tls: 1.2"),
            "management",
            "write '1.2' or '1.3', in quotes",
        ),
        # a directory of another role
        (
            bridge(
                MP,
                f"{DP}:, extra_paths: [{{directory: SMS_MP, path: x, verbs: [GET], {WHY}}}]",
            ),
            "distribution",
            "/SMS_MP is a directory of management-point; publish that role",
        ),
        # opt-ins
        (
            bridge(f"{DP}:, windows_authentication: {{{WHY}}}"),
            "distribution",
            "windows_authentication: distribution-point does not support Windows authentication",
        ),
        (
            bridge(f"{MP}:, windows_authentication: {{}}"),
            "management",
            "windows_authentication.because: this key is missing; write a reason",
        ),
        (
            bridge(f"{MP}:, windows_authentication: true"),
            "management",
            "windows_authentication: invalid value; write keys and values",
        ),
    ],
)
def test_an_invalid_publication_is_reported_with_its_line(
    problems: Problems, text: str, at: str, message: str
) -> None:
    [(line, problem)] = problems(sample(text))
    assert message in problem
    lines = sample(text).splitlines()
    assert at in lines[line - 1], lines[line - 1]
