"""`messages:` of a policy file, as rules; each way to say it wrong, with its place."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.policy.message_rules import (
    CertificateRenewal,
    Enforcement,
    MessageRules,
    UnknownGuids,
)
from ibcm_bridge.policy.publications import BridgePublication, Listener
from ibcm_bridge.policy_file import PolicyError, load_policy

SHIPPED = shipped_policy()
DERIVED = MessageRules(internal_domains=frozenset({"corp.example"}))


Load = Callable[..., MessageRules]


@pytest.fixture
def load(directory: Path) -> Load:
    """The rules of the shipped policy with these lines under `messages`, and with these changes."""

    def load_changed(*lines: str, changes: dict[str, str] | None = None) -> MessageRules:
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
    """What is wrong, each as line below `messages:`, and text."""
    with pytest.raises(PolicyError) as caught:
        load(*lines, **more)
    found = []
    for problem in caught.value.problems:
        line, _, text = problem.partition("bridge.yaml:")[2].partition(": ")
        found.append(f"{int(line) - len(SHIPPED.splitlines()) - 1}: {text}")
    return found


def test_a_policy_that_says_nothing_observes(load: Load) -> None:
    assert load() == DERIVED


def test_everything_can_be_said(load: Load, directory: Path) -> None:
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
    ) == MessageRules(
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
def test_encrypted_messages_pass_where_the_file_says_why(
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


def test_what_is_not_said_stays_as_it_is(load: Load, directory: Path) -> None:
    rules = load("identity: enforce", "bindings: bindings.sqlite")
    assert rules == MessageRules(
        identity=Enforcement.ENFORCE,
        bindings_file=directory / "bindings.sqlite",
        internal_domains=DERIVED.internal_domains,
    )
    assert not (directory / "bindings.sqlite").exists()


def test_identity_is_observed_without_a_file_and_not_enforced(load: Load) -> None:
    assert load("identity: observe") == DERIVED
    assert problems(load, "identity: enforce") == [
        "1: messages.identity: name a file for bindings, such as bindings: bindings.sqlite; "
        "without one every restart forgets whose each client GUID is"
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("bindings: no/bindings.sqlite", "bindings: there is no folder DIRECTORY/no"),
        ("bindings: pki", "bindings: DIRECTORY/pki is a folder; name a file in it"),
        ("bindings: 5", "bindings: text is wanted here: put it in quotes"),
        ("identity: refuse", "identity: observe or enforce is wanted here"),
        ("host_names: refuse", "host_names: observe or enforce is wanted here"),
        ("renewal: any", "renewal: same-key or same-name is wanted here"),
        ("clock_skew: 15", "clock_skew: a time and its unit"),
        ("clock_skew: 15 min", "clock_skew: a time and its unit (s, m, h or d), such as 30m"),
        (
            "internal_domains: [corp.example, .corp.example]",
            "internal_domains.1: a domain, such as corp.example",
        ),
        ("encrypted: {}", "encrypted.because: say why, in words of 8 to 500 characters"),
        ("bindngs: bindings.sqlite", "bindngs: no such key here"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    load: Load, directory: Path, line: str, problem: str
) -> None:
    (found,) = problems(load, line)
    assert found.startswith(f"1: messages.{problem.replace('DIRECTORY', str(directory))}")


def test_what_is_wrong_elsewhere_does_not_hide_it(load: Load) -> None:
    found = problems(
        load, "bindings: no/file", "identity: enforce", changes={"version: 1": "version: 2"}
    )
    assert len(found) == 2
    assert found[1].startswith("1: messages.bindings: there is no folder")
    found = problems(load, "identity: enforce", changes={"pki/root.pem": "pki/none.pem"})
    assert found[-1].startswith("1: messages.identity: name a file for bindings")


# Which names are the intranet's


@pytest.mark.parametrize(
    ("changes", "domains"),
    [
        ({}, {"corp.example"}),
        ({"mp01.corp.example": "MP01.Site.Corp.Example"}, {"site.corp.example", "corp.example"}),
        # plaintext site systems have names of the intranet too
        ({"fsp01.corp.example": "fsp01.dmz.example"}, {"corp.example", "dmz.example"}),
        # two labels at least
        ({"01.corp.example": "01.example"}, set()),
        ({"01.corp.example": "01"}, set()),
        # no domains of addresses
        ({"mp01.corp.example": "192.0.2.1", "dp01.corp.example": "192.0.2.2"}, {"corp.example"}),
        # one that the Internet has, too: by its own name, or by one below it
        ({"01.corp.example": "01.internet.example"}, set()),
        ({"mp01.corp.example": "mp01.bridge.internet.example"}, {"corp.example"}),
        ({"enroll.internet.example": "enroll.corp.example"}, set()),
        ({"enroll.internet.example": "corp.example"}, set()),
        ({"fsp.internet.example": "fsp.corp.example"}, set()),
        # which is told from one that only ends alike
        ({"enroll.internet.example": "enroll.mycorp.example"}, {"corp.example"}),
    ],
)
def test_the_intranets_domains_are_those_of_the_site_systems(
    load: Load, changes: dict[str, str], domains: set[str]
) -> None:
    assert load(changes=changes).internal_domains == domains


def test_a_domain_that_is_said_counts_even_where_a_publication_is_in_it(load: Load) -> None:
    rules = load("internal_domains: [Internet.Example]")
    assert rules.internal_domains == {"internet.example"}
