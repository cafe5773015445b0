"""The shipped policy loads; each kind of problem is reported with its file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import (
    BridgePublication,
    TunnelPublication,
    UnlistedHeaders,
)
from ibcm_bridge.policy_file import PolicyError, load_policy
from tests.policy_samples import (
    SHIPPED,
    Problems,
    changed,
    line_of,
)

HTTPS_ONLY = "bridging HTTPS to HTTP is not supported (BRIDGE-HTTPS-ONLY)"
Load = Callable[[str], Policy]


# Valid policies


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
    assert {name: role.site_systems.first.address for name, role in bridge.directories.items()} == {
        "ccm_system": ("127.0.0.1", 9443),
        "sms_mp": ("127.0.0.1", 9443),
        # refused, with another reason
        "ccm_system_windowsauth": ("127.0.0.1", 9443),
        "sms_mp_windowsauth": ("127.0.0.1", 9443),
        "ccm_incoming": ("127.0.0.1", 9443),
        "sms_dp_smspkg$": ("127.0.0.1", 9444),
        "sms_dp_smssig$": ("127.0.0.1", 9444),
    }
    assert bridge.directories["sms_mp"].site_systems.first.name == "mp01.corp.example"
    assert bridge.unlisted_headers is UnlistedHeaders.DROP
    assert len(bridge.client_trust.crls) == 2
    tunnel = listener.publications["mp-tunnel.internet.example"]
    assert tunnel == TunnelPublication(
        "mp-tunnel.internet.example", 8443, (("127.0.0.1", 9443),), ("management-point",)
    )
    assert policy.audit_file == directory / "../audit.jsonl"
    assert policy.rule_files == ()
    assert policy.limits.request_head == 65_536
    assert "ccm_system_altauth" in policy.never.directories


def test_the_audit_file_can_be_omitted(load: Load) -> None:
    assert load(changed(("audit:\n  file: ../audit.jsonl\n", ""))).audit_file is None


def test_names_are_compared_without_case_and_ports_default_to_443(load: Load) -> None:
    policy = load(
        changed(
            ("name: bridge.internet.example", "name: Bridge.Internet.Example"),
            ("site_system: https://mp01.corp.example", "site_system: https://MP01.corp.example/"),
            ("        connect: 127.0.0.1:9443 ", "        # "),
        )
    )
    bridge = policy.listeners[0].publications["bridge.internet.example"]
    assert isinstance(bridge, BridgePublication)
    site_system = bridge.directories["sms_mp"].site_systems.first
    assert (site_system.name, site_system.address) == (
        "mp01.corp.example",
        ("MP01.corp.example", 443),
    )


def test_each_address_has_its_own_listener(load: Load) -> None:
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


# One problem each, with its line


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version: 1", "version: 2", "invalid value; write version: 1"),
        ("version: 1", 'version: "1"', "invalid value; write version: 1"),
        ("version: 1", "version: 1\nextra: 2", "extra: unknown key"),
        ("mode: bridge", "mode: terminate", "write bridge, tunnel or plaintext"),
        ("mode: tunnel", "mode: bridging", "write bridge, tunnel or plaintext"),
        ("listen: 127.0.0.1:8443", "listen: 127.0.0.1", "such as '0.0.0.0:443'"),
        ("listen: 127.0.0.1:8443", "listen: 127.0.0.1:99999", "99999 is not a port"),
        ("listen: 127.0.0.1:8443", "listen: 8443", "an address and a port number"),
        ("listen: 127.0.0.1:8443", "listen:", "an address and a port number"),
        ("name: bridge.internet.example", "name: a b", "a fully qualified domain name"),
        ("name: bridge.internet.example", "name: '*.internet.example'", "a fully qualified"),
        (
            "https://mp01.corp.example",
            "http://mp01.corp.example",
            HTTPS_ONLY,
        ),
        ("https://mp01.corp.example", "mp01.corp.example:443", HTTPS_ONLY),
        (
            "https://mp01.corp.example",
            "https://mp01.corp.example/x",
            "write https://NAME or https://NAME:PORT, without a path",
        ),
        ("connect: 127.0.0.1:9443", "conect: 127.0.0.1:9443", "unknown key"),
        ("unlisted_headers: drop", "unlisted_headers: keep", "write drop or refuse"),
        ("unlisted_headers: drop", "unlisted_headers: no", "YAML reads no as a bool"),
        ("anchors: [pki/root.pem]", "anchors: pki/root.pem", "write a list"),
        ("anchors: [pki/root.pem]", "anchors: []", "must not be empty"),
        ("crls: [pki/root.crl, pki/issuing.crl]", "crls: []", "crls: no revocation lists; write"),
        (
            "management-point:",
            "enrollment-proxy-point:",
            "only with mode: tunnel (BRIDGE-NOT-ENROLLED)",
        ),
        ("management-point:", "Management-Point:", "unknown site system role"),
        ("chain: pki/bridge-server.pem", "chain: pki/missing.pem", "cannot be read: No such file"),
        ("chain: pki/bridge-server.pem", "chain: pki", "cannot be read: Is a directory"),
        (
            "chain: pki/bridge-server.pem",
            "chain: empty.pem",
            "empty.pem contains no valid PEM certificate",
        ),
        (
            "chain: pki/bridge-server.pem",
            "chain: version-9.pem",
            "version-9.pem contains no valid PEM certificate",
        ),
        (
            "chain: pki/bridge-server.pem",
            "chain: pki/root.crl",
            "contains no valid PEM certificate",
        ),
        ("key: pki/bridge-server.key", "key: pki/missing.key", "cannot be read: No such file"),
        ("key: pki/bridge-server.key", "key: text.pem", "text.pem is not a PEM private key"),
        (
            "key: pki/bridge-server.key",
            "key: locked.key",
            "locked.key is encrypted; write passphrase: {file: PATH} or {environment: NAME}",
        ),
        (
            "key: pki/bridge-server.key",
            "key: pki/bridge-client.key",
            "bridge-client.key does not match the certificate in pki/bridge-server.pem",
        ),
        ("key: pki/bridge-client.key", "key: pki/bridge-server.key", "does not match"),
        ("anchors: [pki/root.pem]", "anchors: [text.pem]", "text.pem contains no certificate"),
        ("issuing: [pki/issuing.pem]", "issuing: [x.pem]", "cannot be read"),
        (
            "issuing: [pki/issuing.pem]",
            "issuing: [pki/issuing.pem, unreadable.pem]",
            "CN=Older CA has an unreadable extension",
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
        ("file: ../audit.jsonl", "file: [x]", "a list is not allowed here; write text"),
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
def test_a_problem_is_reported_with_its_line(
    problems: Problems, old: str, new: str, message: str
) -> None:
    text = changed((old, new))
    [(line, problem)] = problems(text)
    assert message in problem
    changed_line = SHIPPED[: SHIPPED.index(old)].count("\n") + new.count("\n") + 1
    assert line == changed_line


@pytest.mark.parametrize(
    ("remove", "at", "message"),
    [
        ("    listen: 127.0.0.1:8443\n", "- name: bridge", "publications.0.listen: this key"),
        ("      key: pki/bridge-server.key\n", "certificate:", "certificate.key: this key"),
        (
            "    mode: bridge\n",
            "- name: bridge",
            "publications.0.mode: this key is missing; write bridge, tunnel or plaintext",
        ),
        ("version: 1\n", "audit:", "version: this key is missing"),
        ("        anchors: [pki/root.pem]\n", "trust:", "clients.trust.anchors: this key"),
    ],
)
def test_a_missing_key_is_reported_at_its_place(
    problems: Problems, remove: str, at: str, message: str
) -> None:
    text = changed((remove, ""))
    [(line, problem)] = problems(text)
    assert message in problem
    assert line == line_of(at, text)


def test_a_policy_without_publications_has_a_problem(problems: Problems) -> None:
    head = SHIPPED.partition("publications:")[0]
    assert "publications: must not be empty" in problems(head + "publications: []")[0][1]
    assert "publications: this key is missing" in problems(head)[0][1]


@pytest.mark.parametrize("text", ["", "# nothing\n", "[]", "just text"])
def test_a_file_that_is_not_a_policy_has_a_problem(problems: Problems, text: str) -> None:
    [(line, _)] = problems(text)
    assert line == 1


def test_text_that_is_not_yaml_is_reported_with_its_line(problems: Problems) -> None:
    text = changed(("    mode: bridge", "\tmode: bridge"))
    [(line, problem)] = problems(text)
    assert line == line_of("\tmode: bridge", text)
    assert problem.startswith("not YAML")


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


# Secrets


def test_no_key_is_in_a_message(problems: Problems, directory: Path) -> None:
    secret = (directory / "pki/bridge-server.key").read_text().splitlines()[1]
    (directory / "broken.key").write_text(
        (directory / "pki/bridge-server.key").read_text().replace("-----END", "----END")
    )
    for new in ("key: broken.key", "key: pki/bridge-client.key", "key: locked.key"):
        found = problems(changed(("key: pki/bridge-server.key", new)))
        assert secret not in str(found)
        assert "BEGIN" not in str(found)
        assert "sesame" not in str(found)


def test_no_key_is_in_the_repr_of_a_policy(load: Load, directory: Path) -> None:
    policy = load(SHIPPED)
    for name in ("bridge-server.key", "bridge-client.key"):
        lines = (directory / "pki" / name).read_text().splitlines()[1:-1]
        assert not any(line in repr(policy) or line in str(policy) for line in lines)
    assert "PRIVATE" not in repr(policy)
