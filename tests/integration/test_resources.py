"""What is published below a directory, through the bridge: BRIDGE-INSPECT, NO-OSD."""

from __future__ import annotations

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.protocol import ccm
from tests.integration.lab import Lab

MP, DP = "management-point.directories.", "distribution-point.directories."
GUID = "11111111-2222-3333-4444-555555555555"
PACKAGE = f"/SMS_DP_SMSPKG$/Content_{GUID}.1"
CLOSE = {"Connection": "close"}
BODIES = {
    "CCM_POST": {"Content-Type": ccm.CONTENT_TYPE},
    "PROPFIND": {"Content-Type": "text/xml", "Depth": "infinity", "Translate": "f"},
}


def ask(lab: Lab, method: str, target: str) -> bytes:
    """A request that would be allowed elsewhere: nothing but its target is wrong."""
    body = {
        "CCM_POST": lab.message(),
        "PROPFIND": b"<propfind xmlns='DAV:'><allprop/></propfind>",
    }.get(method)
    return lab.request(method, target, CLOSE | BODIES.get(method, {}), body)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("CCM_POST", "/CCM_System/Request"),
        ("GET", "/SMS_MP/.sms_aut?MPLIST2&CM1"),
        ("GET", "/SMS_MP/.sms_aut?mpcert"),
        ("GET", "/SMS_MP/.sms_pol?%7BLAB00001%7D.1_00"),
        ("GET", f"/SMS_MP/.sms_dcm?Id&DocumentId=ScopeId_{GUID}/App_1/10/MANIFEST&Version=1"),
        ("PROPFIND", "/SMS_MP/"),
        ("PROPFIND", "/SMS_DP_SMSPKG$/CAS00015"),
        ("PROPFIND", PACKAGE),
        ("GET", "/SMS_DP_SMSPKG$/CAS00015/sccm?/setup.exe"),
        ("GET", f"{PACKAGE}/sccm?/dir/setup%20(1).exe"),
        ("GET", f"/SMS_DP_SMSSIG$/Content_{GUID}.1.1.tar"),
    ],
)
def test_a_published_target_arrives_as_it_was_sent(lab: Lab, method: str, target: str) -> None:
    assert lab.send_one(ask(lab, method, target)).status in (200, 207)
    received = lab.received()
    assert (received.method, received.target) == (method, target)
    assert lab.record()["verdict"] == "allow"


@pytest.mark.parametrize(
    ("method", "target", "rule"),
    [
        ("CCM_POST", "/ccm_system/request/x", f"{MP}ccm_system"),
        ("CCM_POST", "/ccm_system/request/", f"{MP}ccm_system"),
        ("CCM_POST", "/ccm_system/request?x", f"{MP}ccm_system"),
        ("CCM_POST", "/ccm_system/", f"{MP}ccm_system"),
        ("GET", f"/SMS_MP/.sms_aut?GETCLIENTAFFINITY&GUID:{GUID}", f"{MP}sms_mp"),
        ("GET", "/SMS_MP/.sms_aut?MPCapability", f"{MP}sms_mp"),
        ("GET", "/SMS_MP/.sms_aut?SMSTRC", f"{MP}sms_mp"),
        ("GET", "/SMS_MP/.sms_aut/x?MPLIST", f"{MP}sms_mp"),
        ("GET", "/SMS_MP/.sms_aut/?MPLIST", f"{MP}sms_mp"),
        ("GET", "/SMS_MP/.sms_aut", f"{MP}sms_mp"),
        ("GET", "/SMS_MP/.sms_aut?", f"{MP}sms_mp"),
        ("HEAD", "/SMS_MP/.sms_pol", f"{MP}sms_mp"),
        ("GET", "/SMS_MP/.sms_pol/{LAB00001}.1_00", f"{MP}sms_mp"),
        ("PROPFIND", "/SMS_MP/?x", f"{MP}sms_mp"),
        ("PROPFIND", "/SMS_MP/x", f"{MP}sms_mp"),
        ("BITS_POST", "/CCM_Incoming/", f"{MP}ccm_incoming"),
        ("PROPFIND", "/SMS_DP_SMSPKG$/Datalib", "roles.never_below"),
        ("GET", "/SMS_DP_SMSPKG$/FileLib/sccm?/0A1B/0A1B2C", "roles.never_below"),
        ("GET", f"{PACKAGE}/sccm?setup.exe", f"{DP}sms_dp_smspkg$"),
        ("GET", f"{PACKAGE}/sccm", f"{DP}sms_dp_smspkg$"),
        ("HEAD", f"{PACKAGE}/setup.exe", f"{DP}sms_dp_smspkg$"),
        ("PROPFIND", f"{PACKAGE}?/", f"{DP}sms_dp_smspkg$"),
        ("GET", "/SMS_DP_SMSSIG$/", f"{DP}sms_dp_smssig$"),
        ("GET", "/SMS_DP_SMSSIG$/CAS00015.1.zip", f"{DP}sms_dp_smssig$"),
    ],
)
def test_an_unpublished_target_reaches_no_site_system(
    lab: Lab, method: str, target: str, rule: str
) -> None:
    reply = lab.send_one(ask(lab, method, target))
    record = lab.check_refused(reply, Reason.RESOURCE, rule, "BRIDGE-INSPECT")
    assert (record["method"], record["target"]) == (method, target)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "query",
    ["MPKEYINFORMATIONMEDIA", "mpKeyInformationMedia", "MPLOCATION&ir=10.0.0.1&ip=10.0.0.0"],
)
def test_a_request_of_boot_media_is_refused_with_its_requirement(
    lab: Lab, method: str, query: str
) -> None:
    reply = lab.send_one(ask(lab, method, f"/SMS_MP/.sms_aut?{query}"))
    lab.check_refused(reply, Reason.RESOURCE, f"{MP}sms_mp", "NO-OSD")
    if method == "GET":
        assert "Requirement: NO-OSD" in reply.body.decode("ascii").splitlines()


@pytest.mark.parametrize(
    ("method", "target", "rule", "verbs"),
    [
        ("GET", "/ccm_system/request", f"{MP}ccm_system", "CCM_POST"),
        ("CCM_POST", "/SMS_MP/.sms_pol?{LAB00001}.1_00", f"{MP}sms_mp", "GET, HEAD"),
        ("GET", "/SMS_MP/", f"{MP}sms_mp", "PROPFIND"),
        ("GET", PACKAGE, f"{DP}sms_dp_smspkg$", "PROPFIND"),
        ("PROPFIND", f"{PACKAGE}/sccm?/x", f"{DP}sms_dp_smspkg$", "GET, HEAD"),
    ],
)
def test_the_refusal_of_a_verb_names_the_allowed_verbs(
    lab: Lab, method: str, target: str, rule: str, verbs: str
) -> None:
    reply = lab.send_one(ask(lab, method, target))
    lab.check_refused(reply, Reason.VERB, rule, "VERB-MP" if rule.startswith(MP) else "VERB-DP")
    assert reply.header("Allow") == verbs


def test_a_resource_that_is_not_published_ends_the_connection(lab: Lab) -> None:
    good = lab.request("GET", "/SMS_MP/.sms_aut?MPLIST")
    bad = lab.request("GET", "/SMS_MP/.sms_aut?SMSTRC")
    replies = lab.send(good + bad + good, "GET", "GET", "GET")
    assert [response.status for response in replies] == [200, 404]
    allowed, refused = lab.records(2)
    assert allowed["verdict"] == "allow"
    lab.check_denied(refused, Reason.RESOURCE, f"{MP}sms_mp", "BRIDGE-INSPECT")
    assert lab.received().target == "/SMS_MP/.sms_aut?MPLIST"


def test_curl_fetches_a_file_and_not_a_listing(lab: Lab) -> None:
    run = lab.curl(target=f"{PACKAGE}/sccm?/setup.exe", credential=lab.credentials.computer)
    (reply,) = lab.read_responses(run.stdout, ["GET"])
    assert reply.status == 200
    lab.record()
    lab.clear()
    run = lab.curl(target="/SMS_DP_SMSPKG$/Datalib", credential=lab.credentials.computer)
    (reply,) = lab.read_responses(run.stdout, ["GET"])
    lab.check_refused(reply, Reason.RESOURCE, "roles.never_below")
