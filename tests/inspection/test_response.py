"""Replies of site systems: internal names and policies are found, and refused if enforced."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule
from ibcm_bridge.inspection.response import (
    MAX_NAME,
    MAX_OBSERVED,
    MAX_REPLY,
    InspectedReply,
    ReadReply,
    host_names,
    intranet_only,
    judge_reply,
    read_reply,
)
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.lab.protocol.reply_documents import ASSIGNMENTS, BARE, ROOTS, authority
from ibcm_bridge.messages.ccm_reply import CcmReply
from ibcm_bridge.messages.registration_reply import (
    RegistrationReply,
    RegistrationStatus,
    gives_policy,
    read_registration_reply,
    registration_problem,
)
from ibcm_bridge.policy.bodies import ReplyReading
from ibcm_bridge.policy.message_policy import Enforcement, MessagePolicy

CORP = frozenset(("corp.example",))
TYPE = ccm.CONTENT_TYPE.encode()
GUID = "GUID:0A1B2C3D-0000-4000-8000-00000000000F"
ENFORCE = Enforcement.ENFORCE


def rules(**changes: Enforcement) -> MessagePolicy:
    return MessagePolicy(internal_domains=CORP, **changes)


def message(*documents: str) -> bytes:
    payload = "\0".join(documents).encode("utf-16-le")
    return ccm.raw_message("<Msg/>", payload)


def read(*documents: str) -> ReadReply:
    reply = read_reply(ReplyReading.CCM_MESSAGE, TYPE, message(*documents))
    assert isinstance(reply, ReadReply), reply
    return reply


@pytest.mark.parametrize("query", ROOTS)
def test_lists_and_keys_are_parsed_whatever_their_root(query: str) -> None:
    def judged(body: bytes) -> InspectedReply | Deny:
        reply = read_reply(ReplyReading.XML, b"text/xml", body)
        return judge_reply(reply, rules(host_names=ENFORCE))

    body = authority(query)
    assert isinstance(judged(body), InspectedReply)
    denied = judged(body.replace(b"</", b"mp01.corp.example</", 1))
    assert isinstance(denied, Deny)
    assert denied.reason is Reason.REPLY_HOST_NAMES


@pytest.mark.parametrize("root", BARE.values())
def test_messages_are_parsed_whatever_their_root(root: str) -> None:
    for document in (f"<{root}/>", f'<?xml version="1.0" encoding="utf-16"?>\r\n<{root} />'):
        judged = judge_reply(read(document), rules(host_names=ENFORCE, intranet_only=ENFORCE))
        assert isinstance(judged, InspectedReply)


def reply_of(*documents: str) -> CcmReply:
    reply = read(*documents).message
    assert reply is not None
    return reply


def judged(reply: ReadReply | Deny, **changes: Enforcement) -> Deny | tuple[str, ...]:
    result = judge_reply(reply, rules(**changes))
    return result.observed if isinstance(result, InspectedReply) else result


# Host names

LEAKS = [  # protocol.md §3.4, §3.6, §4
    '<UploadReply><Host>mp01.corp.example</Host><URL>x</URL></UploadReply>',
    '<UploadReply><URL>http://MP01.corp.example:80/CCM_Incoming/x</URL></UploadReply>',
    "<LocationRecord><URL Name='http://mp01.corp.example/SMS_DP_SMSPKG$/x'/></LocationRecord>",
    "<LocationRecord><ServerRemoteName>mp01.corp.example</ServerRemoteName></LocationRecord>",
    "<LocationRecord WSUSURL='http://mp01.corp.example:8530' ServerName='x'/>",
    "<LocationRecord WSUSURL='x' ServerName='MP01.CORP.EXAMPLE'/>",
    "<MP><IntranetName Value='mp01.corp.example'/></MP>",
    "<MPList><MP Name='MP01' FQDN='mp01.corp.example'/></MPList>",
    "<URL><![CDATA[http://mp01.corp.example/]]></URL>",
    "<URL>mp01.corp<b/>.example</URL>",
    "<URL>mp01&#46;corp&#x2E;example</URL>",
    "<URL Name='mp01.corp&#46;example'/>",
    "<URL Name='\\\\mp01.corp.example\\share$'/>",
    "<URL Name='mp01.corp.example.'/>",
    "<URL Name='[mp01.corp.example]'/>",
    "<!-- mp01.corp.example --><URL/>",
]  # fmt: skip


@pytest.mark.parametrize("document", LEAKS)
def test_an_internal_name_is_found_at_any_place(document: str) -> None:
    assert host_names(read(document).texts, CORP) == ("mp01.corp.example",)


@pytest.mark.parametrize(
    "document",
    [
        "<URL>http://&lt;mp&gt;/SMS_MP/.sms_pol?{LAB00001}.1_00</URL>",
        "<URL><![CDATA[http://<mp>/SMS_MP/]]></URL>",
        "<URL>https://mp.internet.example/</URL>",
        "<Domain>corp.example</Domain>",
        "<Domain>*.corp.example</Domain>",
        "<Mail>someone@corp.example</Mail>",
        "<URL>mp01.corp.example.net</URL>",
        "<URL>mp01.anothercorp.example</URL>",
        "<URL>mp01.corp.examples</URL>",
        "<URL>mp01.corp.example-2</URL>",
        "<URL>mp01.corp example</URL>",
        "<URL>MP01</URL>",
    ],
)
def test_other_names_are_not_found(document: str) -> None:
    assert host_names(read(document).texts, CORP) == ()


def test_names_in_subdomains_are_found_and_each_once() -> None:
    texts = ["a.b.corp.example A.B.CORP.EXAMPLE c.corp.example", "c.corp.example"]
    assert host_names(texts, CORP) == ("a.b.corp.example", "c.corp.example")


def test_all_domains_are_searched_for_and_without_any_nothing_is_found() -> None:
    text = "a.corp.example b.other.example c.internet.example"
    both = CORP | {"other.example"}
    assert host_names([text], both) == ("a.corp.example", "b.other.example")
    assert host_names([text], frozenset()) == ()


def test_the_number_and_length_of_names_are_limited() -> None:
    many = " ".join(f"h{number}.corp.example" for number in range(100))
    assert len(host_names([many], CORP)) == MAX_OBSERVED
    (long,) = host_names(["x" * 100_000 + ".corp.example"], CORP)
    assert len(long) == MAX_NAME
    assert long.endswith("x.corp.example")
    assert host_names(["-" * 9 + "." * 9 + "a.corp.example"], CORP) == ("a.corp.example",)


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "a ",
        ".",
        "-",
        "a.",
        "corp.example.",
        "a.corp.example ",
        "a.corp.exampl ",
        "ä",
        "<a b='",
    ],
)
def test_the_search_takes_linear_time(piece: str) -> None:
    text = piece * (MAX_REPLY // len(piece))
    domains = CORP | {f"d{number}.example" for number in range(16)}
    host_names([piece], domains)  # the pattern is made once
    began = time.thread_time()
    host_names([text], domains)
    assert time.thread_time() - began < 5, "4 MB take about 0.1 s"


@given(st.text("ab.-<c/ corpexmpl", max_size=60))
def test_found_names_are_in_a_domain_and_limited(text: str) -> None:
    for name in host_names([text, text + ".corp.example"], CORP):
        assert name.endswith(".corp.example")
        assert len(name) <= MAX_NAME


# Intranet-only policies


def assigned(flags: str, policy_id: str = "{A}") -> str:
    policy = f'<Policy PolicyID="{policy_id}" PolicyFlags="{flags}"/>'
    return f"<ReplyAssignments><PolicyAssignment>{policy}</PolicyAssignment></ReplyAssignments>"


@pytest.mark.parametrize(
    "flags", ["8", "9", "74", "&#56;", " 8 ", "IntranetOnly", "A intranetonly"]
)
def test_an_intranet_only_policy_is_found(flags: str) -> None:
    assert intranet_only([assigned(flags)]) == ("{A}",)


@pytest.mark.parametrize(
    "flags", ["0", "", "7", "16", "64", "-8", "x", "\u0668", "8" * 99, "Secret"]
)
def test_another_policy_is_not_found(flags: str) -> None:
    assert intranet_only([assigned(flags)]) == ()


def test_only_policies_have_such_flags() -> None:
    assert intranet_only(['<Other PolicyID="{A}" PolicyFlags="8"/>']) == ()
    assert intranet_only(["<!-- <Policy PolicyFlags='8'/> --><A/>"]) == ()
    assert intranet_only([ASSIGNMENTS]) == ()


def test_the_number_and_length_of_policy_ids_are_limited() -> None:
    documents = [assigned("8", f"{{{number}}}") for number in range(20)]
    assert len(intranet_only(documents)) == MAX_OBSERVED
    assert intranet_only([assigned("8", "x" * 999)]) == ("x" * MAX_NAME,)
    assert intranet_only([assigned("8", "")]) == ("a policy without an id",)


# The decision

LEAK = "<A>mp01.corp.example pc2.corp.example</A>"
UNREADABLE = Deny(Reason.XML, Rule("ccm_reply.payload.xml"), "syntax error at line 1")


def test_observed_findings_are_returned_and_the_reply_is_allowed() -> None:
    assert judged(read("<A/>")) == ()
    assert judged(read(LEAK)) == (
        "reply-host-names: mp01.corp.example",
        "reply-host-names: pc2.corp.example",
    )
    assert judged(read(assigned("8"))) == ("reply-intranet-only: {A}",)
    assert judged(UNREADABLE) == ("reply-unreadable: syntax error at line 1",)


def test_an_internal_name_is_refused_if_enforced() -> None:
    assert judged(read(LEAK), host_names=ENFORCE) == Deny(
        Reason.REPLY_HOST_NAMES, Rule("messages.host_names"), "mp01.corp.example, pc2.corp.example"
    )
    assert judged(read("<A/>"), host_names=ENFORCE) == ()
    assert isinstance(judged(read(LEAK), intranet_only=ENFORCE), tuple)


def test_an_intranet_only_policy_is_refused_if_enforced() -> None:
    assert judged(read(assigned("8")), intranet_only=ENFORCE) == Deny(
        Reason.REPLY_INTRANET_ONLY, Rule("messages.intranet_only"), "{A}"
    )
    assert judged(read(assigned("7")), intranet_only=ENFORCE) == ()
    assert isinstance(judged(read(assigned("8")), host_names=ENFORCE), tuple)


@pytest.mark.parametrize("rule", ["host_names", "intranet_only"])
def test_an_unreadable_reply_is_refused_if_anything_is_enforced(rule: str) -> None:
    denial = judged(UNREADABLE, **{rule: ENFORCE})
    assert denial == Deny(Reason.REPLY_UNREADABLE, UNREADABLE.rule, UNREADABLE.detail)


def test_readable_parts_are_checked_before_unreadable_ones() -> None:
    reply = ReadReply((LEAK,), (LEAK,), unread_parts=1)
    assert judged(reply)[-1:] == ("reply-unreadable: unreadable parts: 1",)
    denial = judged(reply, host_names=ENFORCE)
    assert isinstance(denial, Deny)
    assert denial.reason is Reason.REPLY_HOST_NAMES
    denial = judged(reply, intranet_only=ENFORCE)
    assert isinstance(denial, Deny)
    assert denial.reason is Reason.REPLY_UNREADABLE


def test_replies_without_text_are_allowed_by_any_policy() -> None:
    for body in (b"", ccm.NO_REPLY):
        reply = read_reply(ReplyReading.CCM_MESSAGE, TYPE, body)
        assert judged(reply, host_names=ENFORCE, intranet_only=ENFORCE) == ()


def test_details_are_limited() -> None:
    names = "".join(f"<A>{'x' * 200}{number}.corp.example</A>" for number in range(MAX_OBSERVED))
    denial = judged(read(f"<B>{names}</B>"), host_names=ENFORCE)
    assert isinstance(denial, Deny)
    assert len(denial.detail) == 400
    assert judged(Deny(Reason.XML, Rule("x"), "d" * 999)) == ("reply-unreadable: " + "d" * 400,)


# Other XML documents

MP_LIST = '<MPList><MP Name="MP01" FQDN="mp01.corp.example"/></MPList>'


@pytest.mark.parametrize(
    "body",
    [
        MP_LIST.encode(),
        MP_LIST.encode("utf-8-sig"),
        ("\ufeff" + MP_LIST).encode("utf-16-le"),
        MP_LIST.encode("utf-16-le"),
        ('\ufeff<?xml version="1.0" encoding="utf-16"?>' + MP_LIST).encode("utf-16-le"),
    ],
)
def test_a_list_of_management_points_is_parsed(body: bytes) -> None:
    reply = read_reply(ReplyReading.XML, b"text/xml", body)
    assert isinstance(reply, ReadReply)
    assert reply.message is None
    assert judged(reply) == ("reply-host-names: mp01.corp.example",)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"text", Reason.XML),
        (b"\xff<A/>", Reason.ENCODING),
        (b"<!DOCTYPE A><A/>", Reason.XML_DTD),
    ],
)
def test_malformed_xml_is_unreadable(body: bytes, reason: Reason) -> None:
    reply = read_reply(ReplyReading.XML, b"text/xml", body)
    assert isinstance(reply, Deny)
    assert reply.reason is reason


def test_an_empty_document_has_no_findings() -> None:
    assert judged(read_reply(ReplyReading.XML, b"", b""), host_names=ENFORCE) == ()


def test_other_bytes_are_unreadable_as_a_message() -> None:
    reply = read_reply(ReplyReading.CCM_MESSAGE, b"text/html", b"<html/>")
    assert isinstance(reply, Deny)
    assert reply.reason is Reason.MULTIPART


# Client GUIDs


def registered(status: str = 'Status="0"', guid: str = f'SMSID="{GUID}"', more: str = "") -> str:
    return f'<ClientRegistrationResponse ResponseType="Registration" {status} {guid} {more}/>'


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        ("0", RegistrationStatus.REGISTERED),
        ("Registered", RegistrationStatus.REGISTERED),
        ("1", RegistrationStatus.PENDING),
        ("2", RegistrationStatus.RESET),
        ("error", RegistrationStatus.ERROR),
        ("CertificateReset", RegistrationStatus.CERTIFICATE_RESET),
    ],
)
def test_the_status_of_a_registration_may_be_a_number_or_a_name(
    status: str, meaning: RegistrationStatus
) -> None:
    reply = reply_of(registered(f'Status="{status}"', more='ApprovalStatus="1"'))
    assert read_registration_reply(reply) == RegistrationReply(meaning, GUID, 1)
    assert registration_problem(reply) == ""


@pytest.mark.parametrize(
    ("approval", "meaning"),
    [("-1", -1), ("0", 0), ("3", 3), ("Approved", 1), ("NotApplicable", 2), ("x", None)],
)
def test_the_approval_may_have_any_value(approval: str, meaning: int | None) -> None:
    reply = read_registration_reply(reply_of(registered(more=f'ApprovalStatus="{approval}"')))
    assert reply is not None
    assert reply.approval == meaning


def test_a_client_guid_is_returned_in_canonical_form() -> None:
    reply = read_registration_reply(reply_of(registered(guid=f'SMSID="{GUID[5:].lower()}"')))
    assert reply is not None
    assert reply.guid == GUID
    assert reply.approval is None


@pytest.mark.parametrize(
    ("documents", "doubt"),
    [
        ([registered(guid="")], "SMSID is not a client GUID"),
        ([registered(guid='SMSID=""')], "SMSID is not a client GUID"),
        ([registered(guid=f'SMSID="{GUID} "')], "SMSID is not a client GUID"),
        ([registered(guid=f'SMSID="{GUID}{GUID}"')], "SMSID is not a client GUID"),
        ([registered(guid=f'smsid="{GUID}"')], "SMSID is not a client GUID"),
        ([registered(more=f'smsid="{GUID}"')], "an attribute occurs twice"),
        ([registered(more='status="1"')], "an attribute occurs twice"),
        ([registered(more=f'x:SMSID="{GUID}"')], "an attribute occurs twice"),
        ([registered("")], "Status is missing or unknown"),
        ([registered('Status="5"')], "Status is missing or unknown"),
        ([registered('Status="00"')], "Status is missing or unknown"),
        ([registered('Status="\u0660"')], "Status is missing or unknown"),
        ([registered(), "<A/>"], "more than one document"),
        ([registered(), registered()], "more than one document"),
        (
            [f'{registered()[:-2]}><A smsid="{GUID}"/></ClientRegistrationResponse>'],
            "more than one element with a client GUID",
        ),
        ([registered().replace("<C", "<x:C")], "more than one element with a client GUID"),
    ],
)
def test_an_ambiguous_registration_is_ignored_and_its_problem_returned(
    documents: list[str], doubt: str
) -> None:
    reply = reply_of(*documents)
    assert read_registration_reply(reply) is None
    assert registration_problem(reply) == doubt


@pytest.mark.parametrize(
    "reply",
    [
        CcmReply(empty=True),
        CcmReply(no_reply=True),
        reply_of(ASSIGNMENTS),
        reply_of(f'<Other SMSID="{GUID}" Status="0"/>'),
        reply_of(registered().replace("Client", "client")),
    ],
)
def test_another_reply_is_not_a_registration_and_has_no_problem(reply: CcmReply) -> None:
    assert read_registration_reply(reply) is None
    assert registration_problem(reply) == ""


def test_a_registration_next_to_an_unreadable_part_is_ambiguous() -> None:
    text = registered()
    reply = CcmReply("", (text,), ("ClientRegistrationResponse",), ("",), unread_parts=1)
    assert read_registration_reply(reply) is None
    assert registration_problem(reply)


def test_only_assignments_are_policy() -> None:
    assert gives_policy(reply_of(ASSIGNMENTS))
    assert not gives_policy(reply_of(ASSIGNMENTS, ASSIGNMENTS))
    assert not gives_policy(reply_of("<A><ReplyAssignments/></A>"))
    assert not gives_policy(reply_of("<A/>"))
    assert not gives_policy(CcmReply(empty=True))
    assert not gives_policy(CcmReply(no_reply=True))
