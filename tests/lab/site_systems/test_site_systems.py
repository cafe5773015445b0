"""The stand-ins, seen by the lab's client and by curl."""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import Credential
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.lab.protocol.client import (
    ConnectionEnded,
    HandshakeRefused,
    LabClient,
    Reply,
    plaintext_request,
)
from ibcm_bridge.lab.protocol.content import CHUNK, NAMED, content
from ibcm_bridge.lab.protocol.documents import inventory_report, registration_request
from ibcm_bridge.lab.site_systems import cms, scep
from ibcm_bridge.lab.site_systems.records import Handshake
from ibcm_bridge.lab.site_systems.site_systems import Address, SiteSystems
from ibcm_bridge.lab.site_systems.stand_ins import STAND_INS, Demand
from ibcm_bridge.policy.roles import Mode
from ibcm_bridge.policy_file import shipped_roles

MP, DP = "mp01.corp.example", "dp01.corp.example"
SUP, NDES = "sup01.corp.example", "ndes01.corp.example"
CATALOG, ENROLLMENT = "catalog01.corp.example", "enroll01.corp.example"
FILE = "/SMS_DP_SMSPKG$/Content_00000000-0000-0000-0000-000000000007.1/sccm?/dir/setup.exe"
MP_LIST = "/SMS_MP/.sms_aut?MPLIST"
SIZE = 3 * CHUNK + 12345


class Lab(NamedTuple):
    pki: LabPki
    computer: Credential
    revoked: Credential
    site: SiteSystems

    def client(
        self,
        name: str = MP,
        credential: Credential | None = None,
        maximum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ) -> LabClient:
        return LabClient(
            self.address(name),
            name,
            trust=self.pki.root,
            credential=credential,
            maximum_version=maximum_version,
        )

    def address(self, name: str) -> Address:
        named = (role for role, one in STAND_INS.items() if one.names[0] == name)
        return self.site.addresses[next(named, "management-point")]


@pytest.fixture(scope="module")
def running_lab() -> Iterator[Lab]:
    pki = LabPki.make(now=datetime.now(UTC))
    computer = pki.computer("pc1.corp.example")
    revoked = pki.revoked_computer("pc2.corp.example")
    with SiteSystems(pki, download_bytes=SIZE) as site:
        yield Lab(pki, computer, revoked, site)


@pytest.fixture
def lab(running_lab: Lab) -> Lab:
    running_lab.site.clear()
    return running_lab


def ccm_post(client: LabClient, body: bytes, directory: str = "ccm_system") -> Reply:
    headers = {"User-Agent": "ccmhttp", "Content-Type": ccm.CONTENT_TYPE}
    return client.request("CCM_POST", f"/{directory}/request", headers, body)


# messages


def test_a_client_registers_and_then_signs_with_the_registered_key(lab: Lab) -> None:
    key, other = lab.computer.key, lab.revoked.key
    assert isinstance(key, RSAPrivateKey)
    assert isinstance(other, RSAPrivateKey)
    request = registration_request(lab.computer.certificate, key, fqdn="pc1.corp.example")
    with lab.client(credential=lab.computer) as client:
        message = ccm.ccm_post_body(
            endpoint="MP_ClientRegistration", body_xml=request, client_guid="", key=key
        )
        _, response = ccm.parse_reply(ccm_post(client, message).body)
        guid = (response or "").partition('SMSID="')[2].partition('"')[0]
        assert guid.startswith("GUID:")

        report = inventory_report(guid)
        for signing_key, answer in ((key, ccm.NO_REPLY), (other, b"")):
            message = ccm.ccm_post_body(
                endpoint="MP_HinvEndpoint", body_xml=report, client_guid=guid, key=signing_key
            )
            reply = ccm_post(client, message)
            assert (reply.status, reply.body) == (200, answer)


def test_a_registration_signed_with_another_key_gets_an_empty_answer(lab: Lab) -> None:
    other = lab.revoked.key
    assert isinstance(other, RSAPrivateKey)
    request = registration_request(lab.computer.certificate, other, fqdn="pc1.corp.example")
    message = ccm.ccm_post_body(endpoint="MP_ClientRegistration", body_xml=request, client_guid="")
    with lab.client(credential=lab.computer) as client:
        assert ccm_post(client, message).body == b""


def test_a_malformed_message_is_answered_with_200_and_nothing(lab: Lab) -> None:
    with lab.client(credential=lab.computer) as client:
        reply = ccm_post(client, b"nonsense")
    assert (reply.status, reply.body) == (200, b"")


def test_what_was_sent_is_recorded_as_it_was_sent(lab: Lab) -> None:
    fields = [("Host", MP), ("user-AGENT", "ccmhttp"), ("X-Twice", "1"), ("X-Twice", "2")]
    with lab.client(credential=lab.computer) as client:
        client.request("CCM_POST", "/CCM_System/request", fields, b"abc")
    (received,) = lab.site.received()
    assert received.site_system == "management-point"
    assert (received.method, received.target) == ("CCM_POST", "/CCM_System/request")
    assert received.headers == (*fields, ("Content-Length", "3"))
    assert received.body == b"abc"
    subject = lab.computer.certificate.subject.rfc4514_string()
    assert received.certificate_subject == subject
    assert received.certificate_sha256 == lab.computer.certificate.fingerprint(SHA256()).hex()
    assert (received.status, received.user) == (200, "")
    assert (received.size, received.sha256) == (3, hashlib.sha256(b"abc").hexdigest())
    assert abs(datetime.now(UTC) - received.time) < timedelta(minutes=1)


def test_of_a_large_body_the_first_mebibyte_is_recorded(lab: Lab) -> None:
    with lab.client(credential=lab.computer) as client:
        assert client.request("PUT", "/ccm_system/x", (), b"y" * 3_000_000).status == 200
    (received,) = lab.site.received()
    assert (len(received.body), received.size) == (1024 * 1024, 3_000_000)


def test_requests_on_one_connection_share_a_peer_port_and_a_handshake(lab: Lab) -> None:
    with lab.client(credential=lab.computer) as client:
        client.request("GET", MP_LIST)
        client.request("HEAD", MP_LIST)
    with lab.client(credential=lab.computer) as client:
        client.request("GET", MP_LIST)
    first, second, third = (one.peer_port for one in lab.site.received())
    assert first == second != third
    assert lab.site.handshakes() == (Handshake("management-point", MP),) * 2


def test_the_management_point_tells_who_it_is_and_what_the_policy_is(lab: Lab) -> None:
    with lab.client(credential=lab.computer) as client:
        mp_list = client.request("GET", MP_LIST)
        policy = client.request("GET", "/SMS_MP/.sms_pol?{LAB00001}.1_00")
    assert mp_list.header("Content-Type") == policy.header("Content-Type") == "text/xml"
    assert mp_list.body.startswith(b"<MPList ")
    assert policy.body.startswith(b"<Policy ")


# certificates


@pytest.mark.parametrize(
    ("name", "target"),
    [(MP, MP_LIST), (MP, "/ccm_system/request"), (DP, FILE), (DP, "/SMS_DP_SMSPKG$/Datalib")],
)
def test_without_a_certificate_a_protected_directory_answers_403(
    lab: Lab, name: str, target: str
) -> None:
    with lab.client(name) as client:
        reply = client.request("GET", target)
    assert (reply.status, reply.body) == (403, b"Client certificate required")
    assert lab.site.received()[0].certificate_subject is None


@pytest.mark.parametrize(
    ("name", "method", "target"),
    [
        (MP, "CCM_POST", "/ccm_system_AltAuth/request"),
        (MP, "CCM_POST", "/ccm_system_tokenauth/request"),
        (MP, "CCM_POST", "/ccm_system/../ccm_system_altauth/request"),
        (MP, "CCM_POST", "/ccm_system%5Faltauth/request"),
        (MP, "GET", "/SMS_MP_AltAuth/.sms_pol?{LAB}.1_00"),
        (MP, "DELETE", "/SMS_MP_AltAuth/"),
        (DP, "GET", "/NOCERT_SMS_DP_SMSPKG$/Content_7.1/sccm?/setup.exe"),
        (DP, "GET", "/NOCERT_SMS_DP_SMSPKG$/Datalib"),
        (DP, "GET", "/CCMTOKENAUTH_SMS_DP_SMSPKG$/FileLib/ABCD/ABCDEF"),
    ],
)
def test_the_dangerous_siblings_answer_without_a_certificate(
    lab: Lab, name: str, method: str, target: str
) -> None:
    with lab.client(name) as client:
        assert client.request(method, target).status == 200
    assert lab.site.received()[0].target == target


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("wrong", ["revoked", "expired"])
def test_a_certificate_that_is_not_good_any_more_is_403_as_in_iis(
    lab: Lab, version: ssl.TLSVersion, wrong: str
) -> None:
    credential = lab.revoked if wrong == "revoked" else lab.pki.expired_computer("pc3.corp.example")
    with lab.client(credential=credential, maximum_version=version) as client:
        reply = client.request("GET", MP_LIST)
        assert (reply.status, wrong.encode() in reply.body) == (403, True)
        assert client.request("GET", "/SMS_MP_AltAuth/.sms_aut?MPLIST").status == 200


def test_where_there_are_no_directories_a_revoked_certificate_fails_the_handshake(
    lab: Lab,
) -> None:
    with lab.client(ENROLLMENT, lab.revoked) as client, pytest.raises(HandshakeRefused) as refusal:
        client.request("POST", "/EnrollmentServer/Discovery.svc", (), b"")
    assert refusal.value.alert == "certificate revoked"
    assert lab.site.received() == ()
    assert lab.site.handshakes() == (Handshake("enrollment-proxy-point", ENROLLMENT),)


def test_certificates_of_others_or_for_other_purposes_fail_the_handshake(lab: Lab) -> None:
    strangers = {
        "unknown ca": lab.pki.foreign_computer("pc1.corp.example"),
        "unsupported certificate": lab.pki.wrong_purpose("pc1.corp.example"),
    }
    for alert, credential in strangers.items():
        with (
            lab.client(credential=credential) as client,
            pytest.raises(HandshakeRefused) as refusal,
        ):
            client.request("GET", MP_LIST)
        assert refusal.value.alert == alert


def test_a_certificate_without_a_purpose_gets_403(lab: Lab) -> None:
    with lab.client(credential=lab.pki.without_purpose("pc1.corp.example")) as client:
        assert client.request("GET", MP_LIST).status == 403


def test_both_names_of_a_site_system_are_in_its_certificate(lab: Lab) -> None:
    for name in ("mp-tunnel.internet.example", MP):
        with lab.client(name, lab.computer) as client:
            assert client.request("GET", MP_LIST).status == 200
    with lab.client("other.internet.example") as client, pytest.raises(ssl.SSLError):
        client.connect()


# the other roles

TICKET = {"Authorization": "Negotiate bGFi"}


@pytest.mark.parametrize(
    ("name", "method", "target", "headers", "status", "said"),
    [
        (SUP, "POST", "/ReportingWebService/ReportingWebService.asmx",
         {"SOAPAction": '"x/GetRollupConfiguration"'}, 200, b"<GetRollupConfigurationResponse"),
        (SUP, "POST", "/ApiRemoting30/WebService.asmx", {}, 200, b"soap:Envelope"),
        (SUP, "POST", "/ServerSyncWebService/ServerSyncWebService.asmx", {}, 200, b"soap:Envelope"),
        (SUP, "POST", "/DssAuthWebService/DssAuthWebService.asmx", {}, 200, b"soap:Envelope"),
        (SUP, "GET", "/Inventory/", {}, 200, b"inventory"),
        (SUP, "GET", "/ClientWebService/wusserverversion.xml", {}, 200, b"<?xml"),
        (SUP, "GET", "/ReportingWebService/wusserverversion.xml", {}, 404, b""),
        (SUP, "GET", "/nothing", {}, 404, b""),
        (NDES, "GET", "/certsrv/mscep/mscep.dll?operation=GetCACaps", {}, 200, b"SHA-256"),
        (NDES, "GET", "/certsrv/mscep/mscep.dll/pkiclient.exe?operation=GetCACaps&message=a%20b",
         {}, 200, b"SHA-256"),
        (NDES, "GET", "/certsrv/mscep/mscep.dll?operation=PKIOperation&message=MIAA", {}, 500, b""),
        (NDES, "GET", "/certsrv/mscep/mscep.dll/other.exe?operation=GetCACaps", {}, 404, b""),
        (NDES, "POST", "/certsrv/mscep/mscep.dll?operation=PKIOperation", {}, 500, b""),
        (NDES, "GET", "/certsrv/mscep_admin/", {}, 200, b"password"),
        (NDES, "GET", "/CMCertificateRegistration/", {}, 200, b"registration point"),
        (NDES, "GET", "/certsrv/mscep/mscep.dll?operation=x", {}, 404, b""),
        (CATALOG, "GET", "/CMApplicationCatalog/", {}, 401, b""),
        (CATALOG, "GET", "/CMApplicationCatalog/", TICKET, 200, b"Application Catalog"),
        (CATALOG, "DELETE", "/CMApplicationCatalog/", TICKET, 200, b""),
        (MP, "GET", "/CCM_Client/ccmsetup.exe", {}, 200, b"setup"),
        (MP, "GET", "/CCM_STS/", {}, 200, b"token"),
    ],
)  # fmt: skip
def test_other_roles_answer_clients_without_a_certificate(
    lab: Lab, name: str, method: str, target: str, headers: dict[str, str], status: int, said: bytes
) -> None:
    with lab.client(name) as client:
        reply = client.request(method, target, headers, b"" if method == "POST" else None)
    assert reply.status == status
    assert said in reply.body
    asked = [value for name, value in reply.headers if name.lower() == "www-authenticate"]
    assert asked == (["Negotiate", "NTLM"] if status == 401 else [])
    (received,) = lab.site.received()
    assert STAND_INS[received.site_system].names[0] == name


def test_windows_authentication_is_a_matter_of_its_own_directory(lab: Lab) -> None:
    with lab.client(credential=lab.computer) as client:
        target = "/SMS_MP_WindowsAuth/.sms_pol?{LAB}.1_00"
        assert client.request("GET", target).status == 401
        assert client.request("GET", target, TICKET).status == 200


def test_ndes_has_the_path_of_the_authority_and_one_to_encrypt_for(lab: Lab) -> None:
    with lab.client(NDES) as client:
        reply = client.request("GET", "/certsrv/mscep/mscep.dll?operation=GetCACert")
    assert reply.header("Content-Type") == "application/x-x509-ca-ra-cert"
    certificates = set(pkcs7.load_der_pkcs7_certificates(reply.body))
    assert certificates > {lab.pki.issuing, lab.pki.root}
    (own,) = certificates - {lab.pki.issuing, lab.pki.root}
    own.verify_directly_issued_by(lab.pki.issuing)


@pytest.mark.parametrize("path", ["mscep.dll", "mscep.dll/pkiclient.exe"])
@pytest.mark.parametrize("width", [0, 64])
def test_ndes_takes_a_message_by_post_and_in_a_query_in_lines_or_not(
    lab: Lab, path: str, width: int
) -> None:
    """The message is one that it answers by a refusal: it is of no known type."""
    fields = {scep.MESSAGE_TYPE: "x", scep.TRANSACTION_ID: "1"}
    attributes = {kind: cms.element(cms.PRINTABLE, one.encode()) for kind, one in fields.items()}
    attributes[scep.SENDER_NONCE] = cms.element(cms.OCTETS, b"x")
    message = scep.signed(b"x", attributes, lab.computer)
    encoded = base64.b64encode(message).decode()
    if width:
        encoded = "\r\n".join(encoded[at : at + width] for at in range(0, len(encoded), width))
    target = f"/certsrv/mscep/{path}?operation=PKIOperation"
    with lab.client(NDES) as client:
        asked = client.request("GET", f"{target}&message={quote(encoded)}")
        posted = client.request("POST", target, (), message)
    for reply in (asked, posted):
        assert reply.status == 200
        assert reply.header("Content-Type") == "application/x-pki-message"
        refused = cms.read_signed(reply.body)
        assert refused.attribute(scep.FAIL_INFO, cms.PRINTABLE) == scep.BAD_REQUEST.encode()


def test_an_enrollment_proxy_point_demands_a_certificate_in_the_handshake(lab: Lab) -> None:
    target = "/EnrollmentServer/Discovery.svc"
    with lab.client(ENROLLMENT) as client, pytest.raises(HandshakeRefused) as refusal:
        client.request("POST", target, (), b"")
    assert refusal.value.alert == "certificate required"
    assert lab.site.received() == ()
    with lab.client(ENROLLMENT, lab.computer) as client:
        assert client.request("POST", target, (), b"").status == 200


def test_a_fallback_status_point_takes_plain_http(lab: Lab) -> None:
    data = b"POST /SMS_FSP/.sms_fsp HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
    data += b"Connection: close\r\n\r\nok"
    answer = plaintext_request(lab.site.addresses["fallback-status-point"], data)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    (received,) = lab.site.received()
    assert (received.site_system, received.body) == ("fallback-status-point", b"ok")
    assert received.certificate_subject is None
    assert lab.site.handshakes() == ()


def test_an_impostor_is_believed_by_no_client(lab: Lab) -> None:
    address = lab.site.addresses["impostor"]
    with (
        LabClient(address, MP, trust=lab.pki.root, credential=lab.computer) as client,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        client.request("GET", MP_LIST)
    with LabClient(address, MP, trust=lab.pki.foreign_root, credential=None) as client:
        assert client.request("GET", MP_LIST).status == 200


def test_every_role_has_a_stand_in_and_a_port_of_its_own(lab: Lab) -> None:
    roles = shipped_roles()
    assert STAND_INS.keys() - {"impostor"} == roles.modes.keys()
    assert len({one.port for one in STAND_INS.values()}) == len(STAND_INS)
    for role, one in STAND_INS.items():
        plaintext = Mode.PLAINTEXT in roles.modes.get(role, ())
        assert (one.demand is Demand.PLAINTEXT) == plaintext


# downloads


def test_a_download_is_what_content_says(lab: Lab) -> None:
    with lab.client(DP, lab.computer) as client:
        head = client.request("HEAD", FILE)
        reply, digest, length = client.download(FILE)
    whole = content(0, SIZE)
    assert (head.header("Content-Length"), head.body) == (str(SIZE), b"")
    assert (reply.status, length) == (200, SIZE)
    assert digest == hashlib.sha256(whole).hexdigest()
    assert reply.header("ETag") == head.header("ETag")


def test_content_is_the_same_however_it_is_cut() -> None:
    whole = content(0, 2 * CHUNK + 100)
    assert content(CHUNK - 5, CHUNK + 5) == whole[CHUNK - 5 : CHUNK + 5]
    assert b"".join(content(at, at + 1) for at in range(100)) == whole[:100]
    assert whole[:CHUNK] != whole[CHUNK : 2 * CHUNK]


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=262140-262150", 262140, 262151),
        ("bytes=700000-", 700000, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
        (f"bytes=5-{SIZE * 2}", 5, SIZE),
    ],
)
def test_a_range_is_answered_with_that_part(lab: Lab, asked: str, start: int, stop: int) -> None:
    with lab.client(DP, lab.computer) as client:
        reply = client.request("GET", FILE, {"Range": asked})
    assert reply.status == 206
    assert reply.header("Content-Range") == f"bytes {start}-{stop - 1}/{SIZE}"
    assert reply.header("Content-Length") == str(stop - start)
    assert reply.body == content(start, stop)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Range": f"bytes={SIZE}-"}, 416),
        ({"Range": "bytes=0-1", "If-Range": '"another"'}, 200),
        ({"Range": f"bytes={SIZE}-,{SIZE}-"}, 416),
        ({"Range": "bytes=0-1,-"}, 200),
        ({"Range": "lines=0-1"}, 200),
        ({"Range": "0-1"}, 200),
        ({"Range": "bytes=" + ",".join(["0-1"] * 501)}, 200),
    ],
)
def test_a_range_that_cannot_be_had_is_not_206(
    lab: Lab, headers: dict[str, str], status: int
) -> None:
    with lab.client(DP, lab.computer) as client:
        assert client.request("GET", FILE, headers).status == status


def test_several_ranges_are_several_parts(lab: Lab) -> None:
    with lab.client(DP, lab.computer) as client:
        reply = client.request("GET", FILE, {"Range": f"bytes=0-1, 262140-262150,{SIZE}-,-3"})
    assert reply.status == 206
    assert reply.header("Content-Type") == "multipart/byteranges; boundary=lab-part"
    assert reply.header("Content-Range") is None
    head = b"--lab-part\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes "
    assert (
        reply.body
        == b"".join(
            head + f"{start}-{stop - 1}/{SIZE}\r\n\r\n".encode() + content(start, stop) + b"\r\n"
            for start, stop in ((0, 2), (262140, 262151), (SIZE - 3, SIZE))
        )
        + b"--lab-part--\r\n"
    )


def test_a_range_means_nothing_to_head(lab: Lab) -> None:
    with lab.client(DP, lab.computer) as client:
        reply = client.request("HEAD", FILE, {"Range": "bytes=0-1"})
    assert (reply.status, reply.header("Content-Length")) == (200, str(SIZE))


@pytest.mark.parametrize("name", NAMED)
def test_a_file_of_any_name_is_found_by_that_name(lab: Lab, name: str) -> None:
    base = FILE.partition("?")[0]
    with lab.client(DP, lab.computer) as client:
        reply = client.request("GET", f"{base}?/{quote(name)}")
        other = client.request("GET", f"{base}?/{quote(name.upper())}")
        part = client.request("GET", f"{base}?/{quote(name)}", {"Range": "bytes=0-2"})
        twice = client.request("HEAD", f"{base}?/{quote(quote(name))}")
    assert (reply.status, reply.body.decode()) == (200, name)
    assert other.body == reply.body, "without case"
    assert (part.status, part.body) == (206, reply.body[:3])
    # As in IIS: decoded once.
    assert (twice.header("Content-Length") == str(SIZE)) == (quote(name) != name)


def test_propfind_lists_the_file_with_its_size(lab: Lab) -> None:
    target = FILE.partition("/sccm")[0]
    with lab.client(DP, lab.computer) as client:
        reply = client.request("PROPFIND", target, {"Depth": "infinity"}, b"<propfind/>")
    assert reply.status == 207
    assert f"<D:getcontentlength>{SIZE}</D:getcontentlength>".encode() in reply.body
    assert f"<D:href>https://{DP}".encode() in reply.body, "the name that was asked for"


@pytest.mark.parametrize(
    ("name", "method", "target", "status"),
    [
        (MP, "GET", "/nothing", 404),
        (MP, "BITS_POST", "/CCM_Incoming/x.msg", 500),
        (MP, "PUT", "/anything", 200),
        (MP, "x-verb", "/anything", 200),
        (DP, "GET", "/SMS_DP_SMSSIG$/LAB00001.1.tar", 200),
        (DP, "GET", "/SMS_DP_SMSPKG$/Datalib", 200),
        (DP, "DELETE", "/SMS_DP_SMSPKG$/Datalib", 200),
        (DP, "GET", "/SMS_DP_SMSPKG$", 404),
    ],
)
def test_other_requests(lab: Lab, name: str, method: str, target: str, status: int) -> None:
    with lab.client(name, lab.computer) as client:
        assert client.request(method, target).status == status
    assert lab.site.received()[0].method == method


# the client


def test_plaintext_to_a_tls_port_gets_no_answer(lab: Lab) -> None:
    data = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    assert not plaintext_request(lab.site.management_point, data).startswith(b"HTTP/")
    assert lab.site.received() == ()


def test_a_connection_that_the_other_side_ended_is_not_used_again(lab: Lab) -> None:
    with lab.client(credential=lab.computer) as client:
        assert client.request("GET", MP_LIST, {"Connection": "close"}).status == 200
        with pytest.raises(ConnectionEnded):
            client.request("GET", MP_LIST)


def test_a_server_that_hangs_up_during_the_handshake_refuses_it(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            listener.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with (
            LabClient(listener.getsockname(), MP, trust=lab.pki.root, credential=None) as client,
            pytest.raises(HandshakeRefused) as refusal,
        ):
            client.connect()
        thread.join()
    assert refusal.value.alert is None


def test_stopping_ends_open_connections_and_the_thread(lab: Lab) -> None:
    before = set(threading.enumerate())
    with SiteSystems(lab.pki) as site:
        client = LabClient(site.management_point, MP, trust=lab.pki.root, credential=lab.computer)
        client.request("GET", MP_LIST)
    with client, pytest.raises(ConnectionEnded):
        client.request("GET", MP_LIST)
    assert set(threading.enumerate()) == before
    assert len(site.received()) == 1


@pytest.mark.needs("curl")
def test_curl_downloads_a_range_with_its_certificate(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_bytes(lab.pki.root.public_bytes(Encoding.PEM))
    (tmp_path / "pc1.pem").write_bytes(lab.computer.chain_pem() + lab.computer.key_pem())
    port = lab.site.distribution_point.port
    command: list[str | Path] = ["curl", "--silent", "--http1.1", "--noproxy", "*"]
    command += ["--cacert", tmp_path / "root.pem", "--cert", tmp_path / "pc1.pem"]
    command += ["--resolve", f"{DP}:{port}:127.0.0.1", "--range", "100-400000"]
    command += ["--output", tmp_path / "part", f"https://{DP}:{port}{FILE}"]
    subprocess.run(command, check=True, timeout=20)
    assert (tmp_path / "part").read_bytes() == content(100, 400_001)
