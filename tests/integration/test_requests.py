"""Request heads and framing, byte by byte: VERB-*, HEADER-*, HTTP-1.1, BRIDGE-IDENTITY."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.protocol import ccm, documents

if TYPE_CHECKING:
    from tests.integration.conftest import Lab

NAME = "bridge.internet.example"
MP_LIST = "/SMS_MP/.sms_aut?MPLIST"
CONTENT = "/SMS_DP_SMSPKG$/Content_00000000-0000-0000-0000-000000000007.1"
CLOSE = {"Connection": "close"}
MESSAGE = {"Content-Type": ccm.CONTENT_TYPE}
PROPFIND_XML = (
    b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop><getcontentlength/></prop></propfind>'
)
MP, DP = "management-point", "distribution-point"


@pytest.fixture(scope="module")
def strict_address() -> tuple[str, int]:
    return ("127.0.0.1", free_port())


@pytest.fixture(scope="module")
def change_policy(policy: dict[str, Any], strict_address: tuple[str, int]) -> None:
    """The same publication twice, on another port with `unlisted_headers: refuse`."""
    host, port = strict_address
    strict = {**policy["publications"][0], "listen": f"{host}:{port}", "unlisted_headers": "refuse"}
    policy["publications"].append(strict)


# Verbs

RESOURCES = {
    "/ccm_system/request": (MP, "VERB-MP", ["CCM_POST"]),
    MP_LIST: (MP, "VERB-MP", ["HEAD", "GET"]),
    "/SMS_MP/.sms_pol?{LAB00001}.1_00": (MP, "VERB-MP", ["HEAD", "GET"]),
    "/SMS_MP/": (MP, "VERB-MP", ["PROPFIND"]),
    "/CCM_Incoming/upload": (MP, "VERB-MP", ["BITS_POST"]),
    CONTENT: (DP, "VERB-DP", ["PROPFIND"]),
    f"{CONTENT}/sccm?/setup.exe": (DP, "VERB-DP", ["HEAD", "GET"]),
    "/SMS_DP_SMSSIG$/LAB00001.1.tar": (DP, "VERB-DP", ["HEAD", "GET"]),
}
ROLE_VERBS = {
    MP: ["HEAD", "CCM_POST", "BITS_POST", "GET", "PROPFIND"],
    DP: ["HEAD", "GET", "PROPFIND"],
}
BYTES = ["ccm_post", "Ccm_Post", "CCM-POST", "CCM_POST_", "get", "Get", "propfind", "bits_post"]
OTHERS = ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "LOCK", "MKCOL", "MOVE", "SEARCH"]
EVERY_VERB = [*ROLE_VERBS[MP], *BYTES, *OTHERS]


def body_for(lab: Lab, method: str) -> tuple[dict[str, str], bytes | None]:
    if method == "CCM_POST":
        return MESSAGE, lab.message()
    if method == "PROPFIND":
        return {"Content-Type": "text/xml", "Depth": "infinity", "Translate": "f"}, PROPFIND_XML
    return {}, None


@pytest.mark.parametrize(
    ("target", "method"),
    [
        (target, method)
        for target, (_, _, verbs) in RESOURCES.items()
        for method in verbs
        if method != "BITS_POST"
    ],
)
def test_each_listed_verb_arrives(lab: Lab, target: str, method: str) -> None:
    fields, body = body_for(lab, method)
    reply = lab.send_one(lab.request(method, target, CLOSE | fields, body))
    assert reply.status in (200, 207)
    received = lab.received()
    assert (received.method, received.target) == (method, target)
    record = lab.record()
    assert (record["verdict"], record["method"], record["target"]) == ("allow", method, target)
    role = RESOURCES[target][0]
    assert (record["role"], record["rule"]) == (role, f"{role}.verbs.{method}")


@pytest.mark.parametrize(
    ("target", "method"),
    [
        (target, method)
        for target, (_, _, verbs) in RESOURCES.items()
        for method in EVERY_VERB
        if method not in verbs
    ],
)
def test_every_other_verb_is_refused(lab: Lab, target: str, method: str) -> None:
    role, requirement, verbs = RESOURCES[target]
    directory = target.split("/")[1].lower()
    of_role = method in ROLE_VERBS[role]
    rule = f"{role}.directories.{directory}" if of_role else f"{role}.verbs"
    fields, body = body_for(lab, method)
    reply = lab.send_one(lab.request(method, target, lab.identification | fields, body))
    record = lab.check_refused(reply, Reason.VERB, rule, requirement)
    assert record["method"] == method
    allowed = verbs if of_role else ROLE_VERBS[role]
    assert sorted((reply.header("Allow") or "").split(", ")) == sorted(allowed)


def test_curl_posts_a_message(lab: Lab) -> None:
    body = lab.files / "message"
    body.write_bytes(lab.message())
    options = ("-X", "CCM_POST", "-H", f"Content-Type: {ccm.CONTENT_TYPE}")
    run = lab.curl(
        *options,
        "--data-binary",
        f"@{body}",
        target="/ccm_system/request",
        credential=lab.credentials.computer,
    )
    assert run.stdout.startswith(b"HTTP/1.1 200 OK\r\n")
    assert run.stdout.endswith(ccm.NO_REPLY)
    assert lab.received().body == body.read_bytes()
    assert lab.record()["verdict"] == "allow"


def test_curl_posts_it_in_lower_case_in_vain(lab: Lab) -> None:
    options = ("-X", "ccm_post", "-H", f"Content-Type: {ccm.CONTENT_TYPE}")
    run = lab.curl(
        *options,
        "--data-binary",
        "x",
        target="/ccm_system/request",
        credential=lab.credentials.computer,
    )
    (reply,) = lab.read_replies(run.stdout, ("POST",))
    lab.check_refused(reply, Reason.VERB, "management-point.verbs", "VERB-MP")


# Header fields

UNLISTED = {
    "X-Original-URL": "/SMS_MP_AltAuth/.sms_pol",
    "X-Rewrite-URL": "/SMS_MP_AltAuth/.sms_pol",
    "X-Forwarded-For": "10.0.0.1",
    "X-Forwarded-Host": "mp01.corp.example",
    "X-HTTP-Method-Override": "DELETE",
    "X-ARR-ClientCert": "bm90IGEgY2VydGlmaWNhdGU=",
    "X-SSL-Client-Cert": "bm90IGEgY2VydGlmaWNhdGU=",
    "Forwarded": "for=10.0.0.1",
    "Authorization": "Negotiate c2VjcmV0",
    "Proxy-Authorization": "Basic c2VjcmV0",
    "Cookie": "a=b",
    "Destination": "https://mp01.corp.example/x",
    "TE": "trailers",
    "Trailer": "X-Later",
    "Content-Encoding": "gzip",
    "CCMClientTimeStamp2": "x",
    "CCM_Client_ID": "x",
}


@pytest.mark.parametrize("name", UNLISTED)
def test_an_unlisted_field_does_not_arrive(lab: Lab, name: str) -> None:
    lab.secrets |= {UNLISTED["Authorization"], UNLISTED["Proxy-Authorization"]}
    fields = {**lab.identification, name: UNLISTED[name], "User-Agent": "ccmhttp"}
    assert lab.send_one(lab.request(fields=CLOSE | fields)).status == 200
    arrived = dict(lab.received().headers)
    assert arrived == {"Host": NAME, "User-Agent": "ccmhttp", **lab.identification}
    record = lab.record()
    assert (record["verdict"], record["dropped_headers"]) == ("allow", [name])


@pytest.mark.parametrize("name", UNLISTED)
def test_or_it_is_refused_where_the_policy_says_so(
    lab: Lab, strict_address: tuple[str, int], name: str
) -> None:
    lab.secrets |= {UNLISTED["Authorization"], UNLISTED["Proxy-Authorization"]}
    for target, role, requirement in (
        (MP_LIST, MP, "HEADER-MP"),
        (f"{CONTENT}/sccm?/x", DP, "HEADER-DP"),
    ):
        fields = lab.identification if role == MP else {}
        data = lab.request(target=target, fields={**fields, name: UNLISTED[name]})
        reply = lab.send_one(data, address=strict_address)
        record = lab.check_refused(reply, Reason.HEADER, f"{role}.headers", requirement)
        assert record["detail"] == f"{name} is not listed"
        lab.clear()


def test_what_is_listed_passes_where_the_policy_refuses_the_rest(
    lab: Lab, strict_address: tuple[str, int]
) -> None:
    fields = CLOSE | lab.identification | {"User-Agent": "ccmhttp", "Range": "bytes=0-3"}
    assert lab.send_one(lab.request(fields=fields), address=strict_address).status == 206
    assert lab.record()["verdict"] == "allow"
    assert lab.received().headers == (("Host", NAME), *list(fields.items())[1:])


def test_identification_is_for_management_points(lab: Lab) -> None:
    # HEADER-DP is Range alone: what proves who a client is stays away from distribution points.
    fields = CLOSE | lab.identification | {"Range": "bytes=0-9"}
    assert lab.send_one(lab.request(target=f"{CONTENT}/sccm?/x", fields=fields)).status == 206
    assert lab.received().headers == (("Host", NAME), ("Range", "bytes=0-9"))
    assert lab.record()["dropped_headers"] == list(lab.identification)


def test_names_keep_their_case_and_fields_their_order(lab: Lab) -> None:
    fields = [
        ("uSER-aGENT", "ccmhttp"),
        ("HOST", NAME),
        ("ccmclientTIMESTAMP", "2026-01-01T00:00:00Z"),
        ("Accept", "*/*"),
        ("X-Dropped", "x"),
        ("accept", "text/xml"),
        ("Connection", "close"),
        ("Pragma", "a  b\tc"),
        ("CCMClientID", "5EC2E700-0000-4000-8000-0000000000AA"),
    ]
    assert lab.send_one(lab.request(fields=fields)).status == 200
    dropped = ("X-Dropped", "Connection")
    assert lab.received().headers == tuple(one for one in fields if one[0] not in dropped)
    assert lab.record()["dropped_headers"] == ["X-Dropped"]


@pytest.mark.parametrize("option", ["Host", "CCMClientID", "close, CCMClientID", "Trailer"])
def test_connection_options_cannot_remove_fields(lab: Lab, option: str) -> None:
    reply = lab.send_one(lab.request(fields={"Connection": option, **lab.identification}))
    lab.check_refused(reply, Reason.HEADER, "head.connection", "HTTP-1.1")


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "TLS/1.2"])
def test_another_protocol_is_asked_of_nobody(lab: Lab, protocol: str) -> None:
    fields = [("Connection", "Upgrade, close, TE"), ("Upgrade", protocol), ("TE", "trailers")]
    reply = lab.send_one(lab.request(fields=fields))
    assert reply.status == 200
    assert reply.header("Upgrade") is None
    arrived = {name.lower() for name, _ in lab.received().headers}
    assert not arrived & {"connection", "upgrade", "te"}
    assert lab.record()["dropped_headers"] == ["Upgrade", "TE"]


# Bodies arrive as they were sent


@pytest.mark.parametrize("rows", [1, 32, 4000])
def test_a_body_arrives_byte_for_byte(lab: Lab, rows: int) -> None:
    body = lab.message(xml=documents.inventory_report("", rows))
    digest = hashlib.sha256(body).hexdigest()
    with lab.client() as client:
        assert lab.ccm_post(client, body).status == 200
    received = lab.received()
    assert len(received.body) == len(body)
    assert hashlib.sha256(received.body).hexdigest() == digest
    assert lab.record()["bytes_from_client"] == len(body)


def test_a_body_in_many_pieces_arrives_in_one_piece(lab: Lab) -> None:
    body = lab.message()
    data = lab.request("CCM_POST", "/ccm_system/request", CLOSE | MESSAGE, body)
    with lab.connect() as connection:
        for index in range(0, len(data), 97):
            connection.sendall(data[index : index + 97])
        (reply,) = lab.read_replies(lab.read_to_end(connection), ["CCM_POST"])
    assert (reply.status, reply.body) == (200, ccm.NO_REPLY)
    assert lab.received().body == body
    assert lab.record()["verdict"] == "allow"


@pytest.mark.parametrize("keep", [0, 1, -1])
def test_a_body_cut_short_goes_nowhere(lab: Lab, keep: int) -> None:
    body = lab.message()
    data = lab.request("CCM_POST", "/ccm_system/request", MESSAGE, body)
    with lab.connect() as connection:
        connection.sendall(data[: keep - len(body)] if keep >= 0 else data[:keep])
        connection.unwrap()
        lab.records()
    record = lab.record()
    lab.check_denied(record, Reason.BODY_INCOMPLETE, "exchange", "HTTP-1.1")
    assert record["note"] == "the client closed the connection"
    lab.check_nothing_arrived()


# Directories

BYPASS = [
    ("management-point", "/CCM_System_AltAuth/request"),
    ("management-point", "/ccm_system_altauth/request"),
    ("management-point", "/ccm_system_TokenAuth/request"),
    ("management-point", "/SMS_MP_AltAuth/.sms_pol?{LAB00001}.1_00"),
    ("management-point", "/SMS_MP_TokenAuth/.sms_aut?MPLIST"),
    ("management-point", "/CCM_STS"),
    ("management-point", "/ccm%5fsystem%5Faltauth/request"),
    ("distribution-point", "/NOCERT_SMS_DP_SMSPKG$/LAB00001"),
    ("distribution-point", "/nocert_sms_dp_smssig$/LAB00001.1.tar"),
    ("distribution-point", "/CCMTOKENAUTH_SMS_DP_SMSPKG$/LAB00001"),
    ("distribution-point", "/CCMTOKENAUTH_SMS_DP_SMSSIG%24/LAB00001.1.tar"),
]


@pytest.mark.parametrize("target", [target for _, target in BYPASS])
def test_directories_without_client_certificates_are_not_published(lab: Lab, target: str) -> None:
    reply = lab.send_one(lab.request(target=target, fields=lab.identification))
    lab.check_refused(
        reply, Reason.BYPASS_DIRECTORY, "roles.bypass_directories", "BRIDGE-AUTH-COMPUTER"
    )


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/?/SMS_MP/.sms_aut",
        "/ccm_system2/request",
        "/ccm_syste",
        "/xccm_system/request",
        "/SMS_MP2",
        "/SMS_DP_SMSPKG/LAB00001",
        "/SMS_DP_SMSPKG$x/LAB00001",
        "/ApiRemoting30/WebService.asmx",
        "/iisstart.htm",
    ],
)
def test_any_other_directory_is_not_published(lab: Lab, target: str) -> None:
    reply = lab.send_one(lab.request(target=target))
    lab.check_refused(reply, Reason.DIRECTORY, f"{NAME}.directories", "BRIDGE-INSPECT")


@pytest.mark.parametrize(
    ("target", "requirement"),
    [
        ("/CCM_Client/ccmsetup.exe", "NO-CLIENT-DEPLOYMENT"),
        ("/CMUserService_WindowsAuth", "NO-USER-DEPLOYMENT"),
        ("/EnrollmentServer/Discovery.svc", "BRIDGE-NOT-ENROLLED"),
    ],
)
def test_a_directory_that_is_never_of_a_role_cites_why(
    lab: Lab, target: str, requirement: str
) -> None:
    reply = lab.send_one(lab.request(target=target))
    lab.check_refused(reply, Reason.DIRECTORY, f"{NAME}.directories", requirement)


@pytest.mark.parametrize("directory", ["ccm_system_windowsauth", "SMS_MP_WindowsAuth"])
def test_what_needs_windows_authentication_cites_that_it_was_not_opted_into(
    lab: Lab, directory: str
) -> None:
    method, target = "GET", f"/{directory}/.sms_pol?x"
    if directory == "ccm_system_windowsauth":
        method, target = "CCM_POST", f"/{directory}/request"
    fields, body = body_for(lab, method)
    reply = lab.send_one(lab.request(method, target, fields, body))
    rule = f"management-point.directories.{directory.lower()}"
    lab.check_refused(reply, Reason.RESOURCE, rule, "NO-USER-DEPLOYMENT")


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        *(
            (target, "distribution-point.directories.sms_dp_smspkg$")
            for target in (
                "/SMS_DP_SMSPKG$",
                "/SMS_DP_SMSPKG$/",
                "/SMS_DP_SMSPKG$?/x",
                "/SMS_DP_SMSPKG$/SCCMContentLib",
            )
        ),
        *(
            (target, "roles.never_below")
            for target in (
                "/SMS_DP_SMSPKG$/Datalib",
                "/SMS_DP_SMSPKG$/datalib/LAB00001.1.INI",
                "/sms_dp_smspkg$/%44ATALIB/",
                "/SMS_DP_SMSPKG$/FileLib/ABCD/ABCDEF",
            )
        ),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PROPFIND"])
def test_what_a_distribution_point_holds_is_not_listed(
    lab: Lab, method: str, target: str, rule: str
) -> None:
    fields, body = body_for(lab, method)
    reply = lab.send_one(lab.request(method, target, fields, body))
    lab.check_refused(reply, Reason.RESOURCE, rule, "BRIDGE-INSPECT")


@pytest.mark.parametrize(
    "target",
    [
        "/ccm_system/../ccm_system_altauth/request",
        "/ccm_system/%2e%2e/ccm_system_altauth/request",
        "/ccm_system/..%2fccm_system_altauth/request",
        "/ccm_system/..%5Cccm_system_altauth/request",
        "/ccm_system/..\\ccm_system_altauth/request",
        "/SMS_MP/./.sms_aut",
        "//SMS_MP_AltAuth/.sms_aut",
        "/SMS_MP//.sms_aut",
        "/SMS_MP./.sms_aut",
        "/SMS_MP%20/.sms_aut",
        "/SMS_MP::$DATA/.sms_aut",
        "/SMS_MP;/SMS_MP_AltAuth/.sms_aut",
        "/SMS_MP/.sms_aut%00",
        "/SMS_MP/%2esms%5faut%0d%0aX:1",
        "/SMS_MP%255fAltAuth/.sms_aut",
        "/SMS_MP/%u002e%u002e/x",
        "/SMS_MP/%c0%ae%c0%ae/x",
        "/SMS_MP/%",
        "/SMS_M~1/.sms_aut",
        "/SMS_MP/.sms_aut#x",
        f"{CONTENT}/sccm?/../../../web.config",
        f"{CONTENT}/sccm?/dir/%2e%2e/%2e%2e/x",
        f"{CONTENT}/sccm?%2f..%2f..%2fx",
        f"{CONTENT}/sccm?../../x",
        f"{CONTENT}/sccm?/dir\\..\\x",
        f"{CONTENT}/sccm?/dir/%255c..%255cx",
        f"{CONTENT}/sccm?/C:/Windows/win.ini",
        f"{CONTENT}/sccm?C:/Windows/win.ini",
    ],
)
def test_a_target_that_can_be_read_in_two_ways_is_refused(lab: Lab, target: str) -> None:
    reply = lab.send_one(lab.request(target=target))
    record = lab.record()
    assert record["rule"].startswith("target.")
    lab.check_refused(reply, Reason.TARGET_UNSAFE, record["rule"], "BRIDGE-INSPECT")


@pytest.mark.parametrize(
    "target",
    [
        "/sms_mp/.sms_aut?MPLIST",
        "/SMS_MP/.sms_pol?{LAB00001}.1_00",
        "/SMS_MP/.sms_pol?%7BLAB00001%7D.1_00",
        "/SMS%5fMP/.sms_aut?MPLIST",
        f"{CONTENT}/sccm?/dir/setup.exe",
        f"{CONTENT}/sccm?/dir/a%20file%20(x64).msi",
        f"{CONTENT}/sccm?/Datalib/is-a-directory-of-this-package",
    ],
)
def test_and_the_ways_in_which_clients_do_write_targets_pass_unchanged(
    lab: Lab, target: str
) -> None:
    assert lab.send_one(lab.request(target=target, fields=CLOSE)).status == 200
    assert lab.received().target == target
    assert lab.record()["target"] == target


# Framing: what makes a front and the server behind it disagree

HOST = f"Host: {NAME}\r\n".encode()
GET = b"GET " + MP_LIST.encode() + b" HTTP/1.1\r\n"
POST = b"CCM_POST /ccm_system/request HTTP/1.1\r\n" + HOST
TYPE = f"Content-Type: {ccm.CONTENT_TYPE}\r\n".encode()
SMUGGLED = b"GET /SMS_MP_AltAuth/.sms_aut?MPLIST HTTP/1.1\r\n" + HOST + b"\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"

MALFORMED = {
    "folded": (GET + HOST + b"X-A: b\r\n c\r\n\r\n", Reason.MALFORMED_HEAD, "head.field-name"),
    "folded-with-a-tab": (
        GET + b"Host:\r\n\t" + NAME.encode() + b"\r\n\r\n",
        Reason.MALFORMED_HEAD,
        "head.field-name",
    ),
    "space-before-colon": (
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        Reason.MALFORMED_HEAD,
        "head.field-name",
    ),
    "no-colon": (GET + HOST + b"X-A\r\n\r\n", Reason.MALFORMED_HEAD, "head.field-name"),
    "empty-name": (GET + HOST + b": x\r\n\r\n", Reason.MALFORMED_HEAD, "head.field-name"),
    "bare-lf": (GET + HOST + b"X-A: b\nX-C: d\r\n\r\n", Reason.MALFORMED_HEAD, "head.line-end"),
    "all-bare-lf": (
        (GET + HOST + b"\r\n").replace(b"\r", b""),
        Reason.MALFORMED_HEAD,
        "head.line-end",
    ),
    "bare-cr": (GET + HOST + b"X-A: b\rX-C: d\r\n\r\n", Reason.MALFORMED_HEAD, "head.line-end"),
    "empty-line-first": (b"\r\n" + GET + HOST + b"\r\n", Reason.MALFORMED_HEAD, None),
    "nul": (GET + HOST + b"X-A: b\x00c\r\n\r\n", Reason.MALFORMED_HEAD, "head.field-value"),
    "two-spaces": (
        GET.replace(b"GET ", b"GET  ") + HOST + b"\r\n",
        Reason.MALFORMED_HEAD,
        "head.request-line",
    ),
    "tab": (
        GET.replace(b"GET ", b"GET\t") + HOST + b"\r\n",
        Reason.MALFORMED_HEAD,
        "head.request-line",
    ),
    "space-in-target": (
        b"GET /SMS_MP/.sms_aut?MPLIST x HTTP/1.1\r\n" + HOST + b"\r\n",
        Reason.MALFORMED_HEAD,
        "head.request-line",
    ),
    "leading-space": (b" " + GET + HOST + b"\r\n", Reason.MALFORMED_HEAD, "head.request-line"),
    "raw-target": (
        b"GET /SMS_MP/\xe9 HTTP/1.1\r\n" + HOST + b"\r\n",
        Reason.MALFORMED_HEAD,
        "head.target",
    ),
    "method-not-a-token": (
        b"GET/ /SMS_MP/x HTTP/1.1\r\n" + HOST + b"\r\n",
        Reason.MALFORMED_HEAD,
        "head.method",
    ),
    "http-0.9": (b"GET " + MP_LIST.encode() + b"\r\n\r\n", Reason.MALFORMED_HEAD, None),
    "http-lower-case": (
        GET.replace(b"HTTP", b"http") + HOST + b"\r\n",
        Reason.MALFORMED_HEAD,
        "head.version",
    ),
    "http-1.0": (GET.replace(b"1.1", b"1.0") + HOST + b"\r\n", Reason.HTTP_VERSION, "head.version"),
    "http-2-preface": (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        Reason.HTTP_VERSION,
        "head.version",
    ),
    "chunked": (POST + TYPE + CHUNKED, Reason.LENGTH_REQUIRED, "head.transfer-encoding"),
    "chunked-get": (GET + HOST + CHUNKED, Reason.LENGTH_REQUIRED, "head.transfer-encoding"),
    "identity": (
        POST + TYPE + b"Transfer-Encoding: identity\r\n\r\n",
        Reason.LENGTH_REQUIRED,
        "head.transfer-encoding",
    ),
    "no-length": (POST + TYPE + b"\r\n", Reason.LENGTH_REQUIRED, "head.content-length"),
    "length-and-chunked": (
        POST + TYPE + b"Content-Length: 5\r\n" + CHUNKED,
        Reason.FRAMING,
        "head.transfer-encoding",
    ),
    "chunked-and-length": (
        POST + b"Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        Reason.FRAMING,
        "head.transfer-encoding",
    ),
    "two-lengths": (
        POST + TYPE + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + SMUGGLED,
        Reason.FRAMING,
        "head.content-length",
    ),
    "two-equal-lengths": (
        POST + TYPE + b"Content-Length: 0\r\ncontent-length: 0\r\n\r\n",
        Reason.FRAMING,
        "head.content-length",
    ),
    "a-list-of-lengths": (
        POST + TYPE + b"Content-Length: 0, 0\r\n\r\n",
        Reason.FRAMING,
        "head.content-length",
    ),
}
MALFORMED |= {
    f"length-{text}": (
        POST + TYPE + f"Content-Length: {text}\r\n\r\n".encode(),
        Reason.FRAMING,
        "head.content-length",
    )
    for text in ("+5", "-1", "0x10", "05", "5.0", "", "99999999999999999999")
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_two_readers_could_read_differently_is_refused(lab: Lab, case: str) -> None:
    data, reason, rule = MALFORMED[case]
    reply = lab.send_one(data)
    lab.check_refused(reply, reason, rule or lab.record()["rule"], "HTTP-1.1")


def test_the_same_requests_written_properly_pass(lab: Lab) -> None:
    body = lab.message()
    head = POST + TYPE + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    data = GET + HOST + b"X-A: b c\r\n\r\n" + head + body
    replies = lab.send(data, "GET", "CCM_POST")
    assert [one.status for one in replies] == [200, 200]
    assert [one.method for one in lab.site.received()] == ["GET", "CCM_POST"]
    assert [one["verdict"] for one in lab.records(2)] == ["allow", "allow"]


# Sizes


@pytest.mark.parametrize(
    "head",
    [
        GET + HOST + b"User-Agent: " + b"x" * 70_000 + b"\r\n\r\n",
        GET + HOST + b"A: b\r\n" * 20_000 + b"\r\n",
        b"GET /SMS_MP/" + b"x" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"A" * 70_000,
    ],
    ids=["a-long-field", "many-fields", "a-long-target", "no-end"],
)
def test_a_head_that_is_too_large_is_refused(lab: Lab, head: bytes) -> None:
    reply = lab.send_one(head)
    lab.check_refused(reply, Reason.HEAD_TOO_LARGE, "limits.request_head", "HTTP-1.1")


def test_a_head_as_large_as_a_kerberos_ticket_makes_it_passes(lab: Lab) -> None:
    assert lab.send_one(lab.request(fields=CLOSE | {"User-Agent": "x" * 60_000})).status == 200
    assert lab.record()["verdict"] == "allow"


@pytest.mark.parametrize(
    ("method", "target", "size", "rule"),
    [
        ("CCM_POST", "/ccm_system/request", 4 * 1024 * 1024 + 1, "bodies.ccm-message.limit"),
        ("CCM_POST", "/ccm_system/request", 10**18, "bodies.ccm-message.limit"),
        ("PROPFIND", f"{CONTENT}", 65_537, "bodies.webdav.limit"),
        ("GET", MP_LIST, 1, "bodies.none.limit"),
        ("GET", MP_LIST, 10**18, "bodies.none.limit"),
        ("HEAD", MP_LIST, 10**12, "bodies.none.limit"),
    ],
)
def test_a_body_that_is_too_large_is_refused_without_reading_it(
    lab: Lab, method: str, target: str, size: int, rule: str
) -> None:
    # Not a byte of the body is sent, nor is one asked for.
    fields = {**MESSAGE, "Content-Length": str(size)}
    if method == "PROPFIND":
        fields["Content-Type"] = "text/xml"
    reply = lab.send_one(lab.request(method, target, fields))
    record = lab.check_refused(reply, Reason.BODY_TOO_LARGE, rule, "BRIDGE-INSPECT")
    assert record["bytes_from_client"] == 0


def test_a_fragment_that_is_too_large_is_refused_without_reading_it(lab: Lab) -> None:
    fields = {"BITS-Packet-Type": "Fragment", "Content-Length": str(4_194_305)}
    reply = lab.send_one(lab.request("BITS_POST", "/CCM_Incoming/x", fields))
    lab.check_refused(reply, Reason.BODY_TOO_LARGE, "bodies.bits-upload.limit")
    assert reply.status == 413  # BITS sends smaller ones


def test_a_client_still_sending_its_body_reads_why_it_was_refused(lab: Lab) -> None:
    fields = {**MESSAGE, "Content-Length": str(50_000_000)}
    head = lab.request("CCM_POST", "/ccm_system/request", fields)
    with lab.connect() as connection:
        connection.sendall(head + bytes(800_000))
        (reply,) = lab.read_replies(lab.read_to_end(connection), ["CCM_POST"])
    lab.check_refused(reply, Reason.BODY_TOO_LARGE, "bodies.ccm-message.limit")


# Expect


def test_a_body_that_is_allowed_is_asked_for(lab: Lab) -> None:
    body = lab.message()
    fields = {**CLOSE, **MESSAGE, "Expect": "100-continue", "Content-Length": str(len(body))}
    with lab.connect() as connection:
        connection.sendall(lab.request("CCM_POST", "/ccm_system/request", fields))
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        lab.check_nothing_arrived()
        connection.sendall(body)
        (reply,) = lab.read_replies(lab.read_to_end(connection), ["CCM_POST"])
    assert reply.status == 200
    received = lab.received()
    assert received.body == body
    assert "Expect" not in dict(received.headers)
    assert "dropped_headers" not in lab.record()


@pytest.mark.parametrize(
    ("target", "reason", "rule"),
    [
        ("/ccm_system_altauth/request", Reason.BYPASS_DIRECTORY, "roles.bypass_directories"),
        (MP_LIST, Reason.VERB, "management-point.directories.sms_mp"),
    ],
)
def test_a_body_that_is_not_allowed_is_not_asked_for(
    lab: Lab, target: str, reason: Reason, rule: str
) -> None:
    fields = {**MESSAGE, "Expect": "100-continue", "Content-Length": "1000"}
    reply = lab.send_one(lab.request("CCM_POST", target, fields))
    lab.check_refused(reply, reason, rule)


@pytest.mark.parametrize("value", ["200-ok", "100-continue, x", ""])
def test_no_other_expectation_is_met(lab: Lab, value: str) -> None:
    reply = lab.send_one(lab.request(fields={"Expect": value}))
    lab.check_refused(reply, Reason.EXPECTATION, "head.expect", "HTTP-1.1")


# Content types


@pytest.mark.parametrize(
    "content_type",
    ["application/octet-stream", "text/xml", "multipart/form-data; boundary=x", "", None],
)
def test_a_message_is_multipart_mixed(lab: Lab, content_type: str | None) -> None:
    fields = {} if content_type is None else {"Content-Type": content_type}
    reply = lab.send_one(lab.request("CCM_POST", "/ccm_system/request", fields, lab.message()))
    lab.check_refused(reply, Reason.MEDIA_TYPE, "bodies.ccm-message.media_types", "HTTP-MULTIPART")


def test_a_coded_body_is_refused(lab: Lab) -> None:
    fields = {**MESSAGE, "Content-Encoding": "gzip"}
    reply = lab.send_one(lab.request("CCM_POST", "/ccm_system/request", fields, lab.message()))
    lab.check_refused(reply, Reason.MEDIA_TYPE, "bodies.ccm-message.content-encoding")


# More than one request on a connection


def test_requests_share_a_connection(lab: Lab) -> None:
    with lab.client() as client:
        statuses = [
            client.request("GET", MP_LIST).status,
            lab.ccm_post(client).status,
            client.request("HEAD", f"{CONTENT}/sccm?/x").status,
            client.request("GET", MP_LIST).status,
        ]
    assert statuses == [200] * 4
    assert len(lab.records(4)) == len(lab.site.received()) == 4


def test_a_forbidden_request_on_a_warm_connection_goes_nowhere(lab: Lab) -> None:
    with lab.client() as client:
        assert client.request("GET", MP_LIST).status == 200
        reply = client.request("GET", "/SMS_MP_AltAuth/.sms_aut?MPLIST")
    allowed, denied = lab.records(2)
    assert allowed["verdict"] == "allow"
    lab.check_denied(denied, Reason.BYPASS_DIRECTORY, "roles.bypass_directories")
    assert lab.check_refusal(reply, Reason.BYPASS_DIRECTORY) == denied["reference"]
    assert lab.received().target == MP_LIST


def test_of_pipelined_requests_each_is_decided_on(lab: Lab) -> None:
    good, bad = lab.request(target=MP_LIST), lab.request("DELETE", MP_LIST)
    replies = lab.send(good + good + bad + good, "GET", "GET", "DELETE", "GET")
    assert [one.status for one in replies] == [200, 200, 405]
    first, second, denied = lab.records(3)
    assert (first["verdict"], second["verdict"]) == ("allow", "allow")
    lab.check_denied(denied, Reason.VERB, "management-point.verbs")
    assert lab.check_refusal(replies[2], Reason.VERB) == denied["reference"]
    # The connection ended there: what came after a refusal is not looked at.
    assert [one.method for one in lab.site.received()] == ["GET", "GET"]


def test_pipelined_requests_that_are_allowed_are_answered_in_order(lab: Lab) -> None:
    targets = [f"/SMS_MP/.sms_pol?{{LAB{number:05}}}.1_00" for number in range(20)]
    data = b"".join(lab.request(target=target) for target in targets)
    data += lab.request(target=MP_LIST, fields=CLOSE)
    replies = lab.send(data, *["GET"] * 21)
    for number, reply in enumerate(replies[:20]):
        assert f"LAB{number:05}".encode() in reply.body
    assert [one.target for one in lab.site.received()] == [*targets, MP_LIST]
    assert len(lab.records(21)) == 21


def test_a_request_after_the_closing_boundary_is_no_request(lab: Lab) -> None:
    body = lab.message() + SMUGGLED
    reply = lab.send_one(lab.request("CCM_POST", "/ccm_system/request", MESSAGE, body))
    lab.check_refused(reply, Reason.MULTIPART, "multipart.close", "HTTP-MULTIPART")


def test_a_request_in_the_body_of_a_get_is_no_request(lab: Lab) -> None:
    reply = lab.send_one(lab.request("GET", MP_LIST, {}, SMUGGLED))
    lab.check_refused(reply, Reason.BODY_TOO_LARGE, "bodies.none.limit", "BRIDGE-INSPECT")


def test_a_request_in_a_get_without_a_length_is_the_next_request(lab: Lab) -> None:
    replies = lab.send(lab.request(target=MP_LIST) + SMUGGLED, "GET", "GET")
    assert [one.status for one in replies] == [200, 404]
    lab.check_denied(lab.records(2)[1], Reason.BYPASS_DIRECTORY, "roles.bypass_directories")
    assert lab.received().target == MP_LIST
