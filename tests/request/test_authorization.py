"""Each allowed head, and its refused twins with their reasons."""

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
from ibcm_bridge.policy.roles import CertificatePolicy, RoleProfile, RoleTable, Widening
from ibcm_bridge.request.authorization import Authorized, authorize
from ibcm_bridge.request.bits_packet import Packet, PacketType
from ibcm_bridge.request.head import RequestHead

Decide = Callable[[RequestHead], Authorized | Deny]
Head = Callable[..., RequestHead]

MULTIPART = 'Content-Type: multipart/mixed; boundary="aAbBcCdDv1234567890VxXyYzZ"'
XML = "Content-Type: text/xml"
MESSAGE = ("CCM_POST", "/ccm_system/request", MULTIPART, "Content-Length: 3000")
POLICY = ("GET", "/SMS_MP/.sms_pol?{LAB00001}.1_00")
PACKAGE = "/SMS_DP_SMSPKG$/Content_11111111-2222-3333-4444-555555555555.1"
LISTING = ("PROPFIND", PACKAGE, XML, "Content-Length: 90")
DOWNLOAD = ("GET", f"{PACKAGE}/sccm?/dir/setup.exe")
SIGNATURE = ("GET", f"{PACKAGE.replace('PKG', 'SIG')}.1.tar")


def allowed(result: Authorized | Deny) -> Authorized:
    assert isinstance(result, Authorized), result
    return result


def denied(result: Authorized | Deny) -> Deny:
    assert isinstance(result, Deny), result
    return result


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
def test_what_clients_send_is_allowed(
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
        assert site_system in (None, result.site_system.name)
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
def test_how_the_answer_is_read_is_said_by_the_row_of_the_resource(
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
def test_a_client_without_certificate_is_refused_where_one_is_needed(
    publication: BridgePublication, table: RoleTable, request_head: Head, policy: CertificatePolicy
) -> None:
    # `identity` lets nobody in so; whoever did all the same is a defect.
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


# Host


@pytest.mark.parametrize(
    "host",
    ["bridge.internet.example", "BRIDGE.Internet.Example", "bridge.internet.example:443"],
)
def test_host_is_the_server_name(decide: Decide, request_head: Head, host: str) -> None:
    allowed(decide(request_head(*POLICY, host=host)))


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "mp01.corp.example",
        "bridge.internet.example.",
        "bridge.internet.example.:443",
        "bridge.internet.example.evil.example",
        "bridge.internet.example:80:80",
        "bridge.internet.example:https",
        "bridge.internet.example:-1",
        "bridge.internet.example:\xb2",
        "bridge.internet.example, mp01.corp.example",
        "user@bridge.internet.example",
        "https://bridge.internet.example",
        "[::1]",
        "127.0.0.1",
    ],
)
def test_another_host_or_none_is_refused(
    decide: Decide, request_head: Head, host: str | None
) -> None:
    denial = denied(decide(request_head(*POLICY, host=host)))
    assert denial.reason is Reason.HOST_MISMATCH


@pytest.mark.parametrize("second", ["bridge.internet.example", "mp01.corp.example", ""])
def test_two_hosts_are_refused_even_if_they_agree(
    decide: Decide, request_head: Head, second: str
) -> None:
    denial = denied(decide(request_head(*POLICY, f"host: {second}")))
    assert denial.reason is Reason.HOST_MISMATCH


# Target and directory


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/ccm_system/../SMS_MP/.sms_pol", Reason.TARGET_UNSAFE),
        ("/SMS_MP/%2e%2e/ccm_system", Reason.TARGET_UNSAFE),
        (f"{PACKAGE}/sccm?/../../x", Reason.TARGET_UNSAFE),
        (f"{PACKAGE}/sccm?C:/windows", Reason.TARGET_UNSAFE),
        ("https://bridge.internet.example/SMS_MP/.sms_pol", Reason.TARGET_FORM),
        ("*", Reason.TARGET_FORM),
        ("bridge.internet.example:443", Reason.TARGET_FORM),
        ("/", Reason.DIRECTORY),
        ("/iisstart.htm", Reason.DIRECTORY),
        ("/SMS_MP/x", Reason.RESOURCE),
        ("/ccm_system/x", Reason.RESOURCE),
        ("/SMS_MP_AltAuth/.sms_pol?x", Reason.BYPASS_DIRECTORY),
        (f"/NOCERT_{PACKAGE[1:]}", Reason.BYPASS_DIRECTORY),
    ],
)
def test_a_target_that_is_not_published_is_refused(
    decide: Decide, request_head: Head, target: str, reason: Reason
) -> None:
    assert denied(decide(request_head("GET", target))).reason is reason


@pytest.mark.parametrize(
    "target",
    [
        "/SMS_DP_SMSPKG$",
        "/SMS_DP_SMSPKG$/",
        "/sms_dp_smspkg$?x",
        "/SMS_DP_SMSPKG$?/x",
        "/SMS_DP_SMSPKG$/SCCMContentLib/x",
    ],
)
@pytest.mark.parametrize("line", [("GET",), ("HEAD",), ("PROPFIND", XML, "Content-Length: 90")])
def test_what_the_packages_directory_itself_holds_is_not_listed(
    decide: Decide, request_head: Head, target: str, line: tuple[str, ...]
) -> None:
    denial = denied(decide(request_head(line[0], target, *line[1:])))
    rule = "distribution-point.directories.sms_dp_smspkg$"
    assert (denial.reason, denial.rule) == (Reason.RESOURCE, rule)
    assert requirement(denial) == "BRIDGE-INSPECT"


@pytest.mark.parametrize(
    "target",
    [
        "/SMS_DP_SMSPKG$/Datalib",
        "/SMS_DP_SMSPKG$/Datalib/",
        "/SMS_DP_SMSPKG$/datalib/Content_11111111-2222-3333-4444-555555555555.1.INI",
        "/SMS_DP_SMSPKG$/FileLib/0A1B/0A1B2C",
        "/SMS_DP_SMSPKG$/FILELIB?x",
        "/SMS_DP_SMSPKG$/Datalib/sccm?/x",
        "/SMS_DP_SMSPKG$/FileLib/sccm?/0A1B/0A1B2C",
        "/SMS_DP_SMSPKG$/%46ileLib",
        "/SMS_DP_SMSSIG$/Datalib",
        "/SMS_MP/Datalib",
    ],
)
@pytest.mark.parametrize(
    "line", [("GET",), ("HEAD",), ("DELETE",), ("PROPFIND", XML, "Content-Length: 90")]
)
def test_the_content_library_is_never_published(
    decide: Decide, request_head: Head, target: str, line: tuple[str, ...]
) -> None:
    denial = denied(decide(request_head(line[0], target, *line[1:])))
    assert (denial.reason, denial.rule) == (Reason.RESOURCE, "roles.never_below")
    assert requirement(denial) == "BRIDGE-INSPECT"


@pytest.mark.parametrize("name", ["Datalib1", "xFileLib", "Content_1.1", "x", "DATALIB0"])
@pytest.mark.parametrize("line", [("GET",), ("HEAD",), ("PROPFIND", XML, "Content-Length: 90")])
def test_what_is_not_named_like_a_package_is_none(
    decide: Decide, request_head: Head, name: str, line: tuple[str, ...]
) -> None:
    for below in (name, f"{name}/sccm?/dir/setup.exe"):
        target = f"/SMS_DP_SMSPKG$/{below}"
        assert denied(decide(request_head(line[0], target, *line[1:]))).reason is Reason.RESOURCE


@pytest.mark.parametrize(
    ("target", "detail"),
    [
        ("/SMS_MP/nothing", "/sms_mp/nothing is not published"),
        ("/SMS_MP/nothing?MPLIST", "/sms_mp/nothing is not published"),
        ("/SMS_MP/.sms_aut", "/sms_mp/.sms_aut is published, but not without a query"),
        ("/SMS_MP/.sms_aut?x=secret", "/sms_mp/.sms_aut is published, but not with this query"),
        ("/SMS_MP/.sms_aut?", "/sms_mp/.sms_aut is published, but not with this query"),
        (f"{SIGNATURE[1]}?x", f"{SIGNATURE[1].lower()} is published, but not with a query"),
    ],
)
def test_a_path_that_is_published_is_said_to_be_where_the_query_is_not(
    decide: Decide, request_head: Head, target: str, detail: str
) -> None:
    denial = denied(decide(request_head("GET", target)))
    assert denial.reason is Reason.RESOURCE
    assert denial.detail.lower() == detail


@pytest.mark.parametrize("file", ["Datalib/x", "FileLib", "SCCMContentLib/Datalib.INI"])
def test_a_file_of_a_package_may_be_named_like_what_is_not_listed(
    decide: Decide, request_head: Head, file: str
) -> None:
    allowed(decide(request_head("GET", f"{PACKAGE}/sccm?/{file}")))


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
        # verbs of the role, and not of the resource
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


# Bodies


@pytest.mark.parametrize("line", [POLICY, DOWNLOAD, ("HEAD", POLICY[1])])
def test_a_body_where_none_belongs_is_refused_before_it_is_read(
    decide: Decide, request_head: Head, line: tuple[str, ...]
) -> None:
    allowed(decide(request_head(*line, "Content-Length: 0")))
    for length in (1, 10_000_000_000):
        denial = denied(decide(request_head(*line, f"Content-Length: {length}")))
        assert denial.reason is Reason.BODY_TOO_LARGE


@pytest.mark.parametrize(("line", "limit"), [(MESSAGE, 4_194_304), (LISTING, 65_536)])
def test_a_body_is_bounded_by_the_role_table(
    decide: Decide, request_head: Head, line: tuple[str, ...], limit: int
) -> None:
    allowed(decide(request_head(*line[:3], f"Content-Length: {limit}")))
    denial = denied(decide(request_head(*line[:3], f"Content-Length: {limit + 1}")))
    assert denial.reason is Reason.BODY_TOO_LARGE


def test_a_message_needs_a_length(decide: Decide, request_head: Head) -> None:
    assert denied(decide(request_head(*MESSAGE[:3]))).reason is Reason.LENGTH_REQUIRED


@pytest.mark.parametrize("fields", [(), ("Content-Length: 0",), LISTING[2:3]])
def test_a_listing_may_be_asked_for_without_a_body(
    decide: Decide, request_head: Head, fields: tuple[str, ...]
) -> None:
    allowed(decide(request_head(*LISTING[:2], *fields)))


def test_a_listing_with_a_body_needs_its_media_type(decide: Decide, request_head: Head) -> None:
    denial = denied(decide(request_head(*LISTING[:2], "Content-Length: 10")))
    assert denial.reason is Reason.MEDIA_TYPE


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
def test_a_refused_verb_names_those_that_would_do(
    decide: Decide,
    request_head: Head,
    method: str,
    target: str,
    allowed_methods: tuple[str, ...],
) -> None:
    denial = denied(decide(request_head(method, target)))
    assert denial.allowed_methods == allowed_methods
    assert f"Allow: {', '.join(allowed_methods)}\r\n".encode() in response_bytes(denial, "r")


@pytest.mark.parametrize(
    ("length", "reason"),
    [
        (0, Reason.UPLOAD_PACKET),
        (4_194_304, Reason.UPLOAD_PACKET),
        (4_194_305, Reason.BODY_TOO_LARGE),  # 413: BITS sends smaller ones
    ],
)
def test_a_bits_post_that_is_no_packet_is_refused_before_it_is_read(
    decide: Decide, request_head: Head, length: int, reason: Reason
) -> None:
    head = request_head("BITS_POST", "/CCM_Incoming/x.msg", f"Content-Length: {length}")
    assert denied(decide(head)).reason is reason


BITS = ("BITS_POST", "/CCM_Incoming/x.msg")
PACKETS = (
    ("BITS-Packet-Type: Ping",),
    (
        "BITS-Packet-Type: Create-Session",
        "BITS-Supported-Protocols: {7df0354d-249b-430f-820d-3d2a9bef4931}",
    ),
    ("BITS-Packet-Type: Close-Session", "BITS-Session-Id: {1}"),
    ("BITS-Packet-Type: Cancel-Session", "BITS-Session-Id: {1}"),
)


@pytest.mark.parametrize("fields", PACKETS)
def test_a_packet_without_body_and_length_goes_on_with_a_length_of_nothing(
    decide: Decide, decide_strictly: Decide, request_head: Head, fields: tuple[str, ...]
) -> None:
    stated = request_head(*BITS, *fields, "Content-Length: 0")
    for decision in (decide, decide_strictly):
        result = allowed(decision(request_head(*BITS, *fields)))
        assert result.head == stated == allowed(decision(stated)).head
        assert result.dropped == ()


def test_a_fragment_without_length_is_refused(decide: Decide, request_head: Head) -> None:
    place = ("BITS-Session-Id: {1}", "Content-Range: bytes 0-9/100")
    fragment = request_head(*BITS, "BITS-Packet-Type: Fragment", *place)
    denial = denied(decide(fragment))
    assert (denial.reason, denial.rule) == (Reason.LENGTH_REQUIRED, "head.content-length")


@pytest.mark.parametrize("line", [POLICY, DOWNLOAD, LISTING[:2]])
def test_no_other_request_without_length_is_given_one(
    decide: Decide, request_head: Head, line: tuple[str, ...]
) -> None:
    assert allowed(decide(request_head(*line))).head == request_head(*line)


def test_a_packet_of_an_upload_is_read_with_its_head(decide: Decide, request_head: Head) -> None:
    fields = ("BITS-Packet-Type: Ping", "Content-Length: 0")
    allowed = decide(request_head("BITS_POST", "/CCM_Incoming/x.msg", *fields))
    assert isinstance(allowed, Authorized)
    assert allowed.packet == Packet(PacketType.PING)
    coded = request_head("BITS_POST", "/CCM_Incoming/x.msg", *fields, "Content-Encoding: gzip")
    # Although the field itself would only be taken out.
    assert denied(decide(coded)).reason is Reason.UPLOAD_PACKET


@pytest.mark.parametrize(
    "content_type",
    ["multipart/mixed; boundary=x", "MULTIPART/Mixed ; boundary=x", "multipart/mixed"],
)
def test_a_message_is_multipart_mixed(
    decide: Decide, request_head: Head, content_type: str
) -> None:
    line = (*MESSAGE[:2], f"Content-Type: {content_type}", MESSAGE[3])
    allowed(decide(request_head(*line)))


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("Content-Type: ",),
        ("Content-Type: application/octet-stream",),
        ("Content-Type: multipart/form-data; boundary=x",),
        ("Content-Type: multipart/mixedx",),
        ("Content-Type: text/xml, multipart/mixed",),
        ("Content-Type: application/x-www-form-urlencoded",),
        (MULTIPART, MULTIPART),
        (MULTIPART, "content-type: text/plain"),
        (MULTIPART, "Content-Encoding: gzip"),
        (MULTIPART, "Content-Encoding: identity"),
    ],
)
def test_a_message_of_another_media_type_is_refused(
    decide: Decide, request_head: Head, lines: tuple[str, ...]
) -> None:
    denial = denied(decide(request_head(*MESSAGE[:2], *lines, MESSAGE[3])))
    assert denial.reason is Reason.MEDIA_TYPE


@pytest.mark.parametrize(
    ("lines", "detail"),
    [
        ((), "no Content-Type"),
        ((MULTIPART, MULTIPART), "not one Content-Type"),
        (("Content-Type: ",), "not one Content-Type"),
        (("Content-Type: Text/Plain; x=secret",), "Content-Type is text/plain"),
    ],
)
def test_what_is_wrong_with_a_media_type_is_said(
    decide: Decide, request_head: Head, lines: tuple[str, ...], detail: str
) -> None:
    denial = denied(decide(request_head(*MESSAGE[:2], *lines, MESSAGE[3])))
    assert (denial.reason, denial.detail) == (Reason.MEDIA_TYPE, detail)


@pytest.mark.parametrize("content_type", ["application/json", "multipart/mixed; boundary=x"])
def test_a_listing_of_another_media_type_is_refused(
    decide: Decide, request_head: Head, content_type: str
) -> None:
    denial = denied(decide(request_head(*LISTING[:2], f"Content-Type: {content_type}", LISTING[3])))
    assert denial.reason is Reason.MEDIA_TYPE


# Fields of this leg


@pytest.mark.parametrize(
    "lines",
    [
        ("Connection: close",),
        ("Connection: Keep-Alive", "Keep-Alive: timeout=5"),
        ("Connection: keep-alive, close",),
        ("Connection:",),
        # RFC 9110 §7.6.1: an option may stand there without its field.
        ("Connection: Keep-Alive, TE, Upgrade, HTTP2-Settings",),
        ("Connection: x-of-this-leg",),
        ("Connection: , ,close,\t",),
        ("Expect: 100-continue",),
        ("Expect: 100-Continue",),
        ("Proxy-Connection: keep-alive",),
    ],
)
def test_fields_for_the_bridge_itself_are_neither_sent_on_nor_counted(
    decide: Decide, decide_strictly: Decide, request_head: Head, lines: tuple[str, ...]
) -> None:
    for result in (
        allowed(decide(request_head(*MESSAGE, *lines))),
        allowed(decide_strictly(request_head(*MESSAGE, *lines))),
    ):
        assert result.head == request_head(*MESSAGE)
        assert result.dropped == ()


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (("Expect: 200-ok",), Reason.EXPECTATION),
        (("Expect:",), Reason.EXPECTATION),
        (("Expect: 100-continue, x",), Reason.EXPECTATION),
        (("Expect: 100-continue", "Expect: 100-continue"), Reason.EXPECTATION),
        (("Connection: close, CCMClientID",), Reason.HEADER),
        (("Connection: Content-Length",), Reason.HEADER),
        (("Connection: close", "connection: host"), Reason.HEADER),
        (("Connection: close;x",), Reason.HEADER),
        (("Connection: Upgrade, Content-Length", "Upgrade: h2c"), Reason.HEADER),
        (("Connection: TE, Transfer-Encoding", "TE: trailers"), Reason.HEADER),
        (("Connection: Trailer",), Reason.HEADER),
        (("Connection: keep-alive, content-TYPE",), Reason.HEADER),
        (("Connection: upgrade", "Connection: User-Agent"), Reason.HEADER),
    ],
)
def test_other_wishes_for_the_connection_are_refused(
    decide: Decide, request_head: Head, lines: tuple[str, ...], reason: Reason
) -> None:
    denial = denied(decide(request_head(*MESSAGE, *lines)))
    assert denial.reason is reason
    assert denial.rule == ("head.connection" if reason is Reason.HEADER else "head.expect")
    assert requirement(denial) == "HTTP-1.1"


OF_ONE_LEG = [
    # what stands in the head, and what of it is named as dropped
    (("Connection: TE", "TE: trailers"), ("TE",)),
    (("Connection: Upgrade", "Upgrade: websocket"), ("Upgrade",)),
    (("Upgrade: h2c",), ("Upgrade",)),
    # curl --http2 on a connection without TLS (RFC 7540 §3.2)
    (
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQC"),
        ("Upgrade", "HTTP2-Settings"),
    ),
    (("Connection: X-Of-This-Leg", "X-Of-This-Leg: 1"), ("X-Of-This-Leg",)),
    (("Connection: Keep-Alive, te", "Keep-Alive: timeout=5", "TE: trailers"), ("TE",)),
]


@pytest.mark.parametrize(("lines", "dropped"), OF_ONE_LEG)
def test_what_connection_names_and_is_not_sent_on_is_dropped_with_its_field(
    decide: Decide, request_head: Head, lines: tuple[str, ...], dropped: tuple[str, ...]
) -> None:
    for line in (MESSAGE, POLICY, DOWNLOAD):
        result = allowed(decide(request_head(*line, *lines)))
        assert result.head == request_head(*line)
        assert result.dropped == dropped


@pytest.mark.parametrize(("lines", "dropped"), OF_ONE_LEG)
def test_where_the_policy_says_so_a_field_that_connection_names_is_refused_as_unlisted(
    decide_strictly: Decide, request_head: Head, lines: tuple[str, ...], dropped: tuple[str, ...]
) -> None:
    denial = denied(decide_strictly(request_head(*MESSAGE, *lines)))
    assert (denial.reason, denial.rule) == (Reason.HEADER, "management-point.headers")
    assert denial.detail == f"{dropped[0]} is not listed"
    assert requirement(denial) == "HEADER-MP"


@pytest.mark.parametrize(
    ("line", "option", "passes"),
    [
        (POLICY, "CCMClientID", False),
        (DOWNLOAD, "CCMClientID", True),  # a distribution point is not sent it
        (POLICY, "BITS-Session-Id", False),
        (DOWNLOAD, "BITS-Session-Id", True),
        (DOWNLOAD, "Range", False),
        (DOWNLOAD, "Authorization", True),
    ],
)
def test_what_connection_may_name_is_said_by_what_the_role_is_sent(
    decide: Decide, request_head: Head, line: tuple[str, ...], option: str, passes: bool
) -> None:
    result = decide(request_head(*line, f"Connection: {option}"))
    if passes:
        assert allowed(result).head == request_head(*line)
    else:
        denial = denied(result)
        assert (denial.reason, denial.rule) == (Reason.HEADER, "head.connection")
        assert denial.detail == f"{option.lower()} is not a field of this leg alone"


# Listed and unlisted fields


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (POLICY, "CCMClientID: GUID:1"),
        (POLICY, "CCMClientIDSignature: 00"),
        (POLICY, "CCMClientTimestamp: 2026-01-01T00:00:00Z"),
        (POLICY, "CCMClientTimestampsSignature: 00"),
        (POLICY, "CCMClientTimestampSignature: 00"),
        (POLICY, "ClientToken: GUID:1;2026-01-01T00:00:00Z;2"),
        (POLICY, "Range: bytes=0-1"),
        (DOWNLOAD, "range: bytes=0-1,5-9"),
        (DOWNLOAD, "IF-RANGE: x"),
        (LISTING, "Depth: infinity"),
        (LISTING, "Translate: f"),
        (POLICY, "BITS-Packet-Type: Ping"),
        (POLICY, "X-P2P-PeerDist: Version=1.1"),
        (DOWNLOAD, "X-P2P-PeerDist: Version=1.1"),
        (DOWNLOAD, "X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=2.0"),
    ],
)
def test_a_listed_field_is_sent_on(
    decide: Decide, decide_strictly: Decide, request_head: Head, line: tuple[str, ...], field: str
) -> None:
    head = request_head(*line, field)
    assert allowed(decide(head)).head == head
    assert allowed(decide_strictly(head)).head == head


def test_branchcache_is_asked_for_whole_whatever_the_role(table: RoleTable) -> None:
    # [MS-PCCRTP]: a coding that is accepted, and fields that say in which versions.
    together = {b"accept-encoding", b"x-p2p-peerdist", b"x-p2p-peerdistex"}
    for role in table.roles.values():
        assert together <= role.headers
        assert together <= role.without_observed_headers().headers


def test_and_its_fields_are_sent_on_as_they_came(
    decide: Decide, decide_strictly: Decide, request_head: Head
) -> None:
    head = request_head(
        *DOWNLOAD,
        "Accept-Encoding: identity, peerdist",
        "X-P2P-PeerDist: Version=1.1",
        "X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=2.0",
    )
    for one in (decide, decide_strictly):
        assert (allowed(one(head)).head, allowed(one(head)).dropped) == (head, ())


UNLISTED = [
    (POLICY, "X-Original-URL: /SMS_MP_AltAuth/.sms_pol", "HEADER-MP"),
    (POLICY, "X-Forwarded-For: 10.0.0.1", "HEADER-MP"),
    (POLICY, "Authorization: Negotiate x", "HEADER-MP"),
    (POLICY, "TE: trailers", "HEADER-MP"),
    (POLICY, "Cookie: a=b", "HEADER-MP"),
    (POLICY, "Content_Length: 5", "HEADER-MP"),
    (POLICY, "SOAPAction: x", "HEADER-MP"),
    (DOWNLOAD, "BITS-Packet-Type: Ping", "HEADER-DP"),
    (DOWNLOAD, "CCMClientID: GUID:1", "HEADER-DP"),
    (DOWNLOAD, "X-HTTP-Method-Override: DELETE", "HEADER-DP"),
]


@pytest.mark.parametrize(("line", "field", "cites"), UNLISTED)
def test_an_unlisted_field_is_dropped_and_named(
    decide: Decide, request_head: Head, line: tuple[str, ...], field: str, cites: str
) -> None:
    result = allowed(decide(request_head(*line, field, "Range: bytes=0-1")))
    assert result.dropped == (field.partition(":")[0],)
    assert result.head == request_head(*line, "Range: bytes=0-1")


@pytest.mark.parametrize(("line", "field", "cites"), UNLISTED)
def test_where_the_policy_says_so_an_unlisted_field_is_refused(
    decide_strictly: Decide, request_head: Head, line: tuple[str, ...], field: str, cites: str
) -> None:
    denial = denied(decide_strictly(request_head(*line, field)))
    assert denial.reason is Reason.HEADER
    assert requirement(denial) == cites


# Algebra

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
def test_an_unlisted_field_changes_nothing_of_what_is_sent(
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
        assert (result.rule, result.site_system) == (before.rule, before.site_system)
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


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        ("bytes=0-99", True),
        ("bytes=100-", True),
        ("bytes=-100", True),
        ("bytes=0-1,5-6, 9-10", True),
        ("bytes=0-18446744073709551615", False),
        ("bytes=" + ",".join(["0-1"] * 17), False),
        ("bytes=" + ",".join(f"{2 * at}-{2 * at}" for at in range(17)), True),
        ("bytes=", False),
        ("bytes=a-b", False),
        ("items=0-1", False),
    ],
)
def test_a_range_is_bounded(decide: Decide, request_head: Head, value: str, passes: bool) -> None:
    result = decide(request_head(*DOWNLOAD, f"Range: {value}"))
    if passes:
        allowed(result)
    else:
        assert (denied(result).reason, denied(result).rule) == (Reason.HEADER, "head.range")


def test_two_ranges_are_refused(decide: Decide, request_head: Head) -> None:
    head = request_head(*DOWNLOAD, "Range: bytes=0-1", "Range: bytes=2-3")
    assert denied(decide(head)).rule == "head.range"


@pytest.mark.parametrize(
    ("parameter", "passes"),
    [
        ("", True),
        ("; charset=utf-8", True),
        ('; charset="UTF-8"', True),
        ("; charset=utf-7", False),
        ("; charset=utf-16", False),
        ("; charset=utf-8; x=y", False),
    ],
)
def test_a_listing_is_in_the_encoding_it_is_inspected_in(
    decide: Decide, request_head: Head, parameter: str, passes: bool
) -> None:
    head = request_head(*LISTING[:2], f"Content-Type: text/xml{parameter}", "Content-Length: 10")
    result = decide(head)
    if passes:
        allowed(result)
    else:
        denial = denied(result)
        assert (denial.reason, denial.rule) == (Reason.MEDIA_TYPE, "bodies.webdav.charset")


# Bodies of the other roles

SCAN = ("POST", "/ClientWebService/client.asmx")
REPORT = ("POST", "/SMS_FSP/.sms_fsp")
FORM = ("POST", "/CMApplicationCatalog/x")
ENROL = ("POST", "/certsrv/mscep/mscep.dll?operation=PKIOperation")
OTHERS = {
    # role -> line, media types that pass, media types that do not, limit
    "software-update-point": (
        SCAN,
        ["text/xml", "text/xml; charset=utf-8", "application/soap+xml"],
        ["application/json", "multipart/mixed", "text/xml; charset=utf-16", ""],
        4_194_304,
    ),
    "fallback-status-point": (
        REPORT,
        ["text/xml", "application/xml", "text/plain; charset=utf-16", "application/octet-stream"],
        ["multipart/mixed", "text/html", "text/xml; charset=utf-7", "text/xml; x=y"],
        65_536,
    ),
    "application-catalog-website-point": (
        FORM,
        ["application/x-www-form-urlencoded", "application/json", "application/soap+xml"],
        ["multipart/form-data", "text/html", ""],
        1_048_576,
    ),
    "policy-module": (
        ENROL,
        ["application/x-pki-message", "application/octet-stream"],
        ["application/x-www-form-urlencoded", "text/xml", ""],
        1_048_576,
    ),
}


@pytest.mark.parametrize(("role", "row"), OTHERS.items())
def test_the_bodies_of_other_roles_are_bounded_and_of_their_media_types(
    decide_role: Callable[[str], Decide],
    request_head: Head,
    role: str,
    row: tuple[tuple[str, str], list[str], list[str], int],
) -> None:
    line, passing, refused, limit = row
    decide, length = decide_role(role), "Content-Length: 30"
    for media_type in passing:
        content_type = f"Content-Type: {media_type}"
        result = allowed(decide(request_head(*line, content_type, length)))
        assert result.rule == f"{role}.verbs.POST"
        allowed(decide(request_head(*line, content_type, f"Content-Length: {limit}")))
        too_long = request_head(*line, content_type, f"Content-Length: {limit + 1}")
        assert denied(decide(too_long)).reason is Reason.BODY_TOO_LARGE
        coded = request_head(*line, content_type, length, "Content-Encoding: gzip")
        assert denied(decide(coded)).reason is Reason.MEDIA_TYPE
    for media_type in refused:
        head = request_head(*line, f"Content-Type: {media_type}", length)
        assert denied(decide(head)).reason is Reason.MEDIA_TYPE
    unbounded = decide(request_head(*line, f"Content-Type: {passing[0]}"))
    if role != "application-catalog-website-point":  # where a POST may be empty
        assert denied(unbounded).reason is Reason.LENGTH_REQUIRED


@pytest.mark.parametrize(
    ("role", "line", "body"),
    [
        ("fallback-status-point", REPORT, "state-message"),
        # strongSwan's client; RFC 9110 §8.3: what has no type is taken for octets.
        ("policy-module", ENROL, "scep"),
        ("software-update-point", SCAN, ""),
        ("application-catalog-website-point", FORM, ""),
    ],
)
def test_some_bodies_may_come_without_a_content_type(
    decide_role: Callable[[str], Decide],
    request_head: Head,
    role: str,
    line: tuple[str, str],
    body: str,
) -> None:
    result = decide_role(role)(request_head(*line, "Content-Length: 30"))
    if body:
        assert allowed(result).body_rule.name == body
    else:
        assert denied(result).reason is Reason.MEDIA_TYPE
    # A field that says nothing is none of those.
    empty = decide_role(role)(request_head(*line, "Content-Type:", "Content-Length: 30"))
    assert denied(empty).reason is Reason.MEDIA_TYPE


@pytest.mark.parametrize(
    ("operation", "acts"),
    [
        ("GetCACaps", False),
        ("GetCACert&message=Contoso%20CA", False),
        ("PKIOperation&message=MIIB", True),
        ("pkioperation&message=MIIB%0Aabcd", True),
    ],
)
def test_an_enrolment_by_get_acts_and_is_not_for_sending_twice(
    decide_role: Callable[[str], Decide], request_head: Head, operation: str, acts: bool
) -> None:
    decide = decide_role("policy-module")
    for path in ("mscep.dll", "mscep.dll/pkiclient.exe"):
        target = f"/certsrv/mscep/{path}?operation={operation}"
        assert allowed(decide(request_head("GET", target))).acts is acts


def test_a_row_of_a_policy_does_not_make_an_enrolment_one_for_sending_twice(
    decide_as: Callable[[RoleProfile], Decide], table: RoleTable, request_head: Head
) -> None:
    anything = re.compile(".*", re.DOTALL)
    row = Resource(anything, anything, frozenset((b"GET",)), "")
    widened = table.roles["policy-module"].widened(
        Widening({}, frozenset(), (("certsrv", row),), None)
    )
    target = "/certsrv/mscep/mscep.dll?operation=PKIOperation&message=MIIB"
    assert allowed(decide_as(widened)(request_head("GET", target))).acts


LINES = "operation=PKIOperation&message=MIIB%0D%0Aabcd%0D%0A"


def test_the_lines_of_a_message_pass_where_a_message_is_read_and_nowhere_else(
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
    # A policy may publish a directory whose query may be anything else.
    anything = re.compile(".*", re.DOTALL)
    row = Resource(anything, anything, frozenset((b"GET",)), "")
    more = Widening({}, frozenset(), (("reports", row),), None)
    elsewhere = decide_as(table.roles["distribution-point"].widened(more))(
        request_head("GET", f"/Reports/x?{LINES}")
    )
    assert denied(posted).reason is Reason.VERB
    assert (denied(elsewhere).reason, denied(elsewhere).rule) == (
        Reason.TARGET_UNSAFE,
        "target.query",
    )


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


@pytest.mark.parametrize(
    ("target", "cites"),
    [
        ("/CCM_Client/ccmsetup.exe", "NO-CLIENT-DEPLOYMENT"),
        ("/CMUserService/x", "NO-USER-DEPLOYMENT"),
        ("/CMUserService_WindowsAuth", "NO-USER-DEPLOYMENT"),
        ("/EnrollmentServer/Discovery.svc", "BRIDGE-NOT-ENROLLED"),
        ("/bgb/handler.ashx?RequestType=LogIn", "BRIDGE-INSPECT"),
        ("/CMCertificateRegistration/x", "BRIDGE-INSPECT"),
    ],
)
@pytest.mark.parametrize("role", ["management-point", *OTHERS])
def test_a_directory_of_no_role_cites_why(
    decide_role: Callable[[str], Decide], request_head: Head, role: str, target: str, cites: str
) -> None:
    denial = denied(decide_role(role)(request_head("GET", target)))
    assert (denial.reason, requirement(denial)) == (Reason.DIRECTORY, cites)


@pytest.mark.parametrize(
    ("line", "role"),
    [
        ((*SCAN, XML, "Content-Length: 30"), "software-update-point"),
        ((*FORM, "Content-Type: application/json", "Content-Length: 3"), "application-catalog"),
    ],
)
def test_a_soap_action_is_sent_on_to_web_services_and_not_to_others(
    decide_role: Callable[[str], Decide], request_head: Head, line: tuple[str, ...], role: str
) -> None:
    role = next(name for name in OTHERS if name.startswith(role))
    assert allowed(decide_role(role)(request_head(*line, "SOAPAction: x"))).dropped == ()
    reported = request_head(*REPORT, "Content-Length: 30", "SOAPAction: x")
    assert allowed(decide_role("fallback-status-point")(reported)).dropped == ("SOAPAction",)


VECTOR = "MS-CV: QbCdEfGhIjKlMnOp.1.3.0"


def test_the_correlation_vector_of_an_update_agent_is_sent_on_to_its_role_and_to_no_other(
    decide_role: Callable[[str], Decide], decide_strictly: Decide, request_head: Head
) -> None:
    scan = request_head(*SCAN, XML, "Content-Length: 30", VECTOR)
    assert allowed(decide_role("software-update-point")(scan)).head == scan
    reported = request_head(*REPORT, "Content-Length: 30", VECTOR)
    assert allowed(decide_role("fallback-status-point")(reported)).dropped == ("MS-CV",)
    denial = denied(decide_strictly(request_head(*POLICY, VECTOR)))
    assert (denial.reason, requirement(denial)) == (Reason.HEADER, "HEADER-MP")


@pytest.mark.parametrize("depth", ["0", "1", "infinity", "Infinity", None])
def test_a_propfind_says_how_deep_it_goes_or_does_not(
    decide: Decide, request_head: Head, depth: str | None
) -> None:
    lines = () if depth is None else (f"Depth: {depth}",)
    assert allowed(decide(request_head(*LISTING, *lines))).head.values(b"depth") == (
        [depth.encode()] if depth else []
    )


@pytest.mark.parametrize(
    "lines",
    [
        ("Depth: 2",),
        ("Depth:",),
        ("Depth: 1,noroot",),
        ("Depth: 0, 1",),
        ("Depth: infinity", "depth: infinity"),
    ],
)
def test_a_propfind_of_another_depth_is_refused(
    decide: Decide, request_head: Head, lines: tuple[str, ...]
) -> None:
    denial = denied(decide(request_head(*LISTING, *lines)))
    assert (denial.reason, denial.rule) == (Reason.HEADER, "bodies.webdav.depths")
    assert requirement(denial) == "HEADER-DP"
