"""`messages:` of a policy file: the rules, and the messages for invalid values."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.policy.message_policy import (
    CertificateRenewal,
    Enforcement,
    MessagePolicy,
    UnknownGuids,
)
from ibcm_bridge.policy.publications import BridgePublication, Listener
from ibcm_bridge.policy_file import PolicyError, load_policy

SHIPPED = shipped_policy()
DERIVED = MessagePolicy(internal_domains=frozenset({"corp.example"}))


Load = Callable[..., MessagePolicy]


@pytest.fixture
def load(directory: Path) -> Load:
    """The rules of the shipped policy with these lines under `messages`, and with these changes."""

    def load_changed(*lines: str, changes: dict[str, str] | None = None) -> MessagePolicy:
        text = SHIPPED
        for old, new in (changes or {}).items():
            assert old in text, old
            text = text.replace(old, new)
        if lines:
            text += "messages:\n" + "".join(f"  {line}\n" for line in lines)
        (directory / "bridge.yaml").write_text(text, "utf-8")
        return load_policy(directory / "bridge.yaml").messages

    return load_changed


def problems(load: Load, *lines: str, **more: dict[str, str]) -> list[str]:
    """The problems, each as its line below `messages:` and its text."""
    with pytest.raises(PolicyError) as caught:
        load(*lines, **more)
    found = []
    for problem in caught.value.problems:
        line, _, text = problem.partition("bridge.yaml:")[2].partition(": ")
        found.append(f"{int(line) - len(SHIPPED.splitlines()) - 1}: {text}")
    return found


def test_the_default_is_to_observe(load: Load) -> None:
    assert load() == DERIVED


def test_every_key_can_be_set(load: Load, directory: Path) -> None:
    assert load(
        "identity: enforce",
        "unknown_guids: refuse",
        "renewal: same-name",
        "bindings: pki/../bindings.sqlite",
        "signatures: enforce",
        "clock_skew: 2h",
        "host_names: enforce",
        "intranet_only: enforce",
        "internal_domains: [Corp.Example, lab.example]",
        "encrypted: {because: our clients encrypt their inventory}",
    ) == MessagePolicy(
        identity=Enforcement.ENFORCE,
        unknown_guids=UnknownGuids.REFUSE,
        renewal=CertificateRenewal.SAME_NAME,
        bindings_file=directory / "pki/../bindings.sqlite",
        signatures=Enforcement.ENFORCE,
        clock_skew=timedelta(hours=2),
        host_names=Enforcement.ENFORCE,
        intranet_only=Enforcement.ENFORCE,
        internal_domains=frozenset({"corp.example", "lab.example"}),
        encrypted_because="our clients encrypt their inventory",
    )


@pytest.mark.parametrize("opted_in", [True, False])
def test_encrypted_messages_pass_only_with_a_reason(
    load: Load, directory: Path, opted_in: bool
) -> None:
    load(*(["encrypted: {because: our clients encrypt}"] if opted_in else []))
    policy = load_policy(directory / "bridge.yaml")
    tables = {
        role.profile.messages.encrypted
        for listener in policy.listeners
        if isinstance(listener, Listener)
        for publication in listener.publications.values()
        if isinstance(publication, BridgePublication)
        for role in publication.directories.values()
        if role.profile.messages is not None
    }
    assert tables == {opted_in}


def test_omitted_keys_have_their_defaults(load: Load, directory: Path) -> None:
    rules = load("identity: enforce", "bindings: bindings.sqlite")
    assert rules == MessagePolicy(
        identity=Enforcement.ENFORCE,
        bindings_file=directory / "bindings.sqlite",
        internal_domains=DERIVED.internal_domains,
    )
    assert not (directory / "bindings.sqlite").exists()


def test_enforcing_identity_requires_a_bindings_file(load: Load) -> None:
    assert load("identity: observe") == DERIVED
    assert problems(load, "identity: enforce") == [
        "1: messages.identity: enforce requires a file for bindings, because a restart would lose "
        "them; write bindings: bindings.sqlite"
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("bindings: no/bindings.sqlite", "bindings: there is no folder DIRECTORY/no"),
        ("bindings: pki", "bindings: DIRECTORY/pki is a folder; write the name of a file in it"),
        ("bindings: 5", "bindings: invalid value; write text, in quotes"),
        ("identity: refuse", "identity: invalid value; write observe or enforce"),
        ("host_names: refuse", "host_names: invalid value; write observe or enforce"),
        ("renewal: any", "renewal: invalid value; write same-key or same-name"),
        ("clock_skew: 15", "clock_skew: invalid value; write a number and a unit"),
        (
            "clock_skew: 15 min",
            "clock_skew: invalid value; write a number and a unit (s, m, h or d), such as 30m",
        ),
        (
            "internal_domains: [corp.example, .corp.example]",
            "internal_domains.1: invalid value; write a domain, such as corp.example",
        ),
        (
            "encrypted: {}",
            "encrypted.because: this key is missing; write a reason of 8 to 500 characters",
        ),
        ("bindngs: bindings.sqlite", "bindngs: unknown key"),
    ],
)
def test_an_invalid_value_is_reported_at_its_place(
    load: Load, directory: Path, line: str, problem: str
) -> None:
    (found,) = problems(load, line)
    assert found.startswith(f"1: messages.{problem.replace('DIRECTORY', str(directory))}")


def test_problems_elsewhere_do_not_hide_it(load: Load) -> None:
    found = problems(
        load, "bindings: no/file", "identity: enforce", changes={"version: 1": "version: 2"}
    )
    assert len(found) == 2
    assert found[1].startswith("1: messages.bindings: there is no folder")
    found = problems(load, "identity: enforce", changes={"pki/root.pem": "pki/none.pem"})
    assert found[-1].startswith("1: messages.identity: enforce requires a file for bindings")


# Internal domains


@pytest.mark.parametrize(
    ("changes", "domains"),
    [
        ({}, {"corp.example"}),
        ({"mp01.corp.example": "MP01.Site.Corp.Example"}, {"site.corp.example", "corp.example"}),
        # plaintext site systems have internal names too
        ({"fsp01.corp.example": "fsp01.dmz.example"}, {"corp.example", "dmz.example"}),
        # at least two labels
        ({"01.corp.example": "01.example"}, set()),
        ({"01.corp.example": "01"}, set()),
        # addresses have no domain
        ({"mp01.corp.example": "192.0.2.1", "dp01.corp.example": "192.0.2.2"}, {"corp.example"}),
        # a domain that contains a publication: its own name, or a name below it
        ({"01.corp.example": "01.internet.example"}, set()),
        ({"mp01.corp.example": "mp01.bridge.internet.example"}, {"corp.example"}),
        ({"enroll.internet.example": "enroll.corp.example"}, set()),
        ({"enroll.internet.example": "corp.example"}, set()),
        ({"fsp.internet.example": "fsp.corp.example"}, set()),
        # a name that only has the same suffix is not below the domain
        ({"enroll.internet.example": "enroll.mycorp.example"}, {"corp.example"}),
    ],
)
def test_the_default_domains_are_those_of_the_site_systems(
    load: Load, changes: dict[str, str], domains: set[str]
) -> None:
    assert load(changes=changes).internal_domains == domains


def test_a_configured_domain_applies_even_if_it_contains_a_publication(load: Load) -> None:
    rules = load("internal_domains: [Internet.Example]")
    assert rules.internal_domains == {"internet.example"}
