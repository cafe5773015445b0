"""An edited policy stays in the lab."""

from __future__ import annotations

import pytest

from ibcm_bridge.lab.cases.policy import demo_policy
from ibcm_bridge.lab.page import lab_limits
from ibcm_bridge.lab.page.lab_limits import leaves_the_lab

OWN = demo_policy(("127.0.0.1", 3310)) + "workers: 1\n"
FILE = "bridge.yaml"


def refused(text: str) -> list[str]:
    return leaves_the_lab(text, OWN, FILE)


def test_the_policy_of_the_lab_stays_in_it() -> None:
    assert refused(OWN) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("mode: tunnel", "mode: bridge"),
        ("unlisted_headers: drop", "unlisted_headers: refuse"),
        ("identity: enforce", "identity: observe"),
        ("crls: [pki/root.crl, pki/issuing.crl]", "crls: [pki/issuing.crl]"),
        ("anchors: [pki/root.pem]", "anchors: [pki/issuing.pem]"),
        ("connect: 127.0.0.1:9443 ", "connect: 127.0.0.1:9444 "),
        ("site_system: 127.0.0.1:9443", "site_system: 127.0.0.1:9444"),
        ("mp01.corp.example", "another.corp.example"),
        ("version: 1", "version: 1\nlimits: {head_seconds: 5}"),
        ("version: 1", "misspelt: [1, 2]"),
    ],
)
def test_a_change_within_the_lab_is_allowed(old: str, new: str) -> None:
    assert old in OWN
    assert refused(OWN.replace(old, new)) == []


@pytest.mark.parametrize(
    ("old", "new", "where", "value"),
    [
        ("listen: 127.0.0.1:8443", "listen: 0.0.0.0:443", "publications.0.listen", "0.0.0.0:443"),
        ("file: ../audit.jsonl", "file: /etc/passwd", "audit.file", "/etc/passwd"),
        ("chain: pki/bridge-server.pem", "chain: /etc/shadow", "certificate.chain", "/etc/shadow"),
        ("key: pki/bridge-server.key", "key: ../../key", "certificate.key", "../../key"),
        ("anchors: [pki/root.pem]", "anchors: [/x.pem]", "trust.anchors.0", "/x.pem"),
        ("connect: 127.0.0.1:9443 ", "connect: 10.0.0.1:443 ", "management-point.connect", "10."),
        ("site_system: 127.0.0.1:9443", "site_system: 10.0.0.1:443", "site_system", "10.0.0.1:443"),
        ("version: 1", "version: 1\nrules: [/rules]", "rules.0", "/rules"),
        ("version: 1", "version: 1\noperations: {listen: 0.0.0.0:1}", "operations.listen", "0."),
        ("version: 1", "version: 1\nuploads: {spool: /x}", "uploads.spool", "/x"),
        ("version: 1", "version: 1\nstate: postgresql://a@b/c", "state", "postgresql://a@b/c"),
        ("bindings: bindings.sqlite", "bindings: /x", "messages.bindings", "/x"),
        ("address: 127.0.0.1:3310", "socket: /run/docker.sock", "clamav.socket", "/run/docker.so"),
        ("address: 127.0.0.1:3310", "address: 10.0.0.1:3310", "clamav.address", "10.0.0.1:3310"),
        ("workers: 1", "workers: 64", "workers", "64"),
        ("version: 1", "version: 1\nlimits: {inspection_workers: 64}", "inspection_workers", "64"),
        (
            "crls: [pki/root.crl, pki/issuing.crl]",
            "fetch: {urls: ['http://evil.example/'], folder: /tmp}",
            "fetch.urls.0",
            "http://evil.example/",
        ),
        (
            "key: pki/bridge-server.key",
            "key: pki/bridge-server.key\n      passphrase: {environment: HOME}",
            "passphrase.environment",
            "HOME",
        ),
        (
            "key: pki/bridge-server.key",
            "pfx: /x.pfx",
            "certificate.pfx",
            "/x.pfx",
        ),
    ],
)
def test_a_change_that_leaves_the_lab_gets_its_line(
    old: str, new: str, where: str, value: str
) -> None:
    assert old in OWN
    edited = OWN.replace(old, new, 1)
    first, *_ = refused(edited)
    at, _, sentence = first.partition(": ")
    assert where in sentence
    assert value in sentence
    assert "leaves the lab" in sentence
    number = int(at.removeprefix(f"{FILE}:"))
    assert value in edited.splitlines()[number - 1]


def test_a_site_system_without_an_address_would_be_looked_for_in_dns() -> None:
    (line,) = refused(OWN.replace("        connect: 127.0.0.1:9444\n", "", 1))
    assert "without `connect`, https://dp01.corp.example leaves the lab" in line
    several = "site_system: [{site_system: https://x.example}]\n        #"
    edited = OWN.replace("site_system: https://dp01.corp.example", several, 1)
    assert "without `connect`, https://x.example leaves the lab" in refused(edited)[0]


@pytest.mark.parametrize("nothing", ["", " null", " ~", " {}", " []", ' ""'])
def test_an_address_needs_a_value(nothing: str) -> None:
    edited = OWN.replace("connect: 127.0.0.1:9444", f"connect:{nothing}", 1)
    (line, *_) = refused(edited.replace("https://dp01.corp.example", "https://x.example", 1))
    assert "without `connect`, https://x.example leaves the lab" in line


def test_a_long_value_is_not_repeated_in_each_sentence() -> None:
    """Aliases would repeat it in a report of many megabytes."""
    (line,) = refused(OWN + f"rules: [{'x' * 900}]\n")
    assert len(line) < 300
    repeated = f"rules: [&a {'x' * 900}, {', '.join(['*a'] * 5_000)}]\n"
    assert refused(OWN + repeated) == [
        f"{FILE}:1: more than 5,000 values, as the aliases repeat them; remove some"
    ]


@pytest.mark.parametrize("long", [f"web: {'x' * 1_001}", f"? {'x' * 1_001}\n: 1"])
def test_a_text_that_is_too_long_gets_its_line(long: str) -> None:
    assert refused(OWN + long) == [
        f"{FILE}:{OWN.count(chr(10)) + 1}: longer than 1,000 characters; shorten it"
    ]


def test_a_long_text_with_aliases_gets_one_line() -> None:
    assert len(refused(OWN + f"web: [&a {'x' * 1_001}, *a, *a]\n")) == 1


def test_an_alias_leaves_the_lab_as_its_value_does() -> None:
    edited = OWN.replace("listen: 127.0.0.1:8443", "listen: &a 0.0.0.0:443", 1)
    edited = edited.replace("listen: 127.0.0.1:8443", "listen: *a", 1)
    assert len(refused(edited)) == 2


def test_each_key_that_is_not_known_to_stay_inside_is_refused() -> None:
    """A key that a later version adds is refused until it is listed."""
    assert lab_limits._outward() == {
        *("listen", "site_system", "connect", "chain", "key", "pfx", "file", "environment"),
        *("anchors", "issuing", "crls", "urls", "folder", "authority", "rules", "socket"),
        *("address", "bindings", "spool", "workers", "inspection_workers", "state"),
    }


def test_every_key_that_stays_inside_exists() -> None:
    known = frozenset(lab_limits._properties(lab_limits.policy_schema()))
    assert known >= lab_limits._INSIDE
