"""Authorization of a head: client, directory and verb, and their properties."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.authentication.client import AnonymousClient, AuthenticatedClient
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.refusal_response import response_bytes
from ibcm_bridge.decisions.refusals import requirement
from ibcm_bridge.policy.bodies import ReplyReading
from ibcm_bridge.policy.publications import BridgePublication
from ibcm_bridge.policy.resources import Resource
from ibcm_bridge.policy.roles import CertificatePolicy, RoleAdditions, RoleProfile, RoleTable
from ibcm_bridge.request.authorization import authorize
from tests.request.heads import (
    DOWNLOAD,
    LISTING,
    MESSAGE,
    MULTIPART,
    OTHERS,
    PACKAGE,
    POLICY,
    SIGNATURE,
    XML,
    Decide,
    Head,
    allowed,
    denied,
)


@pytest.mark.parametrize(
    ("line", "rule", "site_system", "body"),
    [
        (MESSAGE, "management-point.verbs.CCM_POST", "mp01.corp.example", "ccm-message"),
        (POLICY, "management-point.verbs.GET", "mp01.corp.example", "none"),
        (("HEAD", POLICY[1]), "management-point.verbs.HEAD", "mp01.corp.example", "none"),
        (("GET", "/SMS_MP/.sms_aut?MPLIST1"), "management-point.verbs.GET", None, "none"),
        (
            ("PROPFIND", "/sms_mp", XML, "Content-Length: 90"),
            "management-point.verbs.PROPFIND",
            "mp01.corp.example",
            "webdav",
        ),
        (DOWNLOAD, "distribution-point.verbs.GET", "dp01.corp.example", "none"),
        (("HEAD", DOWNLOAD[1]), "distribution-point.verbs.HEAD", "dp01.corp.example", "none"),
        (LISTING, "distribution-point.verbs.PROPFIND", "dp01.corp.example", "webdav"),
        (SIGNATURE, "distribution-point.verbs.GET", "dp01.corp.example", "none"),
        (("HEAD", SIGNATURE[1]), "distribution-point.verbs.HEAD", "dp01.corp.example", "none"),
    ],
)
def test_the_requests_of_clients_are_allowed(
    decide: Decide,
    decide_strictly: Decide,
    request_head: Head,
    line: tuple[str, ...],
    rule: str,
    site_system: str | None,
    body: str,
) -> None:
    head = request_head(*line)
    for result in (allowed(decide(head)), allowed(decide_strictly(head))):
        assert result.rule == rule
        assert site_system in (None, result.site_systems.first.name)
        assert result.body_rule.name == body
        assert result.head == head
        assert result.dropped == ()


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (MESSAGE, ReplyReading.CCM_MESSAGE),
        (("GET", "/SMS_MP/.sms_aut?MPLIST1"), ReplyReading.XML),
        (("HEAD", "/SMS_MP/.sms_aut?MPCERT"), ReplyReading.XML),
        (POLICY, None),
        (DOWNLOAD, None),
        (LISTING, ReplyReading.XML),
    ],
)
def test_the_row_of_the_resource_has_the_inspection_of_the_response(
    decide: Decide, request_head: Head, line: tuple[str, ...], reply: ReplyReading | None
) -> None:
    assert allowed(decide(request_head(*line))).reply is reply


# The client


def test_a_client_of_another_publication_is_refused(
    client: AuthenticatedClient,
    publication: BridgePublication,
    table: RoleTable,
    request_head: Head,
) -> None:
    elsewhere = replace(publication, name="other.internet.example")
    head = request_head(*POLICY, host=elsewhere.name)
    denial = denied(authorize(client, elsewhere, table.never, head))
    assert denial.reason is Reason.BRIDGE_DEFECT


@pytest.mark.parametrize("policy", CertificatePolicy)
def test_a_client_without_certificate_is_refused_if_the_policy_requires_one(
    publication: BridgePublication, table: RoleTable, request_head: Head, policy: CertificatePolicy
) -> None:
    # `authenticate` never accepts such a client, so it is a defect.
    result = authorize(
        AnonymousClient(publication.name),
        replace(publication, certificate_policy=policy),
        table.never,
        request_head(*POLICY),
    )
    if policy in (CertificatePolicy.OPTIONAL, CertificatePolicy.NONE):
        allowed(result)
    else:
        denial = denied(result)
        assert (denial.reason, denial.rule) == (Reason.BRIDGE_DEFECT, "client.certificate")


# Verbs


@pytest.mark.parametrize(
    ("method", "target", "cites"),
    [
        ("DELETE", "/SMS_MP/.sms_pol", "VERB-MP"),
        ("POST", "/SMS_MP/.sms_pol", "VERB-MP"),
        ("OPTIONS", "/SMS_MP/.sms_pol", "VERB-MP"),
        ("TRACE", "/SMS_MP/.sms_pol", "VERB-MP"),
        ("CONNECT", "/SMS_MP/.sms_pol", "VERB-MP"),
        ("get", "/SMS_MP/.sms_pol", "VERB-MP"),
        ("Get", "/SMS_MP/.sms_pol", "VERB-MP"),
        ("GETX", "/SMS_MP/.sms_pol", "VERB-MP"),
        ("PUT", "/SMS_DP_SMSPKG$/x", "VERB-DP"),
        ("POST", "/SMS_DP_SMSPKG$/x", "VERB-DP"),
        ("CCM_POST", "/SMS_DP_SMSPKG$/x", "VERB-DP"),
        ("propfind", "/SMS_DP_SMSPKG$/x", "VERB-DP"),
        # verbs of the role, but not of the resource
        ("GET", MESSAGE[1], "VERB-MP"),
        ("BITS_POST", MESSAGE[1], "VERB-MP"),
        ("CCM_POST", POLICY[1], "VERB-MP"),
        ("BITS_POST", POLICY[1], "VERB-MP"),
        ("PROPFIND", POLICY[1], "VERB-MP"),
        ("GET", "/SMS_MP/", "VERB-MP"),
        ("GET", "/CCM_Incoming/x.msg", "VERB-MP"),
        ("GET", PACKAGE, "VERB-DP"),
        ("PROPFIND", DOWNLOAD[1], "VERB-DP"),
        ("PROPFIND", SIGNATURE[1], "VERB-DP"),
    ],
)
def test_another_verb_is_refused_and_cites_the_role(
    decide: Decide, request_head: Head, method: str, target: str, cites: str
) -> None:
    denial = denied(decide(request_head(method, target, MULTIPART, "Content-Length: 1")))
    assert denial.reason is Reason.VERB
    assert requirement(denial) == cites


def test_a_verb_in_lower_case_is_another_verb(decide: Decide, request_head: Head) -> None:
    allowed(decide(request_head(*MESSAGE)))
    denial = denied(decide(request_head("ccm_post", *MESSAGE[1:])))
    assert denial.reason is Reason.VERB


@pytest.mark.parametrize(
    ("method", "target", "allowed_methods"),
    [
        ("DELETE", "/SMS_MP/", ("BITS_POST", "CCM_POST", "GET", "HEAD", "PROPFIND")),
        ("DELETE", PACKAGE, ("GET", "HEAD", "PROPFIND")),
        ("CCM_POST", "/SMS_MP/", ("PROPFIND",)),
        ("CCM_POST", POLICY[1], ("GET", "HEAD")),
        ("GET", MESSAGE[1], ("CCM_POST",)),
        ("GET", "/CCM_Incoming/x.msg", ("BITS_POST",)),
        ("GET", PACKAGE, ("PROPFIND",)),
        ("PROPFIND", DOWNLOAD[1], ("GET", "HEAD")),
        ("PROPFIND", SIGNATURE[1], ("GET", "HEAD")),
    ],
)
def test_the_response_to_a_refused_verb_has_the_allowed_ones(
    decide: Decide,
    request_head: Head,
    method: str,
    target: str,
    allowed_methods: tuple[str, ...],
) -> None:
    denial = denied(decide(request_head(method, target)))
    assert denial.allowed_methods == allowed_methods
    assert f"Allow: {', '.join(allowed_methods)}\r\n".encode() in response_bytes(denial, "r")


# Properties

REFUSED = (
    ("DELETE", POLICY[1]),
    ("GET", "/ccm_system/request"),
    ("GET", "/SMS_MP/.sms_aut?SMSTRC"),
    ("GET", "/SMS_MP/.sms_aut?MPLOCATION&ir=1&ip=2"),
    ("GET", "/SMS_MP_AltAuth/.sms_pol"),
    ("GET", "/SMS_DP_SMSPKG$/Datalib"),
    ("GET", "/x/../y"),
    ("CCM_POST", "/ccm_system/request", "Content-Type: text/plain", "Content-Length: 3"),
    ("CCM_POST", "/ccm_system/request", MULTIPART),
    (*POLICY, "Content-Length: 9"),
    ("BITS_POST", "/CCM_Incoming/x.msg", "Content-Length: 9"),
)
ALLOWED = (
    (*MESSAGE, "CCMClientID: GUID:1", "User-Agent: ccmhttp"),
    (*POLICY, "Range: bytes=0-1", "Accept: */*"),
    (*LISTING, "Depth: infinity", "Connection: close"),
    (*DOWNLOAD, "X-Unlisted: 1", "Accept: */*"),
)
NAMES = st.text("abcdefXYZ-_", min_size=1, max_size=12).map(lambda name: f"X-{name}")
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)


@given(line=st.sampled_from(REFUSED), name=NAMES, value=VALUES)
def test_an_unlisted_field_never_turns_a_denial_into_an_allowance(
    decide: Decide,
    decide_strictly: Decide,
    request_head: Head,
    line: tuple[str, ...],
    name: str,
    value: str,
) -> None:
    without, beside = request_head(*line), request_head(*line, f"{name}: {value}")
    assert denied(decide(beside)) == denied(decide(without))
    denied(decide_strictly(beside))


@given(line=st.sampled_from(ALLOWED), name=NAMES, value=VALUES)
def test_an_unlisted_field_does_not_change_the_forwarded_head(
    decide: Decide,
    decide_strictly: Decide,
    request_head: Head,
    line: tuple[str, ...],
    name: str,
    value: str,
) -> None:
    without, beside = request_head(*line), request_head(*line, f"{name}: {value}")
    assert allowed(decide(beside)).head == allowed(decide(without)).head
    assert denied(decide_strictly(beside)).reason is Reason.HEADER


@given(line=st.sampled_from(REFUSED + ALLOWED), data=st.data())
def test_the_case_and_the_order_of_fields_never_change_a_verdict(
    decide: Decide, request_head: Head, line: tuple[str, ...], data: st.DataObject
) -> None:
    def in_another_case(field: str) -> str:
        name, colon, value = field.partition(":")
        upper = data.draw(st.lists(st.booleans(), min_size=len(name), max_size=len(name)))
        pairs = zip(name, upper, strict=True)
        return "".join(c.upper() if up else c.lower() for c, up in pairs) + colon + value

    method, target, *fields = line
    fields.append("Host: bridge.internet.example")
    other = [in_another_case(field) for field in data.draw(st.permutations(fields))]
    before = decide(request_head(method, target, *fields, host=None))
    after = decide(request_head(method, target, *other, host=None))
    if isinstance(before, Deny):
        assert denied(after) == before
    else:
        result = allowed(after)
        assert (result.rule, result.site_systems) == (before.rule, before.site_systems)
        assert len(result.head.fields) == len(before.head.fields)


@given(
    method=st.sampled_from(("GET", "HEAD", "CCM_POST", "PROPFIND", "BITS_POST")),
    target=st.text(
        st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=30
    ).map(lambda text: f"/{text}"),
)
def test_only_a_published_directory_is_ever_allowed(
    decide: Decide, request_head: Head, method: str, target: str
) -> None:
    result = decide(request_head(method, target, MULTIPART, "Content-Length: 0"))
    assert isinstance(result, Deny)


# Enrollment


@pytest.mark.parametrize(
    ("operation", "acts"),
    [
        ("GetCACaps", False),
        ("GetCACert&message=Contoso%20CA", False),
        ("PKIOperation&message=MIIB", True),
        ("pkioperation&message=MIIB%0Aabcd", True),
    ],
)
def test_an_enrollment_by_get_acts_and_must_not_be_sent_twice(
    decide_role: Callable[[str], Decide], request_head: Head, operation: str, acts: bool
) -> None:
    decide = decide_role("policy-module")
    for path in ("mscep.dll", "mscep.dll/pkiclient.exe"):
        target = f"/certsrv/mscep/{path}?operation={operation}"
        assert allowed(decide(request_head("GET", target))).acts is acts


def test_a_row_of_a_policy_does_not_allow_sending_an_enrollment_twice(
    decide_as: Callable[[RoleProfile], Decide], table: RoleTable, request_head: Head
) -> None:
    anything = re.compile(".*", re.DOTALL)
    row = Resource(anything, anything, frozenset((b"GET",)), "")
    added = table.roles["policy-module"].with_additions(
        RoleAdditions({}, frozenset(), (("certsrv", row),), None)
    )
    target = "/certsrv/mscep/mscep.dll?operation=PKIOperation&message=MIIB"
    assert allowed(decide_as(added)(request_head("GET", target))).acts


LINES = "operation=PKIOperation&message=MIIB%0D%0Aabcd%0D%0A"


def test_line_ends_in_a_query_pass_only_if_it_is_parsed_as_a_message(
    decide_role: Callable[[str], Decide],
    decide_as: Callable[[RoleProfile], Decide],
    table: RoleTable,
    request_head: Head,
) -> None:
    target = f"/certsrv/mscep/mscep.dll?{LINES}"
    decide = decide_role("policy-module")
    assert allowed(decide(request_head("GET", target))).body_rule.name == "scep-query"
    posted = decide(
        request_head("POST", target, "Content-Length: 30", "Content-Type: application/octet-stream")
    )
    # A policy may publish a directory with any query.
    anything = re.compile(".*", re.DOTALL)
    row = Resource(anything, anything, frozenset((b"GET",)), "")
    more = RoleAdditions({}, frozenset(), (("reports", row),), None)
    elsewhere = decide_as(table.roles["distribution-point"].with_additions(more))(
        request_head("GET", f"/Reports/x?{LINES}")
    )
    assert denied(posted).reason is Reason.VERB
    assert (denied(elsewhere).reason, denied(elsewhere).rule) == (
        Reason.TARGET_UNSAFE,
        "target.query",
    )


# Verbs of the other roles


@pytest.mark.parametrize("role", OTHERS)
@pytest.mark.parametrize("method", ["post", "PUT", "PROPFIND", "CCM_POST", "TRACE", "OPTIONS"])
def test_other_verbs_of_other_roles_are_refused_and_cite_the_role(
    decide_role: Callable[[str], Decide],
    table: RoleTable,
    request_head: Head,
    role: str,
    method: str,
) -> None:
    denial = denied(decide_role(role)(request_head(method, OTHERS[role][0][1])))
    assert (denial.reason, denial.rule) == (Reason.VERB, f"{role}.verbs")
    assert requirement(denial) == table.roles[role].verbs_requirement
