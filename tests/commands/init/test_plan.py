"""Site systems of `init` with their names -> publications, or the reason why there are none."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ibcm_bridge.commands.main import main
from ibcm_bridge.policy.publications import BridgePublication, TunnelPublication
from ibcm_bridge.policy.roles import CertificatePolicy
from ibcm_bridge.policy_file import load_policy
from tests.commands.init.options import MANY, MP, NAME, OWN, options

MP2 = "https://mp02.corp.example,127.0.0.1:9543"
DP = "https://dp01.corp.example,127.0.0.1:9444"
DP2 = "https://dp02.corp.example,127.0.0.1:9544"
SUP = "https://sup01.corp.example,127.0.0.1:9445"
FSP = "http://fsp01.corp.example,127.0.0.1:9446"
CAT = "https://cat01.corp.example,127.0.0.1:9449"


def publications(home: Path) -> dict[str, BridgePublication | TunnelPublication]:
    """The publications of the first port, by name."""
    listener = load_policy(home / "policy.yaml").listeners[0]
    return {
        publication.name: publication
        for publication in listener.published
        if isinstance(publication, BridgePublication | TunnelPublication)
    }


def bridged(home: Path) -> dict[str, dict[str, list[str]]]:
    """Name -> role -> the names of its site systems."""
    return {
        name: {
            role.profile.name: [each.name for each in role.site_systems.listed]
            for role in publication.directories.values()
        }
        for name, publication in publications(home).items()
        if isinstance(publication, BridgePublication)
    }


def test_site_systems_have_their_own_names(home: Path) -> None:
    line = options(
        **MANY,
        management_point=[MP, f"mp2.internet.example={MP2}"],
        distribution_point=f"dp.internet.example={DP}",
    )
    assert main(line) == 0
    assert bridged(home) == {
        NAME: {"management-point": ["mp01.corp.example"]},
        "mp2.internet.example": {"management-point": ["mp02.corp.example"]},
        "dp.internet.example": {"distribution-point": ["dp01.corp.example"]},
    }


def test_site_systems_with_the_same_role_and_name_are_interchangeable(home: Path) -> None:
    # Names ignore case.
    line = options(management_point=[MP, f"{NAME.upper()}={MP2}"], distribution_point=[DP, DP2])
    assert main(line) == 0
    assert bridged(home) == {
        NAME: {
            "management-point": ["mp01.corp.example", "mp02.corp.example"],
            "distribution-point": ["dp01.corp.example", "dp02.corp.example"],
        }
    }


def test_a_shared_name_is_needed_only_by_a_site_system_without_its_own(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = f"mp2.internet.example={MP}"
    assert main(options(**MANY, name=None, management_point=own)) == 0
    assert bridged(home) == {"mp2.internet.example": {"management-point": ["mp01.corp.example"]}}
    assert main([*options(**MANY, name=None, distribution_point=DP), "--replace"]) == 2
    assert "missing: --name FQDN" in capsys.readouterr().err


def test_mobile_devices_have_user_certificates_under_their_own_name(home: Path) -> None:
    line = options(
        **MANY,
        management_point=[MP, f"mp2.internet.example={MP2}"],
        distribution_point=f"dp.internet.example={DP}",
        clients=["mp2.internet.example=user", "either"],
    )
    assert main(line) == 0
    found = {
        name: publication.certificate_policy
        for name, publication in publications(home).items()
        if isinstance(publication, BridgePublication)
    }
    assert found == {
        NAME: CertificatePolicy.EITHER,
        "mp2.internet.example": CertificatePolicy.USER,
        "dp.internet.example": CertificatePolicy.EITHER,
    }


def test_an_update_point_with_its_own_name_can_share_the_port(home: Path) -> None:
    sup = f"dp.internet.example={SUP}"
    assert main(options(**MANY, software_update_point=sup, update_listen="0.0.0.0:443")) == 0
    assert bridged(home)["dp.internet.example"] == {"software-update-point": ["sup01.corp.example"]}


def test_users_sign_in_at_the_application_catalog(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = f"cat.internet.example={CAT}"
    assert main(options(**MANY, application_catalog_website_point=catalog)) == 0
    assert "Windows authentication is allowed" in capsys.readouterr().out
    one = publications(home)["cat.internet.example"]
    assert isinstance(one, BridgePublication)
    assert one.certificate_policy is CertificatePolicy.NONE
    (role,) = one.directories.values()
    assert role.profile.unusable_by == ""


def test_roles_that_are_tunneled_are_named_in_the_policy(home: Path) -> None:
    line = options(
        enrollment_proxy_point="enroll.internet.example=10.0.0.9:443",
        policy_module="ndes.internet.example=10.0.0.8:443",
        tunnel=["else.internet.example=10.0.0.7:443", "else.internet.example=10.0.0.6:443"],
    )
    assert main(line) == 0
    found = {
        name: (publication.roles, len(publication.site_systems))
        for name, publication in publications(home).items()
        if isinstance(publication, TunnelPublication)
    }
    assert found == {
        "enroll.internet.example": (("enrollment-proxy-point",), 1),
        "ndes.internet.example": (("policy-module",), 1),
        "else.internet.example": ((), 2),
    }


def test_ndes_can_be_bridged(home: Path) -> None:
    ndes = "cat.internet.example=https://ndes01.corp.example,127.0.0.1:9448"
    assert main(options(**MANY, policy_module=ndes)) == 0
    assert bridged(home)["cat.internet.example"] == {"policy-module": ["ndes01.corp.example"]}


def test_shared_certificates_are_written_once(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options(**MANY, distribution_point=f"dp.internet.example={DP}")) == 0
    text = (home / "policy.yaml").read_text("utf-8")
    assert text.count("pki/names.pem") == text.count("pki/bridge-client.pem") == 1
    assert text.count("pki/root.pem") == 1
    one, other = yaml.safe_load(text)["publications"]
    for key in ("certificate", "clients", "site_systems"):
        assert one[key] == other[key]
    assert "`*pki` uses it again" in text
    assert capsys.readouterr().out.count("the revocation list of CN=Lab Root CA") == 1


@pytest.mark.parametrize("files", ["own.pem,pki/own.key", "own.pfx, pki/pass.txt"])
def test_a_name_can_have_its_own_certificate(files: str, home: Path) -> None:
    line = options(
        distribution_point=f"{OWN}={DP}",
        software_update_point=f"{OWN}={SUP}",
        certificate_of=f"{OWN}=pki/{files}",
    )
    assert main(line) == 0
    listeners = load_policy(home / "policy.yaml").listeners
    found = {
        (listener.address[1], publication.name): str(publication.credential.chain[0].subject)
        for listener in listeners
        for publication in listener.published
        if isinstance(publication, BridgePublication)
    }
    assert {key: OWN in subject for key, subject in found.items()} == {
        (443, NAME): False,
        (443, OWN): True,
        (8531, OWN): True,
    }


def test_a_policy_without_aliases_does_not_explain_them(home: Path) -> None:
    line = options(management_point=None, software_update_point=SUP)
    assert main(line) == 0
    text = (home / "policy.yaml").read_text("utf-8")
    assert "&" not in text
    assert "*" not in text


REFUSED = {
    "one name and port with and without client certificates": (
        {"software_update_point": SUP, "update_listen": "0.0.0.0:443"},
        f"software-update-point cannot share {NAME} on 0.0.0.0:443 with management-point; "
        "write another name (NAME=) or port",
    ),
    "one name bridged and tunneled": (
        {"policy_module": f"{NAME}=10.0.0.8:443"},
        f"policy-module cannot share {NAME} on 0.0.0.0:443 with management-point",
    ),
    "two roles in a tunnel": (
        {"tunnel": "a.example=10.0.0.8:443", "enrollment_proxy_point": "A.example=10.0.0.9:443"},
        "on 0.0.0.0:443 with enrollment-proxy-point; write another name",
    ),
    "HTTP on the port of TLS": (
        {"fallback_status_point": FSP, "status_listen": "0.0.0.0:443"},
        "cannot share port 0.0.0.0:443 with management-point: one is HTTP, the other TLS",
    ),
    "two names without TLS": (
        {"fallback_status_point": [FSP, f"fsp.example={FSP}"]},
        "cannot share port 0.0.0.0:80: without TLS, a port has only one name",
    ),
    "a site system twice": (
        {"management_point": [MP, "https://MP01.corp.example"]},
        f"--management-point: mp01.corp.example is named twice for {NAME}",
    ),
    "an address of a tunnel twice": (
        {"tunnel": ["a.example=10.0.0.8:443"] * 2},
        "--tunnel: 10.0.0.8:443 is named twice for a.example",
    ),
    "user certificates for a name without a role": (
        {"clients": "dp.internet.example=user"},
        "no --management-point or --distribution-point has the name dp.internet.example",
    ),
    "two kinds for one name": (
        {"clients": ["user", "computer"]},
        "--clients: all names can have one kind; use either for both",
    ),
    "no client certificates": ({"clients": "none"}, "'none' is not computer, user or either"),
    "user certificates without a role": (
        {"clients": "user", "management_point": None, "software_update_point": SUP},
        "--clients: only with --management-point or --distribution-point",
    ),
    "a certificate for a name without a site system": (
        {"certificate_of": f"{OWN}=pki/own.pem,pki/own.key"},
        f"--certificate-of: no bridged site system has the name {OWN}",
    ),
    "a certificate for a tunnel": (
        {"certificate_of": f"{OWN}=pki/own.pem,pki/own.key", "tunnel": f"{OWN}=10.0.0.8:443"},
        f"--certificate-of: no bridged site system has the name {OWN}",
    ),
    "two certificates for a name": (
        {"certificate_of": [f"{NAME}=pki/own.pem,pki/own.key"] * 2},
        f"--certificate-of: {NAME} can have one certificate",
    ),
    "a PEM certificate without its key": (
        {"certificate_of": f"{NAME}=pki/own.pem"},
        "is not NAME=FILE.pfx or NAME=FILE.pem,KEY",
    ),
    "a key that is not there": (
        {"certificate_of": f"{NAME}=pki/own.pem,pki/no.key"},
        "--certificate-of: pki/no.key cannot be read: No such file",
    ),
    "a PFX certificate with a key": (
        {"certificate_of": f"{NAME}=pki/own.pfx,pki/own.key,pki/pass.txt"},
        "is not NAME=FILE.pfx or NAME=FILE.pem,KEY",
    ),
    "a name that is not one": (
        {"distribution_point": f"dp={DP}"},
        "--distribution-point: 'dp' is not a fully qualified domain name",
    ),
    "a role that needs its own name": (
        {"application_catalog_website_point": CAT},
        "is not NAME=URL; NAME is its Internet FQDN",
    ),
    "an enrollment proxy point that is bridged": (
        {"enrollment_proxy_point": "enroll.example=https://enroll01.corp.example"},
        "'https://enroll01.corp.example' is not a host and a port number without https://",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_conflict_of_options_is_a_usage_error(
    case: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed, why = REFUSED[case]
    assert main(options(**changed)) == 2  # type: ignore[arg-type]
    printed = capsys.readouterr()
    assert why in printed.err
    assert len(printed.err.splitlines()) == 1
    assert printed.out == ""
    assert not (home / "policy.yaml").exists()


def test_a_certificate_that_does_not_cover_each_name_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = options(distribution_point=f"dp.internet.example={DP}")
    assert main(line) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        f"PROBLEM: 0.0.0.0:443: dp.internet.example: certificate: issued for {NAME}, "
        "not for dp.internet.example; clients will refuse it (DNS-INTERNET-FQDN)"
    ]
    assert "policy.yaml was not written" in printed.err
    assert not (home / "policy.yaml").exists()
