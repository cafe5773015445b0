"""The shipped policy loads, and every kind of problem is told with file and line, all at once."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import current, ec_key, pem, sign
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import (
    BridgePublication,
    Listener,
    PlaintextListener,
    TlsVersion,
    TunnelPublication,
    UnlistedHeaders,
)
from ibcm_bridge.policy.roles import CertificatePolicy
from ibcm_bridge.policy_file import PolicyError, load_policy
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
    changed,
    line_of,
    plaintext,
    problems_of,
    sample,
    tunnel,
)

HTTPS_ONLY = "bridging HTTPS to HTTP is not supported (BRIDGE-HTTPS-ONLY)"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, pki_files: Path) -> Path:
    """Where the shipped policy's files are, and some that are no good."""
    directory = tmp_path_factory.mktemp("policy")
    shutil.copytree(pki_files, directory / "pki")
    (directory / "empty.pem").write_bytes(b"")
    (directory / "text.pem").write_text("not PEM")
    (directory / "latin.yar").write_bytes(b"// \xe4")
    (directory / "unreadable.pem").write_bytes(unreadable_authority())
    key = serialization.load_pem_private_key(
        (directory / "pki/bridge-server.key").read_bytes(), None
    )
    (directory / "locked.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"open sesame"),
        )
    )
    return directory


def unreadable_authority() -> bytes:
    """One with an address of five bytes in its subjectAltName."""
    key = ec_key()
    address = x509.UnrecognizedExtension(
        x509.ObjectIdentifier("2.5.29.17"), bytes.fromhex("300787050102030405")
    )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Older CA")])
    now = datetime.datetime.now(datetime.UTC)
    return pem(sign(key, name, None, current(now), [(address, False)]))


Load = Callable[[str], Policy]


@pytest.fixture
def load(directory: Path) -> Load:
    def load_text(text: str) -> Policy:
        path = directory / "bridge.yaml"
        path.write_text(text, "utf-8")
        return load_policy(path)

    return load_text


@pytest.fixture
def problems(directory: Path) -> Problems:
    return lambda text: problems_of(directory / "bridge.yaml", text)


# What loads


def test_the_shipped_policy_loads(load: Load, directory: Path) -> None:
    policy = load(SHIPPED)
    listener = policy.listeners[0]
    assert listener.address == ("127.0.0.1", 8443)
    assert set(listener.publications) == {
        "bridge.internet.example",
        "mp-tunnel.internet.example",
        "dp-tunnel.internet.example",
        "enroll.internet.example",
        "ndes.internet.example",
    }
    bridge = listener.publications["bridge.internet.example"]
    assert isinstance(bridge, BridgePublication)
    assert {name: role.site_system.address for name, role in bridge.directories.items()} == {
        "ccm_system": ("127.0.0.1", 9443),
        "sms_mp": ("127.0.0.1", 9443),
        # refused, and with a reason of their own
        "ccm_system_windowsauth": ("127.0.0.1", 9443),
        "sms_mp_windowsauth": ("127.0.0.1", 9443),
        "ccm_incoming": ("127.0.0.1", 9443),
        "sms_dp_smspkg$": ("127.0.0.1", 9444),
        "sms_dp_smssig$": ("127.0.0.1", 9444),
    }
    assert bridge.directories["sms_mp"].site_system.name == "mp01.corp.example"
    assert bridge.unlisted_headers is UnlistedHeaders.DROP
    assert len(bridge.client_trust.crls) == 2
    tunnel = listener.publications["mp-tunnel.internet.example"]
    assert tunnel == TunnelPublication(
        "mp-tunnel.internet.example", 8443, ("127.0.0.1", 9443), ("management-point",)
    )
    assert policy.audit_file == directory / "../audit.jsonl"
    assert policy.rule_files == ()
    assert policy.limits.request_head == 65_536
    assert "ccm_system_altauth" in policy.never.directories


def test_without_an_audit_file_there_is_none(load: Load) -> None:
    assert load(changed(("audit:\n  file: ../audit.jsonl\n", ""))).audit_file is None


def test_names_are_compared_without_case_and_ports_default_to_443(load: Load) -> None:
    policy = load(
        changed(
            ("name: bridge.internet.example", "name: Bridge.Internet.Example"),
            ("site_system: https://mp01.corp.example", "site_system: https://MP01.corp.example/"),
            ("        connect: 127.0.0.1:9443      # where", "        # where"),
        )
    )
    bridge = policy.listeners[0].publications["bridge.internet.example"]
    assert isinstance(bridge, BridgePublication)
    site_system = bridge.directories["sms_mp"].site_system
    assert (site_system.name, site_system.address) == (
        "mp01.corp.example",
        ("MP01.corp.example", 443),
    )


def test_each_address_is_a_listener_of_its_own(load: Load) -> None:
    policy = load(changed(("listen: 127.0.0.1:8443", 'listen: "[::1]:443"')))
    assert [listener.address for listener in policy.listeners] == [
        ("::1", 443),
        ("127.0.0.1", 8443),
        ("127.0.0.1", 8531),
        ("127.0.0.1", 8080),
    ]


def test_limits_and_rules_can_be_set(load: Load, directory: Path) -> None:
    (directory / "site.yar").write_text("rule x { condition: false }")
    more = "rules: [site.yar]\nlimits: {request_head: 8_192, idle_seconds: 1.5}\n"
    policy = load(SHIPPED + more)
    assert policy.rule_files == (directory / "site.yar",)
    assert (policy.limits.request_head, policy.limits.idle_seconds) == (8_192, 1.5)
    assert policy.limits.client_hello == 16_384
    assert policy.limits.site_system_idle_seconds == 100
    legs = load(SHIPPED + "limits: {site_system_idle_seconds: 20}\n").limits
    assert (legs.site_system_idle_seconds, legs.idle_seconds) == (20, 120)


# What does not: one problem each, with its line


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version: 1", "version: 2", "this is version 1: write version: 1"),
        ("version: 1", 'version: "1"', "this is version 1: write version: 1"),
        ("version: 1", "version: 1\nextra: 2", "extra: no such key here"),
        ("mode: bridge", "mode: terminate", "mode is bridge, tunnel or plaintext"),
        ("mode: tunnel", "mode: bridging", "mode is bridge, tunnel or plaintext"),
        ("listen: 127.0.0.1:8443", "listen: 127.0.0.1", 'such as "0.0.0.0:443"'),
        ("listen: 127.0.0.1:8443", "listen: 127.0.0.1:99999", "99999 is not a port"),
        ("listen: 127.0.0.1:8443", "listen: 8443", "an address and a port number"),
        ("listen: 127.0.0.1:8443", "listen:", "an address and a port number"),
        ("name: bridge.internet.example", "name: a b", "a host name, such as"),
        ("name: bridge.internet.example", "name: '*.internet.example'", "a host name, such as"),
        (
            "https://mp01.corp.example",
            "http://mp01.corp.example",
            HTTPS_ONLY,
        ),
        ("https://mp01.corp.example", "mp01.corp.example:443", HTTPS_ONLY),
        (
            "https://mp01.corp.example",
            "https://mp01.corp.example/x",
            "https://name or https://name:port and no path: leave /x out",
        ),
        ("connect: 127.0.0.1:9443", "conect: 127.0.0.1:9443", "no such key here"),
        ("unlisted_headers: drop", "unlisted_headers: keep", "drop or refuse is wanted here"),
        ("unlisted_headers: drop", "unlisted_headers: no", "YAML reads no as a bool"),
        ("anchors: [pki/root.pem]", "anchors: pki/root.pem", "a list is wanted here"),
        ("anchors: [pki/root.pem]", "anchors: []", "must not be empty"),
        ("crls: [pki/root.crl, pki/issuing.crl]", "crls: []", "must not be empty"),
        (
            "management-point:",
            "enrollment-proxy-point:",
            "only with mode: tunnel (BRIDGE-NOT-ENROLLED)",
        ),
        ("management-point:", "Management-Point:", "not a site system role that is known"),
        ("chain: pki/bridge-server.pem", "chain: pki/missing.pem", "cannot be read: No such file"),
        ("chain: pki/bridge-server.pem", "chain: pki", "cannot be read: Is a directory"),
        ("chain: pki/bridge-server.pem", "chain: empty.pem", "empty.pem has no PEM certificate"),
        ("chain: pki/bridge-server.pem", "chain: pki/root.crl", "has no PEM certificate"),
        ("key: pki/bridge-server.key", "key: pki/missing.key", "cannot be read: No such file"),
        ("key: pki/bridge-server.key", "key: text.pem", "text.pem is not a PEM private key"),
        (
            "key: pki/bridge-server.key",
            "key: locked.key",
            "locked.key is encrypted: give passphrase: {file: PATH} or {environment: NAME}",
        ),
        (
            "key: pki/bridge-server.key",
            "key: pki/bridge-client.key",
            "bridge-client.key is not the key of pki/bridge-server.pem",
        ),
        ("key: pki/bridge-client.key", "key: pki/bridge-server.key", "is not the key of"),
        ("anchors: [pki/root.pem]", "anchors: [text.pem]", "text.pem has no certificate"),
        ("issuing: [pki/issuing.pem]", "issuing: [x.pem]", "cannot be read"),
        (
            "issuing: [pki/issuing.pem]",
            "issuing: [pki/issuing.pem, unreadable.pem]",
            "CN=Older CA has an extension that cannot be read",
        ),
        (
            "crls: [pki/root.crl, pki/issuing.crl]",
            "crls: [pki/root.crl]",
            "no revocation list of CN=Lab Issuing CA",
        ),
        (
            "crls: [pki/root.crl, pki/issuing.crl]",
            "crls: [pki/root.crl, pki/issuing.crl, text.pem]",
            "text.pem is not a revocation list",
        ),
        ("file: ../audit.jsonl", "file: [x]", "text is wanted here, not a list"),
        (
            "name: mp-tunnel.internet.example",
            "name: bridge.internet.example",
            "bridge.internet.example is published twice on 127.0.0.1:8443",
        ),
        ("version: 1", "version: 1\nrules: [missing.yar]", "cannot be read"),
        ("version: 1", "version: 1\nrules: [latin.yar]", "latin.yar: not UTF-8 text"),
        ("version: 1", "version: 1\nlimits: {client_hello: 1}", "greater than or equal to 1024"),
        ("version: 1", 'version: 1\nlimits: {client_hello: "4096"}', "a whole number of bytes"),
        ("version: 1", "version: 1\nlimits: {idle_seconds: 0}", "greater than 0"),
        ("version: 1", "version: 1\nlimits: {site_system_idle_seconds: 0}", "greater than 0"),
        ("version: 1", "version: 1\nlimits: {request_head: 0o17}", "a whole number of bytes"),
    ],
)
def test_a_problem_is_told_with_its_line(
    problems: Problems, old: str, new: str, message: str
) -> None:
    text = changed((old, new))
    [(line, told)] = problems(text)
    assert message in told
    changed_line = SHIPPED[: SHIPPED.index(old)].count("\n") + new.count("\n") + 1
    assert line == changed_line


@pytest.mark.parametrize(
    ("remove", "at", "message"),
    [
        ("    listen: 127.0.0.1:8443\n", "- name: bridge", "publications.0.listen: this key"),
        ("      key: pki/bridge-server.key\n", "certificate:", "certificate.key: this key"),
        ("    mode: bridge\n", "- name: bridge", "mode is missing: bridge, tunnel or plaintext"),
        ("version: 1\n", "audit:", "version: this key is missing"),
        ("        anchors: [pki/root.pem]\n", "trust:", "clients.trust.anchors: this key"),
    ],
)
def test_a_missing_key_is_told_where_it_is_missing_from(
    problems: Problems, remove: str, at: str, message: str
) -> None:
    text = changed((remove, ""))
    [(line, told)] = problems(text)
    assert message in told
    assert line == line_of(at, text)


def test_no_publication_is_a_problem(problems: Problems) -> None:
    head = SHIPPED.partition("publications:")[0]
    assert "publications: this must not be empty" in problems(head + "publications: []")[0][1]
    assert "publications: this key is missing" in problems(head)[0][1]


@pytest.mark.parametrize("text", ["", "# nothing\n", "[]", "just text"])
def test_a_file_that_is_no_policy_has_a_problem(problems: Problems, text: str) -> None:
    [(line, _)] = problems(text)
    assert line == 1


def test_text_that_is_not_yaml_is_told_with_its_line(problems: Problems) -> None:
    text = changed(("    mode: bridge", "\tmode: bridge"))
    [(line, told)] = problems(text)
    assert line == line_of("\tmode: bridge", text)
    assert told.startswith("not YAML")


@pytest.mark.parametrize("content", [None, b"version: \xff\n", b"\xff\xfev\0"])
def test_a_file_that_cannot_be_read_is_a_policy_error(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "bridge.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PolicyError) as caught:
        load_policy(path)
    [problem] = caught.value.problems
    assert problem.startswith(f"{path}: cannot be read: ")


# All at once


def test_two_problems_of_values_are_both_told(problems: Problems) -> None:
    text = changed(
        ("unlisted_headers: drop", "unlisted_headers: keep"),
        ("https://dp01.corp.example", "http://dp01.corp.example"),
    )
    assert [line for line, _ in problems(text)] == [
        line_of("unlisted_headers"),
        line_of("dp01.corp.example"),
    ]


def test_two_problems_of_files_are_both_told(problems: Problems) -> None:
    text = changed(
        ("chain: pki/bridge-server.pem", "chain: missing.pem"),
        ("key: pki/bridge-client.key", "key: text.pem"),
        ("crls: [pki/root.crl, pki/issuing.crl]", "crls: [pki/root.crl]"),
    )
    assert [line for line, _ in problems(text)] == [
        line_of("chain: pki/bridge-server.pem"),
        line_of("crls:"),
        line_of("key: pki/bridge-client.key"),
    ]


def test_a_chain_that_is_none_does_not_hide_that_the_key_is_none(problems: Problems) -> None:
    text = changed(
        ("chain: pki/bridge-server.pem", "chain: empty.pem"),
        ("key: pki/bridge-server.key", "key: text.pem"),
    )
    assert [line for line, _ in problems(text)] == [
        line_of("chain: empty.pem", text),
        line_of("key: text.pem", text),
    ]


def test_a_yaml_trap_and_an_unknown_key_are_both_told(problems: Problems) -> None:
    text = changed(
        ("unlisted_headers: drop", "unlisted_headers: no"), ("version: 1", "version: 1\nextra: 1")
    )
    found = problems(text)
    assert [line for line, _ in found] == [line_of("extra: 1", text), line_of("_headers: no", text)]
    assert "no such key" in found[0][1]
    assert "YAML reads no" in found[1][1]


def test_a_name_published_twice_does_not_hide_what_else_is_wrong_there(
    problems: Problems,
) -> None:
    text = changed(
        ("name: mp-tunnel.internet.example", "name: bridge.internet.example"),
        ("    site_system: 127.0.0.1:9443", "    site_system: 127.0.0.1:99999"),
    )
    told = [message for _, message in problems(text)]
    assert len(told) == 2
    assert "published twice" in told[0]
    assert "99999 is not a port" in told[1]


def test_problems_stand_in_the_order_of_the_file_and_each_once(problems: Problems) -> None:
    text = changed(
        ("chain: pki/bridge-server.pem", "chain: missing.pem"),
        ("key: pki/bridge-server.key", "key: missing.key"),
        ("anchors: [pki/root.pem]", "anchors: [missing.pem, missing.pem]"),
    )
    found = problems(text)
    assert found == sorted(found, key=lambda problem: problem[0])
    assert len(found) == len(set(found)) == 4


# Secrets


def test_no_key_is_in_a_message(problems: Problems, directory: Path) -> None:
    secret = (directory / "pki/bridge-server.key").read_text().splitlines()[1]
    (directory / "broken.key").write_text(
        (directory / "pki/bridge-server.key").read_text().replace("-----END", "----END")
    )
    for new in ("key: broken.key", "key: pki/bridge-client.key", "key: locked.key"):
        told = problems(changed(("key: pki/bridge-server.key", new)))
        assert secret not in str(told)
        assert "BEGIN" not in str(told)
        assert "sesame" not in str(told)


def test_no_key_is_in_the_repr_of_a_policy(load: Load, directory: Path) -> None:
    policy = load(SHIPPED)
    for name in ("bridge-server.key", "bridge-client.key"):
        lines = (directory / "pki" / name).read_text().splitlines()[1:-1]
        assert not any(line in repr(policy) or line in str(policy) for line in lines)
    assert "PRIVATE" not in repr(policy)


# What an operator reads


def test_a_tunnel_says_that_nothing_inside_can_be_inspected(load: Load) -> None:
    publications = load(SHIPPED).listeners[0].publications
    tunnel = publications["mp-tunnel.internet.example"].describe()
    assert tunnel == (
        "mp-tunnel.internet.example is tunneled to 127.0.0.1:9443 (management-point): "
        "nothing inside can be inspected"
    )
    assert publications["bridge.internet.example"].describe() == (
        "bridge.internet.example is bridged: management-point at mp01.corp.example, "
        "distribution-point at dp01.corp.example"
    )


def test_lists_and_certificates_may_be_der_as_windows_writes_them(
    load: Load, directory: Path, pki: LabPki
) -> None:
    der = serialization.Encoding.DER
    (directory / "root.cer").write_bytes(pki.root.public_bytes(der))
    for name, crl in zip(("root", "issuing"), pki.crls(), strict=True):
        (directory / f"{name}-der.crl").write_bytes(crl.public_bytes(der))
    text = changed(
        ("anchors: [pki/root.pem]", "anchors: [root.cer]"),
        ("crls: [pki/root.crl, pki/issuing.crl]", "crls: [root-der.crl, issuing-der.crl]"),
    )
    publication = load(text).listeners[0].publications["bridge.internet.example"]
    assert isinstance(publication, BridgePublication)
    assert publication.client_trust.anchors == (pki.root,)
    assert len(publication.client_trust.crls) == 2


def test_all_lists_of_a_file_are_read(load: Load, directory: Path) -> None:
    both = (directory / "pki/root.crl").read_bytes() + (directory / "pki/issuing.crl").read_bytes()
    (directory / "both.crl").write_bytes(both)
    text = changed(("crls: [pki/root.crl, pki/issuing.crl]", "crls: [both.crl]"))
    publication = load(text).listeners[0].publications["bridge.internet.example"]
    assert isinstance(publication, BridgePublication)
    assert len(publication.client_trust.crls) == 2


# Policies of every kind: small ones


def published(policy: Policy, name: str = "a.example") -> BridgePublication:
    for listener in policy.listeners:
        if isinstance(listener, Listener) and name in listener.publications:
            found = listener.publications[name]
            assert isinstance(found, BridgePublication)
            return found
    raise AssertionError(name)


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


def test_management_and_distribution_point_want_computers_unless_told(load: Load) -> None:
    assert published(load(sample(bridge(MP, DP)))).certificate_policy is CertificatePolicy.COMPUTER


@pytest.mark.parametrize("asked", ["computer", "user", "either"])
def test_they_can_be_asked_for_others(load: Load, asked: str) -> None:
    clients = f"{{certificate: {asked}, trust: {TRUST}}}"
    publication = published(load(sample(bridge(MP, DP, clients=clients))))
    assert publication.certificate_policy == CertificatePolicy(asked)
    assert publication.client_trust is not None


def test_a_software_update_point_asks_nobody_unless_told(load: Load) -> None:
    publication = published(load(sample(bridge(SUP, clients=NOBODY))))
    assert publication.certificate_policy is CertificatePolicy.NONE
    assert publication.client_trust is None
    assert publication.describe().endswith("nobody is asked for a certificate")
    publication = published(load(sample(bridge(SUP, clients="{}"))))
    assert publication.certificate_policy is CertificatePolicy.NONE
    clients = f"{{certificate: optional, trust: {TRUST}}}"
    publication = published(load(sample(bridge(SUP, clients=clients))))
    assert publication.certificate_policy is CertificatePolicy.OPTIONAL
    assert publication.describe().endswith("clients without a certificate are let in")


@pytest.mark.parametrize("role", ["application-catalog-website-point", "policy-module"])
def test_other_roles_without_client_certificates_can_be_bridged(load: Load, role: str) -> None:
    publication = published(load(sample(bridge(role, clients=NOBODY))))
    assert publication.certificate_policy is CertificatePolicy.NONE


def test_a_policy_module_has_room_for_a_whole_message_in_the_query(load: Load) -> None:
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
    site_system = publication.directories["sms_fsp"].site_system
    assert (site_system.address, site_system.name) == (("192.0.2.7", 8080), "fsp.corp.example")
    [listener] = load(sample(plaintext())).listeners
    assert isinstance(listener, PlaintextListener)
    site_system = listener.publication.directories["sms_fsp"].site_system
    assert site_system.address == ("fsp.corp.example", 80)


def test_the_name_to_verify_the_highest_tls_and_the_public_port_can_be_set(load: Load) -> None:
    role = f"{MP}:, verify_name: Real.Corp.Example, highest_tls: '1.2'"
    publication = published(load(sample(bridge(role, more="    public_port: 443\n"))))
    site_system = publication.directories["sms_mp"].site_system
    assert (site_system.name, site_system.verify_name) == ("ss.corp.example", "real.corp.example")
    assert site_system.highest_tls is TlsVersion.TLS_1_2
    assert publication.public_port == 443
    plain = published(load(sample(bridge(MP, listen="127.0.0.1:8443"))))
    assert plain.public_port == 8443
    assert plain.directories["sms_mp"].site_system.highest_tls is TlsVersion.TLS_1_3


def test_a_publication_can_be_for_clients_without_a_server_name(load: Load) -> None:
    text = sample(bridge(MP), tunnel(more="    without_sni: true\n"))
    [listener] = load(text).listeners
    assert isinstance(listener, Listener)
    assert listener.without_sni == "t.example"
    [listener] = load(sample(bridge(MP), tunnel())).listeners
    assert isinstance(listener, Listener)
    assert listener.without_sni is None


def test_a_tunnel_may_name_any_role_but_one_of_plain_http(load: Load) -> None:
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
            "software-update-point none; give software-update-point a name or a port of its own",
        ),
        (
            bridge(SUP, clients=f"{{certificate: computer, trust: {TRUST}}}"),
            "software-update",
            "of this role: none, optional; not computer: mend clients.certificate, or give the",
        ),
        (bridge(MP, clients=NOBODY), "management", "computer, user, either; not none"),
        (bridge(MP, clients="{}"), "clients:", "clients.trust: this key is missing"),
        (
            bridge(SUP, clients="{certificate: optional}"),
            "clients:",
            "this key is missing: the authorities that issue client certificates",
        ),
        (
            bridge(SUP, clients=f"{{certificate: none, trust: {TRUST}}}"),
            "clients:",
            "clients.trust: nobody is asked for a certificate here",
        ),
        (
            bridge(MP, clients=f"{{certificate: admin, trust: {TRUST}}}"),
            "clients:",
            "clients.certificate: computer, user, either, optional or none is wanted",
        ),
        # http beside https, both ways
        (
            plaintext(url="https://fsp.corp.example"),
            "fallback",
            "bridging HTTP to HTTPS is not supported (BRIDGE-HTTPS-ONLY)",
        ),
        # roles in modes they do not have
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
        (tunnel(more="    roles: [mp]\n"), "roles:", "not a site system role that is known"),
        # keys of another mode
        (
            tunnel(more="    certificate: {chain: pki/root.pem, key: x}\n"),
            "certificate:",
            "a tunnel needs no certificate (TUNNEL-NO-CERT)",
        ),
        (tunnel(more="    clients: {}\n"), "clients:", "authenticates nobody"),
        (tunnel(more="    site_systems: {}\n"), "site_systems:", "do not mix"),
        (tunnel(more="    roles: {management-point: {}}\n"), "roles:", "do not mix"),
        (tunnel(more="    unlisted_headers: drop\n"), "unlisted", "TUNNEL-BLIND"),
        (bridge(MP, more="    site_system: 192.0.2.1:443\n"), "site_system: 192", "do not mix"),
        (plaintext() + "    certificate: {}\n", "certificate:", "no TLS on a plaintext listener"),
        (plaintext() + "    clients: {}\n", "clients:", "nobody can be authenticated"),
        (plaintext() + "    site_systems: {}\n", "site_systems:", "there is no TLS to"),
        (plaintext() + "    without_sni: true\n", "without_sni", "no such key here"),
        (plaintext(keys=", verify_name: x"), "fallback", "verify_name: no such key here"),
        (plaintext(because=""), "- name", "because: say why, in words"),
        (
            plaintext(because="    because: ''\n"),
            "because",
            "say why, in words of 8 to 500 characters",
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
            "one plaintext publication to a port",
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
        (bridge(f"{MP}:, verify_name: 'a b'"), "management", "verify_name: a host name"),
        (
            bridge(f"{MP}:, highest_tls: '1.1'"),
            "management",
            'highest_tls: "1.2" or "1.3" is wanted',
        ),
        (
            bridge(f"{MP}:, highest_tls: 1.2"),
            "management",
            '"1.2" or "1.3" is wanted here, in quotes',
        ),
        # two roles with one directory
        (
            bridge(
                MP,
                f"{DP}:, extra_paths: [{{directory: SMS_MP, path: x, verbs: [GET], {WHY}}}]",
            ),
            "distribution",
            "/SMS_MP is a directory of management-point: publish that role",
        ),
        # opting in
        (
            bridge(f"{DP}:, windows_authentication: {{{WHY}}}"),
            "distribution",
            "windows_authentication: distribution-point has no Windows authentication",
        ),
        (
            bridge(f"{MP}:, windows_authentication: {{}}"),
            "management",
            "windows_authentication.because: say why, in words",
        ),
        (
            bridge(f"{MP}:, windows_authentication: true"),
            "management",
            "windows_authentication: keys and values are wanted here",
        ),
    ],
)
def test_a_policy_that_cannot_be_is_refused_with_line_and_words(
    problems: Problems, text: str, at: str, message: str
) -> None:
    [(line, told)] = problems(sample(text))
    assert message in told
    lines = sample(text).splitlines()
    assert at in lines[line - 1], lines[line - 1]


def verb(text: str, body: str = "") -> str:
    return f"extra_verbs: [{{verb: {text}, {body}{WHY}}}]"


def header(text: str) -> str:
    return f"extra_headers: [{{name: {text}, {WHY}}}]"


def path(text: str, verbs: str = "GET", directory: str = "SMS_MP", more: str = "") -> str:
    return (
        f"extra_paths: [{{directory: {directory}, path: '{text}', verbs: [{verbs}], {more}{WHY}}}]"
    )


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        # why
        ("extra_verbs: [{verb: PUT}]", "extra_verbs.0.because: say why, in words"),
        ("extra_headers: [{name: X-Y}]", "extra_headers.0.because: say why, in words"),
        (
            "extra_paths: [{directory: x, path: y, verbs: [GET]}]",
            "extra_paths.0.because: say why, in words",
        ),
        (
            "extra_verbs: [{verb: PUT, because: short}]",
            "because: say why, in words of 8 to 500 characters",
        ),
        # verbs
        *(
            (verb(one), f"extra_verbs.0.verb: {one} is never published")
            for one in ("TRACE", "trace", "CONNECT", "TRACK", "DEBUG", "PRI")
        ),
        (verb("GET"), "GET is a verb of management-point already"),
        (verb("get"), "GET is a verb of management-point already"),
        (verb("'G ET'"), "verb: a verb, such as GET"),
        (verb("PUT", "body: anything, "), "extra_verbs.0.body: a kind of body: none, ccm-message"),
        (verb("PUT", "body: bits-upload, "), "extra_verbs.0.body: a kind of body: none"),
        (
            f"extra_verbs: [{{verb: PUT, {WHY}}}, {{verb: put, body: soap, {WHY}}}]",
            "extra_verbs.1.verb: PUT is a verb of management-point already",
        ),
        # headers
        *(
            (header(one), f"{one} is never sent on (framing, hop-by-hop, forwarding)")
            for one in (
                "Transfer-Encoding",
                "transfer_encoding",
                "X-Forwarded-For",
                "X-Forwarded-Anything",
                "X_Forwarded_For",
                "Forwarded",
                "Via",
                "Connection",
                "Upgrade",
                "Content-Encoding",
                "X-HTTP-Method-Override",
                "X-Original-URL",
                "X-ARR-ClientCert",
                "Client-Cert",
                "Proxy-Authorization",
            )
        ),
        (header("Authorization"), "Authorization is sent on by windows_authentication"),
        (header("authorization"), "Authorization is sent on by windows_authentication"),
        (header("'a b'"), "extra_headers.0.name: a field name, such as SOAPAction"),
        # paths
        *(
            (path("x", directory=one), f"/{one} answers without a client certificate")
            for one in (
                "CCM_STS",
                "ccm_system_altauth",
                "SMS_MP_TokenAuth",
                "NOCERT_SMS_DP_SMSPKG$",
            )
        ),
        *(
            (path(one), f"{one} is a content library and is never published")
            for one in ("Datalib", "FILELIB/.*")
        ),
        (path("x", directory="'a/b'"), "directory: the whole first segment of a path"),
        (path("x", verbs="PUT"), "PUT is not a verb of this role; extra_verbs can add it"),
        (path("x", verbs="get"), "get is not a verb of this role; extra_verbs can add it"),
        (path("x", verbs=""), "extra_paths.0.verbs: this must not be empty"),
        (path("/x"), "without the slash at its beginning"),
        (path("x", more="query: '?a=b', "), "query: without the question mark"),
        (path("("), "extra_paths.0.path: not a regular expression"),
        (path("x", more="query: '[', "), "extra_paths.0.query: not a regular expression"),
        (path("{CONTNT}"), "there is no {CONTNT}; there are CONTENT, NAME, AUTHORITY, GUID"),
        (path("(a+)+"), "extra_paths.0.path: a client could make this take very long"),
        (path("x", more="query: '.*.*x', "), "query: a client could make this take very long"),
        (path("a" * 513), "extra_paths.0.path: longer than 512 characters"),
        (path("(?=x)"), "look-ahead or look-behind, (?=...) or (?<=...), is not for patterns"),
    ],
)
def test_what_a_policy_cannot_add_is_refused_in_words(
    problems: Problems, keys: str, message: str
) -> None:
    [(line, told)] = problems(sample(bridge(f"{MP}:, {keys}")))
    assert message in told
    assert told.startswith("publications.0.roles.management-point.")
    assert line > 10


def test_what_a_policy_adds_is_there_and_its_reasons_are_kept(load: Load) -> None:
    keys = (
        f"{verb('PUT', 'body: webdav, ')}, {header('X-Custom')}, "
        + path("[A-Z]+/{GUID}", "GET, PUT", "Reports", "query: 'v=[0-9]+', ")
        + f", windows_authentication: {{{WHY}}}, observed_headers: false"
    )
    role = published(load(sample(bridge(f"{MP}:, {keys}")))).directories["reports"]
    profile = role.profile
    assert profile.bodies[b"PUT"].name == "webdav"
    assert {b"x-custom", b"authorization"} <= profile.headers
    assert b"clienttoken" not in profile.headers
    [resource] = profile.directories["reports"].resources
    assert resource.has("abc/11111111-2222-3333-4444-555555555555", "V=12")
    assert not resource.has("abc/11111111-2222-3333-4444-555555555555", None)
    assert not profile.directories["ccm_system_windowsauth"].resources[0].refused
    assert len(role.additions) == 4
    assert all(text.endswith("because: the tests want it") for text in role.additions)


# All of them at once


def test_a_mistake_of_shape_hides_neither_files_nor_what_else_is_wrong(problems: Problems) -> None:
    text = sample(
        bridge(MP)
        .replace("mode: bridge", "mode: bridge\n    extra: 1")
        .replace("chain: pki/bridge-server.pem", "chain: missing.pem"),
        bridge("enrollment-proxy-point", name="b.example").replace(
            "key: pki/bridge-client.key", "key: gone.key"
        ),
        tunnel(more="    roles: [mp]\n"),
        plaintext(),
        plaintext(name="other.example"),
        head="version: 2\nrules: [none.yar]\naudit: {file: nowhere/x}\npublications:\n",
    )
    told = [message for _, message in problems(text)]
    for expected in (
        "version: this is version 1",
        "rules.0:",
        "audit.file: there is no folder",
        "publications.0.extra: no such key here",
        "publications.0.certificate.chain:",
        "publications.1.roles.enrollment-proxy-point: this role cannot be published",
        "publications.1.site_systems.certificate.key:",
        "publications.2.roles.0: not a site system role",
        "publications.4.listen: one plaintext publication to a port",
    ):
        assert any(message.startswith(expected) for message in told), (expected, told)
    assert len(told) == 9
