"""`explain` says what the bridge does, by asking what the bridge asks."""

import dataclasses
import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ibcm_bridge.addons.runner import engines
from ibcm_bridge.addons.verification import verify_client_path
from ibcm_bridge.cli import main
from ibcm_bridge.decisions import Reason
from ibcm_bridge.explain import Explanation, Question, explain
from ibcm_bridge.lab import ccm
from ibcm_bridge.lab.case_requests import eicar
from ibcm_bridge.lab.files import make_pki
from ibcm_bridge.lab.pki import Credential, LabPki
from ibcm_bridge.policy import BridgePublication, Listener, Policy, Trust
from ibcm_bridge.policy_file import load_policy

MP = "https://bridge.internet.example"
GUID = "5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B"


@pytest.fixture(scope="module")
def pki() -> LabPki:
    return LabPki.make(now=datetime.datetime.now(datetime.UTC))


@pytest.fixture(scope="module")
def computer(pki: LabPki) -> Credential:
    return pki.computer("pc1.corp.example")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory, pki: LabPki) -> Policy:
    directory = tmp_path_factory.mktemp("explain")
    make_pki(directory)
    return trusting(load_policy(directory / "bridge.yaml"), pki)


def trusting(policy: Policy, pki: LabPki) -> Policy:
    """The policy, with an authority's clients let in by its revocation lists as they are now."""
    listener = policy.listeners[0]
    trust = Trust((pki.root,), (pki.issuing,), pki.crls())
    publications = {
        name: dataclasses.replace(one, client_trust=trust)
        if isinstance(one, BridgePublication)
        else one
        for name, one in listener.publications.items()
    }
    return dataclasses.replace(policy, listeners=(Listener(listener.address, publications),))


def ask(
    policy: Policy,
    method: str,
    url: str,
    presented: Credential | None,
    body: bytes | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> Explanation:
    certificates = (presented.certificate, *presented.issuers) if presented else ()
    question = Question(method, url, headers, certificates, body)
    return explain(policy, question, engines(policy), verify_client_path)


def reason(explanation: Explanation) -> Reason | None:
    return None if explanation.denial is None else explanation.denial.reason


def test_what_would_be_sent_on_is_said_to_be(policy: Policy, computer: Credential) -> None:
    told = ask(
        policy, "GET", f"{MP}/SMS_MP/.sms_aut?MPLIST", computer, headers=(("X-Forwarded-For", "x"),)
    )
    assert told.denial is None
    text = "\n".join(told.steps)
    assert "authenticated as the computer pc1.corp.example" in text
    assert "taken out: X-Forwarded-For" in text
    assert "It would go to mp01.corp.example" in text


@pytest.mark.parametrize(
    ("method", "url", "expected"),
    [
        ("DELETE", f"{MP}/SMS_MP/", Reason.VERB),
        ("GET", f"{MP}/NOCERT_SMS_DP_SMSPKG$/x", Reason.BYPASS_DIRECTORY),
        ("GET", f"{MP}/SMS_MP/.sms_aut?MPKEYINFORMATIONMEDIA", Reason.RESOURCE),
        ("GET", f"{MP}/SMS_MP/../ccm_system/request", Reason.TARGET_UNSAFE),
        ("GET", "https://other.example/", Reason.UNKNOWN_NAME),
        ("GET", f"{MP}:9999/SMS_MP/.sms_aut?MPLIST", Reason.UNKNOWN_NAME),
        ("GET", "http://bridge.internet.example/", Reason.PLAINTEXT),
        ("BITS_POST", f"{MP}/CCM_Incoming/x", Reason.BODY_NOT_INSPECTABLE),
    ],
)
def test_what_would_be_refused_is_said_to_be_with_its_reason(
    policy: Policy, computer: Credential, method: str, url: str, expected: Reason
) -> None:
    told = ask(policy, method, url, computer)
    assert reason(told) is expected
    assert any(step.startswith(f"Refused: {expected.value}, by ") for step in told.steps)
    assert any(step.startswith("It would log (inferred): ") for step in told.steps)


def test_a_body_is_looked_into(policy: Policy, computer: Credential) -> None:
    assert isinstance(computer.key, RSAPrivateKey)
    fields = (("Content-Type", ccm.CONTENT_TYPE),)
    url = f"{MP}/ccm_system/request"
    for text, expected in (("harmless", None), (eicar(), Reason.MALICIOUS_CONTENT)):
        body = ccm.ccm_post_body(
            endpoint="MP_HinvEndpoint", body_xml=f"<Report>{text}</Report>", client_guid=GUID
        )
        assert reason(ask(policy, "CCM_POST", url, computer, body, fields)) is expected


def test_a_tunnel_is_said_to_be_blind(policy: Policy) -> None:
    told = ask(policy, "DELETE", "https://mp-tunnel.internet.example/", None)
    assert told.denial is None
    assert "nothing inside can be inspected" in told.steps[0]


KINDS = {
    "computer": None,
    "revoked_computer": Reason.CERTIFICATE_REVOKED,
    "expired_computer": Reason.CERTIFICATE_EXPIRED,
    "foreign_computer": Reason.CERTIFICATE_UNTRUSTED,
    "self_signed": Reason.CERTIFICATE_UNTRUSTED,
    "wrong_purpose": Reason.CERTIFICATE_PURPOSE,
    "without_purpose": Reason.CERTIFICATE_PURPOSE,
    "user": Reason.CERTIFICATE_NAME,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_is_judged_as_in_the_handshake(
    policy: Policy, pki: LabPki, kind: str
) -> None:
    name = "bob@corp.example" if kind == "user" else "pc9.corp.example"
    presented = getattr(pki, kind)(name)
    # The certificate is made first: a revoked one is on the lists only from then on.
    current = trusting(policy, pki)
    assert reason(ask(current, "GET", f"{MP}/SMS_MP/.sms_aut?MPLIST", presented)) is KINDS[kind]


def test_no_certificate_is_refused(policy: Policy) -> None:
    assert reason(ask(policy, "GET", f"{MP}/", None)) is Reason.CERTIFICATE_MISSING


def test_the_command_tells_by_its_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_pki(tmp_path)
    capsys.readouterr()
    common = [
        "explain",
        "--config",
        str(tmp_path / "bridge.yaml"),
        "--certificate",
        str(tmp_path / "pki/clients/computer.pem"),
    ]
    assert main([*common, "GET", f"{MP}/SMS_MP/.sms_aut?MPLIST"]) == 0
    assert main([*common, "DELETE", f"{MP}/SMS_MP/"]) == 1
    assert "Refused: verb" in capsys.readouterr().out
    assert main([*common, "GET", "ftp://x/"]) == 2
    assert main([*common, "--header", "nonsense", "GET", f"{MP}/"]) == 2
    assert main([*common, "--body", str(tmp_path / "none"), "GET", f"{MP}/"]) == 2
