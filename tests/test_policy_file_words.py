"""What a policy file's author reads: which line, which key, and what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibcm_bridge.lab.pki import LabPki

from .policy_samples import MP, TRUST, Problems, bridge, problems_of, sample, tunnel


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, pki: LabPki) -> Path:
    directory = tmp_path_factory.mktemp("policy")
    pki.write(directory / "pki")
    return directory


@pytest.fixture
def problems(directory: Path) -> Problems:
    return lambda text: problems_of(directory / "bridge.yaml", text)


# YAML


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("anchors: [pki/root.pem]", "anchors: [gone.pem]", "trust.anchors.0: "),
        ("anchors: [pki/root.pem]", "anchors: 5", "trust.anchors: a list is wanted"),
        ("anchors: [", "colour: red, anchors: [", "trust.colour: no such key here"),
        ("anchors: [pki/root.pem], ", "", "trust.anchors: this key is missing"),
        ("crls: [pki/root.crl, ", "crls: [", "trust.crls: no revocation list of"),
        ("anchors: [", "grace: 1:30, anchors: [", "trust.grace: YAML reads 1:30 as a number"),
    ],
)
def test_a_mistake_behind_an_alias_is_told_once_where_it_is_written(
    problems: Problems, old: str, new: str, told: str
) -> None:
    both = bridge(MP, clients="{trust: *pki}", name="b.example")
    both = both.replace(f"trust: {TRUST}", "trust: *pki")
    shared = bridge(MP, clients="{trust: *pki}").replace("trust: {", "trust: &pki {")
    text = sample(shared.replace(old, new, 1), both)
    [(line, message)] = problems(text)
    assert message.startswith(f"publications.0.site_systems.{told}")
    assert "&pki" in text.splitlines()[line - 1]


def test_a_merge_key_is_one_problem_and_not_all_that_is_missing_for_it(problems: Problems) -> None:
    text = sample(
        "  - &a\n" + tunnel().replace("  - ", "    "), "  - <<: *a\n    name: u.example\n"
    )
    [(line, message)] = problems(text)
    assert message.startswith("publications.1.<<: merge keys are not read: write the keys out")
    assert "<<" in text.splitlines()[line - 1]


def test_a_path_of_windows_in_double_quotes_is_told_with_what_to_write(problems: Problems) -> None:
    text = sample(bridge(MP).replace("key: pki/bridge-server.key", 'key: "C:\\bridge.key"', 1))
    [(_, message)] = problems(text)
    assert message.startswith("publications.0.certificate.key: this makes a control character")
    assert message.endswith("write paths in single quotes, or with / between folders")


@pytest.mark.parametrize("key", ['"a\\eb"', '"\\x9b"', '"\\u202e"', '"\\n"'])
def test_nothing_is_printed_that_a_terminal_would_act_on(problems: Problems, key: str) -> None:
    for text in (f"{key}: 1\n", f"version: 1\nrules: [{key}]\n", f"version: {key}\n"):
        assert all(message.isprintable() for _, message in problems(text))
