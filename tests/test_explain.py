"""`explain` says what the bridge does, by asking what the bridge asks."""

import dataclasses
import datetime
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from mitmproxy import certs, http
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow

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


# Bodies that were not given


def test_a_body_that_was_not_given_is_still_to_be_inspected(
    policy: Policy, computer: Credential
) -> None:
    explanation = ask(
        policy,
        "CCM_POST",
        f"{MP}/ccm_system/request",
        computer,
        headers=(("Content-Type", ccm.CONTENT_TYPE),),
    )
    assert explanation.denial is None
    assert "once its body has been inspected" in explanation.steps[-1]


def test_what_is_wrong_with_its_head_is_said_all_the_same(
    policy: Policy, computer: Credential
) -> None:
    explanation = ask(policy, "CCM_POST", f"{MP}/ccm_system/request", computer)
    assert explanation.denial is not None
    assert explanation.denial.reason is Reason.MEDIA_TYPE


# URLs


@pytest.mark.parametrize(
    "url",
    [
        "https://user@bridge.internet.example/",
        "https://bridge.internet.example/#part",
        "https://br\xfccke.example/",
        "/SMS_MP/.sms_aut?MPLIST",
        "ftp://bridge.internet.example/",
        "https://bridge.internet.example:99999/",
    ],
)
def test_a_url_that_no_client_could_ask_for_is_a_mistake_of_the_question(
    policy: Policy, computer: Credential, url: str
) -> None:
    with pytest.raises(ValueError):
        ask(policy, "GET", url, computer)


# What the client does next


def test_what_the_client_does_next_is_said(policy: Policy, computer: Credential) -> None:
    refused = ask(policy, "DELETE", f"{MP}/SMS_MP/", computer)
    assert refused.steps[-1].startswith("Then it gives up: BITS")
    nobody = ask(policy, "GET", f"{MP}/SMS_MP/", None)
    assert nobody.steps[-1].startswith("Then it cannot connect: ")


# The command


@pytest.fixture(scope="module")
def lab_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("command")
    make_pki(directory)
    return directory


def command(directory: Path, *arguments: str) -> int:
    certificate = directory / "pki" / "clients" / "computer.pem"
    given = ("--config", str(directory / "bridge.yaml"), "--certificate", str(certificate))
    return main(["explain", *given, *arguments])


def test_for_machines_there_is_json(lab_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(lab_files, "--json", "DELETE", f"{MP}/SMS_MP/") == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["verdict"], said["reason"], said["status"]) == ("deny", "verb", 405)
    assert (said["rule"], said["requirement"]) == ("management-point.verbs", "VERB-MP")
    assert said["then_the_client"] == "gives up"
    assert command(lab_files, "--json", "GET", f"{MP}/SMS_MP/.sms_aut?MPLIST") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["verdict"] == "allow"
    assert "reason" not in said


def saved(path: Path, *requests: http.Request, sni: str | None = "bridge.internet.example") -> Path:
    with path.open("wb") as file:
        for request in requests:
            flow = tflow.tflow(req=request)
            flow.client_conn.sni = sni
            flow.client_conn.tls = sni is not None
            FlowWriter(file).add(flow)
    return path


def test_requests_that_mitmproxy_saved_are_explained_one_by_one(
    lab_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = http.Request.make("GET", f"{MP}/SMS_MP/.sms_aut?MPLIST")
    bad = http.Request.make("CCM_POST", f"{MP}/ccm_system_altauth/request", b"x")
    bad.data.method = b"CCM_POST"
    path = saved(tmp_path / "flows", good, bad)
    assert command(lab_files, "--json", "--flow", str(path)) == 1
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["verdict"], first["method"]) == ("allow", "GET")
    assert first["url"] == f"{MP}/SMS_MP/.sms_aut?MPLIST"
    assert (second["verdict"], second["reason"]) == ("deny", "bypass-directory")
    assert command(lab_files, "--flow", str(path)) == 1
    printed = capsys.readouterr().out
    assert f"GET {MP}/SMS_MP/.sms_aut?MPLIST\n" in printed
    assert "\n\nCCM_POST " in printed


def test_the_certificate_that_was_saved_counts(
    lab_files: Path, tmp_path: Path, pki: LabPki, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = pki.foreign_computer("pc3.corp.example")
    flow = tflow.tflow(req=http.Request.make("GET", f"{MP}/SMS_MP/.sms_aut?MPLIST"))
    flow.client_conn.sni, flow.client_conn.tls = "bridge.internet.example", True
    flow.client_conn.certificate_list = [certs.Cert(foreign.certificate)]
    with (tmp_path / "flows").open("wb") as file:
        FlowWriter(file).add(flow)
    assert command(lab_files, "--json", "--flow", str(tmp_path / "flows")) == 1
    assert json.loads(capsys.readouterr().out)["reason"] == "certificate-untrusted"


@pytest.mark.parametrize(
    "arguments",
    [
        ("GET",),
        (),
        ("--flow", "{nothing}"),
        ("--flow", "{policy}"),
        ("--flow", "{policy}", "GET", f"{MP}/"),
        ("--header", "no colon", "GET", f"{MP}/"),
    ],
)
def test_a_question_that_cannot_be_understood_exits_with_2(
    lab_files: Path, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"nothing": lab_files / "nothing", "policy": lab_files / "bridge.yaml"}
    assert command(lab_files, *(one.format_map(files) for one in arguments)) == 2
    assert capsys.readouterr().err.startswith("ibcm-bridge explain: ")


def test_a_url_without_a_port_means_443_where_that_is_published(
    lab_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = (lab_files / "bridge.yaml").read_text("utf-8").replace("pki/", f"{lab_files}/pki/")
    policy = policy.replace("../audit.jsonl", "audit.jsonl")
    moved = policy.replace(
        "    listen: 127.0.0.1:8531\n", "    listen: 127.0.0.1:8531\n    public_port: 443\n"
    )
    assert moved != policy
    for text, published in ((policy, "management-point"), (moved, "software-update-point")):
        (tmp_path / "bridge.yaml").write_text(text, "utf-8")
        main(["explain", "--config", str(tmp_path / "bridge.yaml"), "GET", f"{MP}/x"])
        assert f"is bridged: {published}" in capsys.readouterr().out
