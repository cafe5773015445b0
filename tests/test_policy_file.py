"""The shipped policy loads, and every kind of problem is told with file and line, all at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from ibcm_bridge.lab.files import shipped_policy
from ibcm_bridge.lab.pki import LabPki
from ibcm_bridge.policy import BridgePublication, Policy, TunnelPublication, UnlistedHeaders
from ibcm_bridge.policy_file import PolicyError, load_policy

HTTPS_ONLY = "bridging HTTPS to HTTP is not supported (BRIDGE-HTTPS-ONLY)"
SHIPPED = shipped_policy()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, pki: LabPki) -> Path:
    """Where the shipped policy's files are, and some that are no good."""
    directory = tmp_path_factory.mktemp("policy")
    pki.write(directory / "pki")
    (directory / "empty.pem").write_bytes(b"")
    (directory / "text.pem").write_text("not PEM")
    (directory / "latin.yar").write_bytes(b"// \xe4")
    key = serialization.load_pem_private_key(
        (directory / "pki/bridge-server.key").read_bytes(), None
    )
    (directory / "locked.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    return directory


Load = Callable[[str], Policy]


@pytest.fixture
def load(directory: Path) -> Load:
    def load_text(text: str) -> Policy:
        path = directory / "bridge.yaml"
        path.write_text(text, "utf-8")
        return load_policy(path)

    return load_text


@pytest.fixture
def problems(load: Load, directory: Path) -> Callable[[str], list[tuple[int, str]]]:
    """The problems of a text as (line, message), each of which named the file."""

    def of(text: str) -> list[tuple[int, str]]:
        with pytest.raises(PolicyError) as caught:
            load(text)
        assert str(caught.value) == "\n".join(caught.value.problems)
        found = []
        for problem in caught.value.problems:
            path = f"{directory / 'bridge.yaml'}:"
            assert problem.startswith(path)
            line, _, message = problem.removeprefix(path).partition(": ")
            found.append((int(line), message))
        return found

    return of


Problems = Callable[[str], list[tuple[int, str]]]


def changed(*changes: tuple[str, str]) -> str:
    """The shipped policy with the first occurrence of each text replaced."""
    text = SHIPPED
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def line_of(fragment: str, text: str = SHIPPED, occurrence: int = 1) -> int:
    lines = [number for number, line in enumerate(text.splitlines(), 1) if fragment in line]
    return lines[occurrence - 1]


# What loads


def test_the_shipped_policy_loads(load: Load, directory: Path) -> None:
    policy = load(SHIPPED)
    [listener] = policy.listeners
    assert listener.address == ("127.0.0.1", 8443)
    assert set(listener.publications) == {
        "bridge.internet.example",
        "mp-tunnel.internet.example",
        "dp-tunnel.internet.example",
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
    ]


def test_limits_and_rules_can_be_set(load: Load, directory: Path) -> None:
    (directory / "site.yar").write_text("rule x { condition: false }")
    more = "rules: [site.yar]\nlimits: {request_head: 8_192, idle_seconds: 1.5}\n"
    policy = load(SHIPPED + more)
    assert policy.rule_files == (directory / "site.yar",)
    assert (policy.limits.request_head, policy.limits.idle_seconds) == (8_192, 1.5)
    assert policy.limits.client_hello == 16_384


# What does not: one problem each, with its line


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version: 1", "version: 2", "this is version 1: write version: 1"),
        ("version: 1", 'version: "1"', "this is version 1: write version: 1"),
        ("version: 1", "version: 1\nextra: 2", "extra: no such key here"),
        ("mode: bridge", "mode: terminate", "mode is bridge, tunnel or plaintext"),
        ("mode: tunnel", "mode: bridging", "mode is bridge, tunnel or plaintext"),
        ("listen: 127.0.0.1:8443", "listen: 127.0.0.1", "such as 0.0.0.0:443"),
        ("listen: 127.0.0.1:8443", "listen: 127.0.0.1:99999", "99999 is not a port"),
        ("listen: 127.0.0.1:8443", "listen: 8443", "input should be a valid string"),
        ("listen: 127.0.0.1:8443", "listen:", "input should be a valid string"),
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
            HTTPS_ONLY,
        ),
        ("connect: 127.0.0.1:9443", "conect: 127.0.0.1:9443", "no such key here"),
        ("unlisted_headers: drop", "unlisted_headers: keep", "input should be 'drop' or 'refuse'"),
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
        ("key: pki/bridge-server.key", "key: text.pem", "not a PEM private key without passphrase"),
        (
            "key: pki/bridge-server.key",
            "key: locked.key",
            "not a PEM private key without passphrase",
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
            "crls: [pki/root.crl, pki/issuing.crl]",
            "crls: [pki/root.crl]",
            "no revocation list of CN=Lab Issuing CA",
        ),
        (
            "crls: [pki/root.crl, pki/issuing.crl]",
            "crls: [pki/root.crl, pki/issuing.crl, text.pem]",
            "text.pem is not a revocation list",
        ),
        ("file: ../audit.jsonl", "file: [x]", "input should be a valid string"),
        (
            "name: mp-tunnel.internet.example",
            "name: bridge.internet.example",
            "bridge.internet.example is published twice on 127.0.0.1:8443",
        ),
        ("version: 1", "version: 1\nrules: [missing.yar]", "cannot be read"),
        ("version: 1", "version: 1\nrules: [latin.yar]", "latin.yar: not UTF-8 text"),
        ("version: 1", "version: 1\nlimits: {client_hello: 1}", "greater than or equal to 1024"),
        ("version: 1", 'version: 1\nlimits: {client_hello: "4096"}', "valid integer"),
        ("version: 1", "version: 1\nlimits: {idle_seconds: 0}", "greater than 0"),
        ("version: 1", "version: 1\nlimits: {request_head: 0o17}", "valid integer"),
    ],
)
def test_a_problem_is_told_with_its_line(
    problems: Problems, old: str, new: str, message: str
) -> None:
    text = changed((old, new))
    [(line, told)] = problems(text)
    assert message in told
    changed_line = SHIPPED[: SHIPPED.index(old)].count("\n") + new.count("\n") + 1
    # Of a mode that is none, the publication is told: it begins one line above.
    assert line == changed_line - ("mode is" in message)


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
        assert "passphrase" not in str(told).replace("without passphrase", "")


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
