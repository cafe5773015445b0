import re
from pathlib import Path

import pytest
import yaml

from ibcm_bridge import __version__
from ibcm_bridge.conformance.serving import quick_policy
from ibcm_bridge.conformance.subject_file import (
    BRIDGE,
    RevocationRow,
    TimeLimitsRow,
    public_addresses,
    read_subject,
    template,
)
from ibcm_bridge.policy_file.reading import PolicyError

ADDRESSES = {"management-point": ("bridge.internet.example", "127.0.0.1:8443")}


@pytest.fixture
def text(tmp_path: Path) -> str:
    return template("subject.yaml", tmp_path, ADDRESSES, BRIDGE)


def problems(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "subject.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(PolicyError) as refused:
        read_subject(file)
    return [problem.removeprefix(f"{tmp_path}/") for problem in refused.value.problems]


def test_the_template_states_nothing_about_the_limits_and_lists_of_any_product(
    tmp_path: Path,
) -> None:
    file = tmp_path / "subject.yaml"
    text = template("subject.yaml", tmp_path, ADDRESSES)
    file.write_text(text, "utf-8")
    row = read_subject(file)
    assert row.publications["management-point"].name == "bridge.internet.example"
    assert row.kit == str(tmp_path)
    assert row.product == "my-proxy"
    assert row.time_limits == TimeLimitsRow()
    assert row.revocation is None
    # Without the signs of a comment, both are valid.
    file.write_text(re.sub("^# (time_limits|revocation)", r"\1", text, flags=re.MULTILINE), "utf-8")
    row = read_subject(file)
    assert set(row.time_limits.model_dump().values()) == {60}
    assert row.revocation is not None
    assert row.revocation.command


def test_the_template_for_the_bridge_has_the_limits_of_the_kit_s_policy(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "subject.yaml"
    file.write_text(text, "utf-8")
    row = read_subject(file)
    assert (row.product, row.product_version) == ("ibcm-bridge", __version__)
    assert row.revocation == RevocationRow(seconds=30)
    limits = yaml.safe_load(quick_policy())["limits"]
    assert {f"{name}_seconds": value for name, value in row.time_limits} == limits


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("product: ibcm-bridge\n", "", ":6: product: this key is missing"),
        ("seconds:", "second:", ":13: second: unknown key"),
        ("seconds: 30", "seconds: 0", ":13: seconds: invalid value; write greater than 0"),
        ("seconds: 30", "seconds: soon", ":13: seconds: invalid value"),
        ("management-point:", "managment-point:", ":22: publications.managment-point: invalid"),
        (
            "127.0.0.1:8443",
            "bridge:8443",
            ":22: publications.management-point.address: String should match",
        ),
        (
            "127.0.0.1:8443",
            "127.0.0.1:84430",
            ":22: publications.management-point.address: 84430 is not a port",
        ),
        (
            "127.0.0.1:8443",
            "1.2.3.400:443",
            ":22: publications.management-point.address: not an IP address",
        ),
        ("head: 5", "head: 1", ":16: time_limits.head: invalid value; write greater than or equal"),
        ("head: 5", "headers: 5", ":16: time_limits.headers: unknown key"),
        ("{seconds: 30}", "{seconds: 0}", ":19: revocation.seconds: invalid value"),
        ("{seconds: 30}", "{command: reload}", ":19: revocation.command: invalid value"),
        ("# clients", "clients", ":19: revocation: the kit revokes only its own certificates"),
        ("features: [ca_names", "features: [magic", ":24: features.0: invalid value"),
        ("known_gaps: []", "known_gaps: [{check: a}]", "known_gaps.0.because: this key is missing"),
        ("# configuration", "configuration", "configuration: "),
        ("version: 1\n", "version: [\n", "not YAML"),
    ],
)
def test_a_problem_has_the_file_the_line_and_the_place(
    tmp_path: Path, text: str, old: str, new: str, problem: str
) -> None:
    assert old in text
    (found, *_) = problems(tmp_path, text.replace(old, new))
    assert found.startswith("subject.yaml:")
    assert problem in found


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read: No such file"):
        read_subject(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("127.0.0.1:443", False),
        ("10.1.2.3:443", False),
        ("192.168.1.1:443", False),
        ("[::1]:443", False),
        ("[fd00::1]:443", False),
        ("8.8.8.8:443", True),
        ("[2606:4700::1111]:443", True),
    ],
)
def test_an_address_is_public_if_it_is_neither_loopback_nor_private(
    tmp_path: Path, text: str, address: str, public: bool
) -> None:
    file = tmp_path / "subject.yaml"
    file.write_text(text.replace("127.0.0.1:8443", address), "utf-8")
    assert public_addresses(read_subject(file)) == ([address] if public else [])
