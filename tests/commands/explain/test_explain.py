"""`explain` says what the bridge does, by asking what the bridge asks."""

import dataclasses
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from mitmproxy import certs, http
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow

from ibcm_bridge.commands.explain.circumstances import circumstances
from ibcm_bridge.commands.explain.explain import Explanation, NoListenerError, Port, explain, listed
from ibcm_bridge.commands.explain.question import Url, described, read_url
from ibcm_bridge.commands.main import main
from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.cases.requests import eicar
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import Credential
from ibcm_bridge.lab.pki.files import make_pki
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import (
    BridgePublication,
    Listener,
    PlaintextListener,
    PlaintextPublication,
    UnlistedHeaders,
)
from ibcm_bridge.policy.roles import CertificatePolicy
from ibcm_bridge.policy.trust import Trust
from ibcm_bridge.policy_file import load_policy

MP = "https://bridge.internet.example"
LIST = "/SMS_MP/.sms_aut?MPLIST"
NAMED = "bridge.internet.example"
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


def bridged(policy: Policy) -> BridgePublication:
    listener = policy.listeners[0]
    assert isinstance(listener, Listener)
    publication = listener.publications["bridge.internet.example"]
    assert isinstance(publication, BridgePublication)
    return publication


def ask(
    policy: Policy,
    method: str,
    url: str,
    presented: Credential | None,
    body: bytes | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> Explanation:
    certificates = (presented.certificate, *presented.issuers) if presented else ()
    question = described(method, read_url(url), headers, certificates, body)
    return explain(policy, question, circumstances(policy))


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
        ("GET", "http://bridge.internet.example/", Reason.PLAINTEXT),
        ("BITS_POST", f"{MP}/CCM_Incoming/x", Reason.UPLOAD_PACKET),
    ],
)
def test_what_would_be_refused_is_said_to_be_with_its_reason(
    policy: Policy, computer: Credential, method: str, url: str, expected: Reason
) -> None:
    told = ask(policy, method, url, computer)
    assert reason(told) is expected
    assert told.verdict.startswith(f"DENY {expected.value}, by ")
    assert any(step.startswith(("It would log (inferred): ", "Then it ")) for step in told.steps)


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
    assert capsys.readouterr().out.endswith("\nALLOW\n")
    assert main([*common, "DELETE", f"{MP}/SMS_MP/"]) == 1
    printed = capsys.readouterr().out
    assert printed.endswith("\nDENY verb, by management-point.verbs (VERB-MP)\n")
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
    assert explanation.body_not_given
    assert "The body would still be inspected; give one with --body." in explanation.steps
    assert explanation.verdict == "ALLOW"


@pytest.mark.parametrize(
    ("announced", "refused"), [("0-3/10", None), ("3-0/10", "not a range of the whole")]
)
def test_a_fragment_that_was_not_given_is_as_long_as_its_range(
    policy: Policy, computer: Credential, announced: str, refused: str | None
) -> None:
    fields = (
        ("BITS-Packet-Type", "Fragment"),
        ("BITS-Session-Id", "{01234567-89AB-CDEF-0123-456789ABCDEF}"),
        ("Content-Range", f"bytes {announced}"),
    )
    told = ask(policy, "BITS_POST", f"{MP}/CCM_Incoming/x.msg", computer, headers=fields)
    assert (told.denial.detail if told.denial is not None else None) == refused
    assert told.body_not_given == (refused is None)


def test_what_is_wrong_with_its_head_is_said_all_the_same(
    policy: Policy, computer: Credential
) -> None:
    explanation = ask(policy, "CCM_POST", f"{MP}/ccm_system/request", computer)
    assert explanation.denial is not None
    assert explanation.denial.reason is Reason.MEDIA_TYPE


def test_of_a_body_only_what_was_announced_counts(policy: Policy, computer: Credential) -> None:
    """As on the wire: `exchange` takes what follows for the next request."""
    body = ccm.ccm_post_body(endpoint="MP_HinvEndpoint", body_xml="<Report/>", client_guid=GUID)
    url = f"{MP}/ccm_system/request"
    fields = (("Content-Type", ccm.CONTENT_TYPE), ("Content-Length", str(len(body))))
    smuggled = ask(policy, "CCM_POST", url, computer, body + b"GET / HTTP/1.1", fields)
    assert reason(smuggled) is None
    said = f"Of the body {len(body)} bytes count; the others would be the next request."
    assert said in smuggled.steps
    assert said not in ask(policy, "CCM_POST", url, computer, body, fields).steps
    fields = (fields[0], ("Content-Length", str(len(body) - 40)))
    assert reason(ask(policy, "CCM_POST", url, computer, body, fields)) is Reason.MULTIPART


# URLs


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://user@bridge.internet.example/", "a user name is never sent"),
        ("https://@bridge.internet.example/", "a user name is never sent"),
        ("https://bridge.internet.example/#part", "a fragment is never sent"),
        ("https://bridge.internet.example/#", "a fragment is never sent"),
        ("https://br\xfccke.example/", "write the name as it is sent"),
        ("https://bridge.internet.example/\xfc", "write the path as it is sent"),
        ("https://bridge.internet.example/a b", "write the path as it is sent"),
        ("https://bridge.internet.example/a\r\nHost: x", "write the path as it is sent"),
        ("/SMS_MP/.sms_aut?MPLIST", "is not an absolute URL"),
        ("//bridge.internet.example/", "is not an absolute URL"),
        ("bridge.internet.example/SMS_MP/", "is not an absolute URL"),
        ("ftp://bridge.internet.example/", "is not an absolute URL"),
        ("https:///SMS_MP/", "there is no name"),
        ("https://", "there is no name"),
        ("https://:443/", "there is no name"),
        ("https://bridge.internet.example:0/", "port 0"),
        ("https://a\\b/", "there is no name"),
        ("https://bridge.internet.example:99999/", "Port out of range"),
        ("https://bridge.internet.example:x/", "Port could not be cast"),
        ("https://[::1/", "Invalid IPv6 URL"),
    ],
)
def test_a_url_that_no_client_could_ask_for_is_a_mistake_of_the_question(
    url: str, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        read_url(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://A.example", Url("https", "a.example", None, "/")),
        ("https://a.example?x", Url("https", "a.example", None, "/?x")),
        ("https://a.example/x?", Url("https", "a.example", None, "/x?")),
        ("https://a.example/{1}%41", Url("https", "a.example", None, "/{1}%41")),
        ("HTTP://a.example:8080//x", Url("http", "a.example", 8080, "//x")),
        ("https://xn--brcke-lva.example/", Url("https", "xn--brcke-lva.example", None, "/")),
        ("https://[::1]:443/x", Url("https", "::1", 443, "/x")),
    ],
)
def test_a_url_is_taken_apart_byte_for_byte(url: str, expected: Url) -> None:
    assert read_url(url) == expected


def test_tls_on_a_plaintext_port_is_told_from_an_unknown_name(policy: Policy, pki: LabPki) -> None:
    directories = {"sms_fsp": bridged(policy).directories["sms_mp"]}
    plain = PlaintextPublication("fsp.example", 80, directories, UnlistedHeaders.DROP, 8192, "x")
    both = dataclasses.replace(
        policy, listeners=(*policy.listeners, PlaintextListener(("127.0.0.1", 8080), plain))
    )
    computer = pki.computer("pc8.corp.example")
    for url, expected in (
        ("https://fsp.example:8080/", Reason.TLS_ON_PLAINTEXT),
        ("https://fsp.example/", Reason.UNKNOWN_NAME),
        ("http://other.example:8080/", Reason.HOST_MISMATCH),
        # Clients connect to port 80 of it.
        ("http://other.example/", Reason.HOST_MISMATCH),
        (f"http://other.example:{policy.listeners[0].address[1]}/", Reason.PLAINTEXT),
        ("http://fsp.example/", Reason.DIRECTORY),
    ):
        assert reason(ask(both, "GET", url, computer)) is expected, url
    with pytest.raises(NoListenerError, match=r"81, only on 80 \(http\), 8080 \(http\) and 8443$"):
        ask(both, "GET", "http://other.example:81/", computer)


def test_a_head_that_is_too_large_is_refused_as_where_it_is_read(
    policy: Policy, computer: Credential
) -> None:
    limit = bridged(policy).request_head
    for size, expected in ((limit // 2, None), (limit, Reason.HEAD_TOO_LARGE)):
        told = ask(policy, "GET", f"{MP}{LIST}", computer, headers=(("User-Agent", "x" * size),))
        assert reason(told) is expected


@pytest.mark.parametrize("address", ["192.0.2.1", "[2001:db8::1]"])
def test_a_literal_address_is_not_sent_as_a_server_name(
    policy: Policy, computer: Credential, address: str
) -> None:
    told = ask(policy, "GET", f"https://{address}/", computer)
    assert told.denial is not None
    assert (told.denial.reason, told.denial.detail) == (
        Reason.UNKNOWN_NAME,
        "no server name was sent",
    )
    assert told.steps[0] == "With a literal address a client sends no server name."


# What the client does next


def test_what_the_client_does_next_is_said(policy: Policy, computer: Credential) -> None:
    refused = ask(policy, "DELETE", f"{MP}/SMS_MP/", computer)
    assert refused.steps[-1].startswith("Then it gives up: BITS")
    nobody = ask(policy, "GET", f"{MP}/SMS_MP/", None)
    assert nobody.steps[-1].startswith("Then it cannot connect: ")


WSUS = f"{MP}:8531"
NDES = f"{MP}:8444/certsrv/mscep/mscep.dll"


@pytest.fixture
def everything(lab_files: Path) -> Policy:
    """A policy with all that can refuse something: the shipped one, and NDES bridged."""
    text = (lab_files / "bridge.yaml").read_text("utf-8")
    begin = text.index(f"  - name: {NAMED}\n    mode: bridge\n    listen: 127.0.0.1:8531\n")
    ndes = text[begin : text.index("    roles:\n      software-update-point:", begin)]
    ndes = ndes.replace(":8531", ":8444")
    ndes += "    roles: {policy-module: {site_system: 'https://ndes01.corp.example'}}\n"
    path = lab_files / "everything.yaml"
    path.write_text(text.replace("publications:\n", f"publications:\n{ndes}", 1), "utf-8")
    return load_policy(path)


@pytest.fixture(scope="module")
def of_files(lab_files: Path) -> Credential:
    return Credential.read(lab_files / "pki" / "clients", "computer")


@pytest.mark.parametrize(
    ("method", "url", "shows"),
    [
        ("DELETE", f"{MP}:8443/SMS_MP/x", "CcmMessaging.log: HTTP status 405 for the request."),
        (
            "BITS_POST",
            f"{MP}:8443/CCM_Incoming/x",
            "CcmMessaging.log: HTTP status 400 for the upload, BITS error 0x80070057.",
        ),
        (
            "DELETE",
            f"{MP}:8443/SMS_DP_SMSPKG$/x",
            "DataTransferService.log: HTTP status 405 for the download.",
        ),
        (
            "GET",
            f"{MP}:8443/nocert_sms_dp_smspkg%24/x",
            "DataTransferService.log: HTTP status 404 for the download.",
        ),
        (
            "GET",
            f"{WSUS}/Content/x.exe",
            "WindowsUpdate.log (Get-WindowsUpdateLog) and WUAHandler.log: error 0x80244019 "
            "(HTTP status 404).",
        ),
        (
            "POST",
            f"{WSUS}/ClientWebService/client.asmx",
            "WindowsUpdate.log (Get-WindowsUpdateLog) and WUAHandler.log: error 0x8024402B "
            "(HTTP status 415).",
        ),
        (
            "PUT",
            f"{WSUS}/nothing",
            "WindowsUpdate.log (Get-WindowsUpdateLog) and WUAHandler.log: error 0x80244019 "
            "(HTTP status 404).",
        ),
        (
            "PUT",
            NDES,
            "Windows' event log DeviceManagement-Enterprise-Diagnostics-Provider/Admin: HTTP "
            "status 405 for the SCEP request.",
        ),
        (
            "GET",
            "http://fsp.internet.example:8080/SMS_FSP/.sms_fsp",
            "FSPStateMessage.log: HTTP status 405 for the state message.",
        ),
    ],
)
def test_what_the_client_logs_is_that_of_its_role(
    everything: Policy, of_files: Credential, method: str, url: str, shows: str
) -> None:
    told = ask(everything, method, url, of_files)
    assert f"It would log (inferred): {shows}" in told.steps
    ccm = "CcmMessaging" in shows
    assert any("BITS" in step for step in told.steps[-1:]) <= (ccm or "DataTransfer" in shows)


@pytest.mark.parametrize(
    ("url", "log"),
    [
        (f"{MP}:8443/SMS_MP/x", "CcmMessaging.log: WinHTTP 12175"),
        (f"{MP}:8443/SMS_DP_SMSPKG$/x", "DataTransferService.log: WinHTTP 12175"),
        ("https://nobody.example/ClientWebService/client.asmx", "WindowsUpdate.log ("),
        ("https://nobody.example/certsrv/mscep/mscep.dll", "Windows' event log Dev"),
    ],
)
def test_so_it_is_where_the_handshake_is_refused(everything: Policy, url: str, log: str) -> None:
    told = ask(everything, "GET", url, None)
    assert told.denial is not None
    assert any(one.startswith(f"It would log (inferred): {log}") for one in told.steps)


def test_of_a_path_that_says_no_role_no_log_is_promised(everything: Policy) -> None:
    told = ask(everything, "GET", "https://nobody.example/", None)
    assert told.steps[-1] == (
        "Then it cannot connect; what it logs depends on the role (docs/refusals.md)."
    )
    assert not any("CcmMessaging" in step or "BITS" in step for step in told.steps)


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


@pytest.mark.parametrize(
    "question",
    [
        ("DELETE", f"{MP}:8443/SMS_MP/"),
        ("GET", f"{MP}:8443{LIST}"),
        ("GET", f"http://{NAMED}:8443/"),
        ("GET", f"{MP}:8531/Content/x.exe"),
        ("GET", "https://nobody.example/"),
        ("GET", "https://[2001:db8::1]/certsrv/"),
        ("GET", "https://mp-tunnel.internet.example:8443/"),
    ],
)
def test_an_answer_is_sentences_that_fit_a_terminal(
    lab_files: Path, question: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    command(lab_files, *question)
    *lines, verdict = capsys.readouterr().out.splitlines()
    assert verdict == "ALLOW" or verdict.startswith("DENY ")
    assert max(map(len, lines)) <= 80
    sentences = "\n".join(lines).replace("\n  ", " ").splitlines()
    if verdict != "ALLOW":
        assert [one for one in sentences if one.startswith("Refused: ") and one.endswith(".")]


def test_for_machines_there_is_json(lab_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(lab_files, "--json", "DELETE", f"{MP}/SMS_MP/") == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["verdict"], said["reason"], said["status"]) == ("deny", "verb", 405)
    assert (said["rule"], said["requirement"]) == ("management-point.verbs", "VERB-MP")
    assert said["next_step"] == "gives up"
    assert command(lab_files, "--json", "GET", f"{MP}/SMS_MP/.sms_aut?MPLIST") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["verdict"] == "allow"
    assert "reason" not in said


def sent(
    method: str,
    target: str,
    body: bytes | None = b"",
    fields: tuple[tuple[bytes, bytes], ...] = ((b"Host", b"bridge.internet.example"),),
    version: bytes = b"HTTP/1.1",
) -> http.Request:
    """A request as mitmproxy keeps it; `make` would make some of it better than it was."""
    length = ((b"Content-Length", b"%d" % len(body)),) if body else ()
    return http.Request(
        host="bridge.internet.example",
        port=443,
        method=method.encode(),
        scheme=b"https",
        authority=b"",
        path=target.encode("utf-8", "surrogateescape"),
        http_version=version,
        headers=http.Headers((*fields, *length)),
        content=body,
        trailers=None,
        timestamp_start=1,
        timestamp_end=2,
    )


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
    good = sent("GET", "/SMS_MP/.sms_aut?MPLIST")
    bad = sent("CCM_POST", "/ccm_system_altauth/request", b"x")
    path = saved(tmp_path / "flows", good, bad)
    assert command(lab_files, "--json", "--flow", str(path)) == 1
    told = capsys.readouterr()
    first, second = map(json.loads, told.out.splitlines())
    assert first["port"] == second["port"] == {"taken": 8443, "others": [8531]}
    assert told.err.count("took port 8443") == 1, "once, not for each"
    assert (first["verdict"], first["method"]) == ("allow", "GET")
    assert first["url"] == f"{MP}/SMS_MP/.sms_aut?MPLIST"
    assert (second["verdict"], second["reason"]) == ("deny", "bypass-directory")
    assert command(lab_files, "--flow", str(path)) == 1
    printed = capsys.readouterr().out
    assert f"GET {MP}/SMS_MP/.sms_aut?MPLIST\n" in printed
    assert "\nALLOW\n\nCCM_POST " in printed
    assert printed.endswith(
        "\nDENY bypass-directory, by roles.bypass_directories (BRIDGE-AUTH-COMPUTER)\n"
    )


def test_the_certificate_that_was_saved_counts(
    lab_files: Path, tmp_path: Path, pki: LabPki, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = pki.foreign_computer("pc3.corp.example")
    flow = tflow.tflow(req=sent("GET", "/SMS_MP/.sms_aut?MPLIST"))
    flow.client_conn.sni, flow.client_conn.tls = "bridge.internet.example", True
    flow.client_conn.certificate_list = [certs.Cert(foreign.certificate)]
    with (tmp_path / "flows").open("wb") as file:
        FlowWriter(file).add(flow)
    assert command(lab_files, "--json", "--flow", str(tmp_path / "flows")) == 1
    assert json.loads(capsys.readouterr().out)["reason"] == "certificate-untrusted"


HOST = ((b"Host", b"bridge.internet.example"),)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (sent("GET", LIST), None),
        (sent("GET", LIST, fields=(), version=b"HTTP/2.0"), None),
        (sent("GET", LIST, fields=()), Reason.HOST_MISMATCH),
        (sent("GET", LIST, version=b"HTTP/1.0"), Reason.HTTP_VERSION),
        (sent("OPTIONS", "*"), Reason.TARGET_FORM),
        (sent("GET", "/SMS_MP/#x"), Reason.TARGET_UNSAFE),
        (sent("GET", "/SMS_MP/\udcff"), Reason.MALFORMED_HEAD),
        (sent("GET", "/SMS_MP/\x1b[2J"), Reason.MALFORMED_HEAD),
        (sent("GET", LIST, fields=(*HOST, *HOST)), Reason.HOST_MISMATCH),
        (
            sent("POST", LIST, b"x", (*HOST, (b"Transfer-Encoding", b"chunked"))),
            Reason.FRAMING,
        ),
        (
            sent("CCM_POST", "/ccm_system/request", b"", (*HOST, (b"Content-Type", b"a/b"))),
            Reason.LENGTH_REQUIRED,
        ),
    ],
)
def test_a_saved_request_is_taken_as_it_was_sent(
    lab_files: Path,
    tmp_path: Path,
    request_: http.Request,
    expected: Reason | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = saved(tmp_path / "flows", request_, sent("GET", LIST))
    status = 0 if expected is None else 1
    assert command(lab_files, "--json", "--flow", str(path)) == status
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first.get("reason") == expected
    assert second["verdict"] == "allow", "one request has no bearing on the next"
    assert command(lab_files, "--flow", str(path)) == status
    printed = capsys.readouterr().out
    assert printed.replace("\n", "").isprintable(), "it may be a terminal"
    assert printed.isascii()


WSUS = "/ClientWebService/client.asmx"


@pytest.mark.parametrize(("port", "expected"), [(8531, None), (443, "directory"), (9, "directory")])
def test_the_port_of_a_saved_request_counts_where_clients_connect_to_it(
    lab_files: Path,
    tmp_path: Path,
    port: int,
    expected: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Two publications of the shipped policy have this name; WSUS's is on another port.
    request = sent("POST", WSUS, None, (*HOST, (b"Content-Type", b"text/xml; charset=utf-8")))
    request.port = port
    request.headers["Host"] = "bridge.internet.example"
    path = saved(tmp_path / "flows", request)
    assert command(lab_files, "--json", "--flow", str(path)) == (0 if expected is None else 1)
    assert json.loads(capsys.readouterr().out).get("reason") == expected


def test_a_body_that_was_not_saved_is_still_to_be_inspected(
    lab_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = (*HOST, (b"Content-Type", ccm.CONTENT_TYPE.encode()), (b"Content-Length", b"5"))
    path = saved(tmp_path / "flows", sent("CCM_POST", "/ccm_system/request", None, fields))
    assert command(lab_files, "--json", "--flow", str(path)) == 0
    assert json.loads(capsys.readouterr().out)["body_not_given"] is True


def test_a_file_that_breaks_off_is_said_to(
    lab_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path / "flows", sent("GET", LIST), sent("GET", LIST))
    path.write_bytes(path.read_bytes()[:-9])
    assert command(lab_files, "--json", "--flow", str(path)) == 2
    said = capsys.readouterr()
    assert json.loads(said.out)["verdict"] == "allow"
    assert "not to its end" in said.err


@pytest.mark.parametrize(
    "damage",
    [
        (b"certificate_list", b"certificate_lost"),
        (b"11:client_conn", b"11:client_cone"),
        (b"7:version", b"7:vorsion"),
        (b"4:path", b"4:puth"),
    ],
)
def test_a_file_that_was_tampered_with_is_no_accident(
    lab_files: Path,
    tmp_path: Path,
    damage: tuple[bytes, bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = saved(tmp_path / "flows", sent("GET", LIST))
    assert damage[0] in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(*damage))
    assert command(lab_files, "--flow", str(path)) == 2
    assert capsys.readouterr().err.startswith("ibcm-bridge explain: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("GET",),
        ("--flow", "{flows}", "GET"),
        ("--flow", "{flows}", "--body", "{policy}"),
        ("--flow", "{flows}", "--header", "A: b"),
        ("--flow", "{empty}"),
        ("--certificate", "{policy}", "GET", f"{MP}/"),
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
    files["flows"] = saved(lab_files / "flows", sent("GET", LIST))
    files["empty"] = saved(lab_files / "empty")
    assert command(lab_files, *(one.format_map(files) for one in arguments)) == 2
    assert capsys.readouterr().err.startswith("ibcm-bridge explain: ")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--body", "{nothing}", "GET", MP), "{nothing} cannot be read: No such file or directory"),
        (("--body", "{folder}", "GET", MP), "{folder} cannot be read: Is a directory"),
        (("--flow", "{nothing}"), "{nothing} cannot be read: No such file or directory"),
        (("--certificate", "{nothing}", "GET", MP), "{nothing} cannot be read: No such file or"),
        (("--certificate", "{folder}", "GET", MP), "{folder} cannot be read: Is a directory"),
        (("--certificate", "{key}", "GET", MP), "{key} has no PEM certificate that can be read"),
        (("--certificate", "{broken}", "GET", MP), "{broken} has no PEM certificate that can"),
    ],
)
def test_a_file_that_cannot_be_used_is_said_in_a_sentence(
    lab_files: Path, arguments: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "nothing": lab_files / "nothing",
        "folder": lab_files / "pki",
        "key": lab_files / "pki/clients/computer.key",
        "broken": lab_files / "broken.pem",
    }
    pem = (lab_files / "pki/clients/computer.pem").read_text("ascii").splitlines()
    files["broken"].write_text("\n".join([pem[0], *pem[5:]]), "ascii")
    assert command(lab_files, *(one.format_map(files) for one in arguments)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ibcm-bridge explain: {why.format_map(files)}")


@pytest.mark.parametrize("field", ["Accept : a", " Accept: a", "Accept\t: a", ": a"])
def test_a_header_field_is_judged_as_it_is_given(
    lab_files: Path, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(lab_files, "--header", field, "GET", f"{MP}{LIST}") == 1
    assert "\nDENY malformed-head, by head.field-name (" in capsys.readouterr().out
    assert command(lab_files, "--header", "Accept: \t a ", "GET", f"{MP}{LIST}") == 0


@pytest.mark.slow
def test_who_reads_no_further_is_told_nothing(lab_files: Path) -> None:
    certificate = str(lab_files / "pki/clients/computer.pem")
    common = ["explain", "--config", str(lab_files / "bridge.yaml"), "--certificate", certificate]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        run = subprocess.run(
            [sys.executable, "-u", "-m", "ibcm_bridge", *common, "GET", f"{MP}:8443{LIST}"],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (run.returncode, run.stderr) == (1, "")


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


def test_a_url_without_a_port_means_that_of_its_scheme(policy: Policy) -> None:
    """Where something has it; the shipped policy has neither 443 nor 80."""
    listeners = [
        dataclasses.replace(
            one,
            publications={
                name: dataclasses.replace(publication, public_port=443)
                for name, publication in one.publications.items()
            },
        )
        if isinstance(one, Listener) and one.address[1] == 8443
        else one
        for one in policy.listeners
    ]
    on_443 = dataclasses.replace(policy, listeners=tuple(listeners))
    told = ask(on_443, "GET", "https://sup.internet.example:443/SelfUpdate/wuident.cab", None)
    assert told.denial is not None
    assert told.denial.reason is Reason.UNKNOWN_NAME
    assert "nothing is published as" in told.denial.detail


@pytest.mark.parametrize(
    ("url", "port", "said"),
    [
        (f"https://{NAMED}/x", Port(8443, (8531,)), f"took port 8443; {NAMED} has 8531 too"),
        (f"http://{NAMED}/x", Port(8443, (8531,)), f"took port 8443; {NAMED} has 8531 too"),
        (f"https://{NAMED}:8531/x", None, ""),
        (f"https://{NAMED}:8443/x", None, ""),
        (
            "https://mp-tunnel.internet.example/x",
            Port(8443, ()),
            "took port 8443, the only one of mp-tunnel.internet.example",
        ),
        (
            "http://fsp.internet.example/x",
            Port(8080, ()),
            "took port 8080, the only one of fsp.internet.example",
        ),
        ("https://fsp.internet.example/x", None, ""),
        ("https://nobody.example/x", None, ""),
        ("http://nobody.example/x", None, ""),
        ("https://[2001:db8::1]/x", None, ""),
    ],
)
def test_which_port_is_taken_for_a_url_without_one_is_said(
    lab_files: Path, url: str, port: Port | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = f"ibcm-bridge explain: {said}\n" if said else ""
    status = command(lab_files, "--json", "GET", url)
    told = capsys.readouterr()
    record = json.loads(told.out)
    assert told.err == shown
    assert record["url"] == url
    found = record.get("port")
    assert found == (None if port is None else {"taken": port.taken, "others": [*port.others]})
    assert status == (1 if record["verdict"] == "deny" else 0)


def test_443_is_taken_in_silence_where_nothing_else_could_be_meant(policy: Policy) -> None:
    url = read_url("https://mp.example/")
    assert Port(443, ()).describe(url) is None
    assert Port(443, (8531, 8444)).describe(url) == (
        "took port 443; mp.example has 8531 and 8444 too"
    )
    assert Port(80, ()).describe(url) == "took port 80, the only one of mp.example"


def test_a_literal_address_is_asked_for_where_no_server_name_is_needed(
    policy: Policy, computer: Credential
) -> None:
    listener = policy.listeners[0]
    assert isinstance(listener, Listener)
    named = dataclasses.replace(listener, without_sni=NAMED)
    told = ask(
        dataclasses.replace(policy, listeners=(named,)), "GET", f"https://[::1]{LIST}", computer
    )
    assert told.port == Port(8443, ())


def test_names_are_listed_as_in_a_sentence() -> None:
    assert [listed(one) for one in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        *("", "a", "a and b", "a, b and c"),
    ]


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_port_on_which_nothing_listens_is_a_mistake_of_the_question(
    lab_files: Path, scheme: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in ((), ("--json",)):
        assert command(lab_files, *arguments, "GET", f"{scheme}://{NAMED}:9999{LIST}") == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err == (
            "ibcm-bridge explain: nothing listens on port 9999, only on 8080 (http), 8443 and "
            "8531\n"
        )


def test_a_port_of_clients_comes_before_one_that_is_only_listened_on(policy: Policy) -> None:
    """443 is forwarded to 8443 here, and elsewhere 8443 to another listener of the same name."""
    asking = bridged(policy)
    asking_nobody = dataclasses.replace(
        asking, client_trust=None, certificate_policy=CertificatePolicy.NONE, public_port=8443
    )
    two = dataclasses.replace(
        policy,
        listeners=(
            Listener(("127.0.0.1", 8443), {NAMED: dataclasses.replace(asking, public_port=443)}),
            Listener(("127.0.0.1", 9443), {NAMED: asking_nobody}),
        ),
    )
    for port, expected in ((443, Reason.CERTIFICATE_MISSING), (8443, None), (9443, None)):
        told = ask(two, "GET", f"https://{NAMED}:{port}{LIST}", None)
        assert reason(told) is expected, port


def test_a_length_of_nothing_is_a_body_that_is_known(policy: Policy, computer: Credential) -> None:
    url = "https://bridge.internet.example/ccm_system/request"
    fields = (("Content-Type", ccm.CONTENT_TYPE), ("Content-Length", "0"))
    told = ask(policy, "CCM_POST", url, computer, headers=fields)
    assert told.denial is not None
    assert told.denial.reason is Reason.MULTIPART
