"""The steps and the verdict of `explain`."""

import dataclasses
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ibcm_bridge.authentication.certificate import certificate_facts
from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.cases.requests import eicar
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import Listener
from ibcm_bridge.policy.site_systems import Order, SiteSystem, SiteSystems
from ibcm_bridge.policy_file import load_policy
from ibcm_bridge.site_system_leg.selection import preferred
from tests.commands.explain.questions import LIST, MP, NAMED, ask, bridged, reason, trusting

GUID = "5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B"


def test_an_allowed_request_is_reported_as_forwarded(
    policy: Policy, computer: LabCredential
) -> None:
    explanation = ask(
        policy, "GET", f"{MP}/SMS_MP/.sms_aut?MPLIST", computer, headers=(("X-Forwarded-For", "x"),)
    )
    assert explanation.denial is None
    text = "\n".join(explanation.steps)
    assert "authenticated as the computer pc1.corp.example" in text
    assert "Dropped header fields (not listed): X-Forwarded-For" in text
    assert "The bridge forwards the request to mp01.corp.example" in text


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
def test_a_refused_request_is_reported_with_its_reason(
    policy: Policy, computer: LabCredential, method: str, url: str, expected: Reason
) -> None:
    explanation = ask(policy, method, url, computer)
    assert reason(explanation) is expected
    assert explanation.verdict.startswith(f"DENY {expected.value}, by ")
    assert any(
        step.startswith(("Expected client log (inferred): ", "As a result, the client "))
        for step in explanation.steps
    )


def test_a_body_is_inspected(policy: Policy, computer: LabCredential) -> None:
    assert isinstance(computer.key, RSAPrivateKey)
    fields = (("Content-Type", ccm.CONTENT_TYPE),)
    url = f"{MP}/ccm_system/request"
    for text, expected in (("harmless", None), (eicar(), Reason.MALICIOUS_CONTENT)):
        body = ccm.ccm_post_body(
            endpoint="MP_HinvEndpoint", body_xml=f"<Report>{text}</Report>", client_guid=GUID
        )
        assert reason(ask(policy, "CCM_POST", url, computer, body, fields)) is expected


def test_a_tunnel_is_reported_as_not_inspected(policy: Policy) -> None:
    explanation = ask(policy, "DELETE", "https://mp-tunnel.internet.example/", None)
    assert explanation.denial is None
    assert "the content cannot be inspected" in explanation.steps[0]


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
def test_a_certificate_is_decided_as_in_the_handshake(
    policy: Policy, pki: LabPki, kind: str
) -> None:
    name = "bob@corp.example" if kind == "user" else "pc9.corp.example"
    presented = getattr(pki, kind)(name)
    # The certificate is made first, because a revoked one is on the lists only from then on.
    current = trusting(policy, pki)
    assert reason(ask(current, "GET", f"{MP}/SMS_MP/.sms_aut?MPLIST", presented)) is KINDS[kind]


def test_no_certificate_is_refused(policy: Policy) -> None:
    assert reason(ask(policy, "GET", f"{MP}/", None)) is Reason.CERTIFICATE_MISSING


# Missing bodies
def test_a_missing_body_would_still_be_inspected(policy: Policy, computer: LabCredential) -> None:
    explanation = ask(
        policy,
        "CCM_POST",
        f"{MP}/ccm_system/request",
        computer,
        headers=(("Content-Type", ccm.CONTENT_TYPE),),
    )
    assert explanation.denial is None
    assert explanation.body_not_inspected
    assert "The body would still be inspected; add it with --body." in explanation.steps
    assert explanation.verdict == "ALLOW"


@pytest.mark.parametrize(
    ("announced", "refused"), [("0-3/10", None), ("3-0/10", "the range is outside the upload")]
)
def test_a_missing_fragment_has_the_length_of_its_range(
    policy: Policy, computer: LabCredential, announced: str, refused: str | None
) -> None:
    fields = (
        ("BITS-Packet-Type", "Fragment"),
        ("BITS-Session-Id", "{01234567-89AB-CDEF-0123-456789ABCDEF}"),
        ("Content-Range", f"bytes {announced}"),
    )
    explanation = ask(policy, "BITS_POST", f"{MP}/CCM_Incoming/x.msg", computer, headers=fields)
    assert (explanation.denial.detail if explanation.denial is not None else None) == refused
    assert explanation.body_not_inspected == (refused is None)


def test_a_wrong_head_is_refused_without_its_body(policy: Policy, computer: LabCredential) -> None:
    explanation = ask(policy, "CCM_POST", f"{MP}/ccm_system/request", computer)
    assert explanation.denial is not None
    assert explanation.denial.reason is Reason.MEDIA_TYPE


def test_only_the_announced_length_is_the_body(policy: Policy, computer: LabCredential) -> None:
    """As on the wire: `exchange` reads the rest as the next request."""
    body = ccm.ccm_post_body(endpoint="MP_HinvEndpoint", body_xml="<Report/>", client_guid=GUID)
    url = f"{MP}/ccm_system/request"
    fields = (("Content-Type", ccm.CONTENT_TYPE), ("Content-Length", str(len(body))))
    smuggled = ask(policy, "CCM_POST", url, computer, body + b"GET / HTTP/1.1", fields)
    assert reason(smuggled) is None
    step = (
        f"Only the first {len(body)} bytes (Content-Length) are the body; the rest would start the "
        "next request."
    )
    assert step in smuggled.steps
    assert step not in ask(policy, "CCM_POST", url, computer, body, fields).steps
    fields = (fields[0], ("Content-Length", str(len(body) - 40)))
    assert reason(ask(policy, "CCM_POST", url, computer, body, fields)) is Reason.MULTIPART


def test_a_head_that_is_too_large_is_refused(policy: Policy, computer: LabCredential) -> None:
    limit = bridged(policy).request_head
    for size, expected in ((limit // 2, None), (limit, Reason.HEAD_TOO_LARGE)):
        explanation = ask(
            policy, "GET", f"{MP}{LIST}", computer, headers=(("User-Agent", "x" * size),)
        )
        assert reason(explanation) is expected


def test_a_head_with_too_many_fields_is_refused(policy: Policy, computer: LabCredential) -> None:
    limits = dataclasses.replace(policy.limits, header_fields=50)
    policy = dataclasses.replace(policy, limits=limits)
    fields = (("Accept", "*/*"),) * 49
    assert reason(ask(policy, "GET", f"{MP}{LIST}", computer, headers=fields)) is None
    refused = ask(policy, "GET", f"{MP}{LIST}", computer, headers=(*fields, ("Accept", "*/*")))
    assert reason(refused) is Reason.HEAD_TOO_LARGE


@pytest.mark.parametrize("address", ["192.0.2.1", "[2001:db8::1]"])
def test_a_literal_address_is_not_sent_as_a_server_name(
    policy: Policy, computer: LabCredential, address: str
) -> None:
    explanation = ask(policy, "GET", f"https://{address}/", computer)
    assert explanation.denial is not None
    assert (explanation.denial.reason, explanation.denial.detail) == (
        Reason.UNKNOWN_NAME,
        "the client sent no server name",
    )
    assert explanation.steps[0] == "For an IP address, a client sends no server name (SNI)."


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("192.0.2.1", 443), "192.0.2.1:443"),
        (("2001:db8::1", 8443), "[2001:db8::1]:8443"),
        (("fe80::1%eth0", 443), "[fe80::1%eth0]:443"),
    ],
)
def test_the_site_system_is_shown_with_brackets_around_ipv6(
    policy: Policy, computer: LabCredential, address: Address, text: str
) -> None:
    publication = bridged(policy)
    directories = {
        name: dataclasses.replace(
            role,
            site_systems=SiteSystems(
                (dataclasses.replace(role.site_systems.first, address=address),)
            ),
        )
        for name, role in publication.directories.items()
    }
    elsewhere = dataclasses.replace(publication, directories=directories)
    listener = Listener(("::1", 8443), {elsewhere.name: elsewhere})
    explanation = ask(
        dataclasses.replace(policy, listeners=(listener,)), "GET", f"{MP}:8443{LIST}", computer
    )
    assert f"mp01.corp.example at {text}, with" in explanation.steps[-1]


def with_several(policy: Policy, order: Order) -> tuple[Policy, SiteSystems]:
    listed = tuple(
        SiteSystem(("192.0.2.1", 443), f"mp0{n}.corp.example", "mp.corp.example") for n in (1, 2, 3)
    )
    site_systems = SiteSystems(listed, order)
    publication = bridged(policy)
    directories = {
        name: dataclasses.replace(role, site_systems=site_systems)
        for name, role in publication.directories.items()
    }
    several = dataclasses.replace(publication, directories=directories)
    listener = Listener(("::1", 8443), {several.name: several})
    return dataclasses.replace(policy, listeners=(listener,)), site_systems


@pytest.mark.parametrize("order", Order)
def test_of_several_site_systems_the_one_for_this_client_is_shown(
    policy: Policy, computer: LabCredential, order: Order
) -> None:
    several, site_systems = with_several(policy, order)
    explanation = ask(several, "GET", f"{MP}:8443{LIST}", computer)
    key = certificate_facts(computer.certificate).public_key
    names = [each.name for each in preferred(site_systems, key)]
    assert explanation.record()["site_system"] == names[0]
    text = " at 192.0.2.1:443 or, if it cannot be connected to, ".join(names)
    assert f"forwards the request to {text} at 192.0.2.1:443, with" in explanation.steps[-1]


def test_the_site_system_of_an_upload_depends_on_its_session(
    policy: Policy, computer: LabCredential
) -> None:
    several, _ = with_several(policy, Order.BY_CLIENT)
    fields = (
        ("BITS-Packet-Type", "Cancel-Session"),
        ("BITS-Session-Id", "{01234567-89AB-CDEF-0123-456789ABCDEF}"),
        ("Content-Length", "0"),
    )
    explanation = ask(
        several, "BITS_POST", f"{MP}:8443/CCM_Incoming/x.msg", computer, headers=fields
    )
    assert explanation.steps[-1].endswith("forwards it to the site system that has the session.")
    assert "site_system" not in explanation.record()


def test_a_host_in_brackets_is_shown_whole(policy: Policy, computer: LabCredential) -> None:
    explanation = ask(policy, "GET", f"{MP}{LIST}", computer, headers=(("Host", "[::1]:443"),))
    assert explanation.denial is not None
    assert explanation.denial.detail == "Host '[::1]' does not match the server name"


# The next step of the client
def test_the_next_step_of_the_client_is_shown(policy: Policy, computer: LabCredential) -> None:
    refused = ask(policy, "DELETE", f"{MP}/SMS_MP/", computer)
    assert refused.steps[-1] == (
        "As a result, BITS ends a download with an error; any other request fails until the client "
        "tries again (inferred)."
    )
    unauthenticated = ask(policy, "GET", f"{MP}/SMS_MP/", None)
    assert unauthenticated.steps[-1].startswith("As a result, BITS treats a failed connection as ")


WSUS = f"{MP}:8531"

NDES = f"{MP}:8444/certsrv/mscep/mscep.dll"


@pytest.fixture
def every_role(lab_files: Path) -> Policy:
    """A policy with every role: the shipped one, and NDES bridged."""
    text = (lab_files / "bridge.yaml").read_text("utf-8")
    begin = text.index(f"  - name: {NAMED}\n    mode: bridge\n    listen: 127.0.0.1:8531\n")
    ndes = text[begin : text.index("    roles:\n      software-update-point:", begin)]
    ndes = ndes.replace(":8531", ":8444")
    ndes += "    roles: {policy-module: {site_system: 'https://ndes01.corp.example'}}\n"
    path = lab_files / "every_role.yaml"
    path.write_text(text.replace("publications:\n", f"publications:\n{ndes}", 1), "utf-8")
    return load_policy(path)


@pytest.fixture(scope="module")
def computer_of_files(lab_files: Path) -> LabCredential:
    return LabCredential.read(lab_files / "pki" / "clients", "computer")


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
def test_the_log_of_the_client_is_that_of_its_role(
    every_role: Policy, computer_of_files: LabCredential, method: str, url: str, shows: str
) -> None:
    explanation = ask(every_role, method, url, computer_of_files)
    assert f"Expected client log (inferred): {shows}" in explanation.steps
    ccm = "CcmMessaging" in shows
    assert any("BITS" in step for step in explanation.steps[-1:]) <= (
        ccm or "DataTransfer" in shows
    )


@pytest.mark.parametrize(
    ("url", "log"),
    [
        (f"{MP}:8443/SMS_MP/x", "CcmMessaging.log: WinHTTP 12175"),
        (f"{MP}:8443/SMS_DP_SMSPKG$/x", "DataTransferService.log: WinHTTP 12175"),
        ("https://nobody.example/ClientWebService/client.asmx", "WindowsUpdate.log ("),
        ("https://nobody.example/certsrv/mscep/mscep.dll", "Windows' event log Dev"),
    ],
)
def test_the_log_of_a_refused_handshake_is_that_of_the_role(
    every_role: Policy, url: str, log: str
) -> None:
    explanation = ask(every_role, "GET", url, None)
    assert explanation.denial is not None
    assert any(
        step.startswith(f"Expected client log (inferred): {log}") for step in explanation.steps
    )


def test_a_path_without_a_role_has_no_log(every_role: Policy) -> None:
    explanation = ask(every_role, "GET", "https://nobody.example/", None)
    assert explanation.steps[-1] == (
        "As a result, the client cannot connect; its log depends on the role (docs/refusals.md)."
    )
    assert not any("CcmMessaging" in step or "BITS" in step for step in explanation.steps)


def test_a_content_length_of_0_is_a_known_body(policy: Policy, computer: LabCredential) -> None:
    url = "https://bridge.internet.example/ccm_system/request"
    fields = (("Content-Type", ccm.CONTENT_TYPE), ("Content-Length", "0"))
    explanation = ask(policy, "CCM_POST", url, computer, headers=fields)
    assert explanation.denial is not None
    assert explanation.denial.reason is Reason.MULTIPART
