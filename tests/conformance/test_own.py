"""Names and client certificates of the user, in place of those of the kit."""

from __future__ import annotations

import json
import shutil
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ibcm_bridge.commands.main import main
from ibcm_bridge.conformance.collection import all_checks
from ibcm_bridge.conformance.judgement import Outcome
from ibcm_bridge.conformance.kit import Client, Kit, read_kit, read_own
from ibcm_bridge.conformance.runner import run_checks
from ibcm_bridge.conformance.serving import POLICY, serving
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.errors import LabError
from ibcm_bridge.lab.protocol.client import LabClient

from .conftest import SuiteLab

type Text = pytest.CaptureFixture[str]


@pytest.fixture
def own(suite_lab: SuiteLab, tmp_path: Path) -> Path:
    """A folder with two certificates, which the running bridge trusts."""
    folder = tmp_path / "own"
    folder.mkdir()
    for name in ("computer", "revoked"):
        for suffix in ("pem", "key"):
            shutil.copy(suite_lab.kit.client_folder / f"{name}.{suffix}", folder)
    return folder


def outcomes(suite_lab: SuiteLab, kit: Kit, *checks: str) -> dict[str, Outcome]:
    subject = Subject(suite_lab.places, kit, suite_lab.site, seconds=20)
    found = run_checks([all_checks()[check] for check in checks], subject, {})
    return {result.check.id: result.judgement.outcome for result in found}


def test_checks_use_the_certificates_of_the_user(suite_lab: SuiteLab, own: Path) -> None:
    kit = read_own(suite_lab.kit, own, None)
    found = outcomes(
        suite_lab,
        kit,
        *("certificates::computer", "certificates::revoked", "certificates::foreign"),
        *("certificates::expired", "certificates::none", "identity::own_guid"),
    )
    assert found.pop("certificates::expired") is Outcome.NOT_APPLICABLE
    assert {*found.values()} == {Outcome.PASS}


def test_a_wrong_certificate_of_the_user_is_noticed(suite_lab: SuiteLab, own: Path) -> None:
    for suffix in ("pem", "key"):
        shutil.copy(own / f"computer.{suffix}", own / f"revoked.{suffix}")
    kit = read_own(suite_lab.kit, own, None)
    found = outcomes(suite_lab, kit, "certificates::revoked")
    assert found == {"certificates::revoked": Outcome.FAIL}


def test_a_check_without_its_certificate_names_the_file(suite_lab: SuiteLab, own: Path) -> None:
    kit = read_own(suite_lab.kit, own, None)
    subject = Subject(suite_lab.places, kit, suite_lab.site, seconds=20)
    (result,) = run_checks([all_checks()["certificates::expired"]], subject, {})
    assert result.judgement.difference == f"{own} has no expired.pem"


def test_certificates_that_cannot_be_used_are_refused(
    suite_lab: SuiteLab, own: Path, tmp_path: Path
) -> None:
    with pytest.raises(LabError, match=r"has no computer\.pem"):
        read_own(suite_lab.kit, tmp_path, None)
    (own / "revoked.key").write_bytes((own / "computer.key").read_bytes())
    with pytest.raises(LabError, match="do not belong together"):
        read_own(suite_lab.kit, own, None)
    (own / "revoked.key").unlink()
    with pytest.raises(LabError, match=r"revoked.pem and .key: not PEM files"):
        read_own(suite_lab.kit, own, None)
    for suffix in ("pem", "key"):
        (own / f"revoked.{suffix}").unlink(missing_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    suite_lab.pki.computer_with_key("pc9.corp.example", key).write(own, "revoked")
    with pytest.raises(LabError, match="sign with RSA keys"):
        read_own(suite_lab.kit, own, None)
    with pytest.raises(LabError, match="not a certificate in PEM"):
        read_own(suite_lab.kit, None, own / "revoked.key")


def test_the_authority_of_the_user_verifies_the_proxy(suite_lab: SuiteLab) -> None:
    foreign = suite_lab.kit.client_folder / "foreign-root.pem"
    kit = read_own(suite_lab.kit, None, foreign)
    found = outcomes(suite_lab, kit, "certificates::computer")
    assert found == {"certificates::computer": Outcome.FAIL}
    kit = read_own(suite_lab.kit, None, suite_lab.kit.root_file)
    found = outcomes(suite_lab, kit, "certificates::computer")
    assert found == {"certificates::computer": Outcome.PASS}


def test_a_slow_response_is_not_a_hang_for_an_impatient_user(suite_lab: SuiteLab) -> None:
    subject = Subject(suite_lab.places, suite_lab.kit, suite_lab.site, seconds=2)
    (result,) = run_checks([all_checks()["limits::slow_response"]], subject, {})
    assert result.judgement.outcome is Outcome.PASS


NAMES = {
    "management-point": "mp.customer.example",
    "distribution-point": "dp.customer.example",
    "management-point-tunnel": "tunnel.customer.example",
}


def test_the_kit_has_the_names_of_the_proxy(tmp_path: Path) -> None:
    kit_folder = tmp_path / "kit"
    here = IPv4Address("127.0.0.1")
    with serving(here, kit_folder, names=NAMES, fixed_ports=False) as site:
        assert (kit_folder / "pki" / "mp.customer.example.pem").exists()
        assert (kit_folder / "pki" / "dp.customer.example.key").exists()
        # A tunnel has the certificate of the site system.
        assert not (kit_folder / "pki" / "tunnel.customer.example.pem").exists()
        assert not (kit_folder / POLICY).exists()
        assert json.loads((kit_folder / "kit.json").read_text("utf-8"))["names"] == NAMES
        kit = read_kit(kit_folder)
        with LabClient(
            site.management_point,
            "tunnel.customer.example",
            trust=kit.root,
            credential=kit.clients[Client.COMPUTER],
        ) as client:
            listed = client.request("GET", "/SMS_MP/.sms_aut?MPLIST").body
    assert b"mp.customer.example" in listed
    assert b"bridge.internet.example" not in listed
    subject = tmp_path / "subject.yaml"
    assert main(["conformance", "init", str(subject), "--kit", str(kit_folder)]) == 0
    text = subject.read_text("utf-8")
    assert "management-point: {name: mp.customer.example," in text
    assert "distribution-point: {name: dp.customer.example," in text
    assert "software-update-point: {name: bridge.internet.example," in text


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("magic-point=a.example", "'magic-point' is not one of: management-point"),
        ("management-point", "'' is not a full DNS name"),
        ("management-point=../a", "'../a' is not a full DNS name"),
        ("management-point=192.0.2.1", "'192.0.2.1' is not a full DNS name"),
    ],
)
def test_a_wrong_name_is_refused(given: str, problem: str, capsys: Text) -> None:
    with pytest.raises(SystemExit):
        main(["conformance", "serve", "--name", given])
    assert f"--name: {problem}" in capsys.readouterr().err
