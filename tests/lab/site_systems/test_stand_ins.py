"""What the stand-ins of each role respond with."""

from __future__ import annotations

import base64
import ssl
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import pkcs7

from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.lab.protocol.client import (
    HandshakeRefused,
    LabClient,
    plaintext_request,
)
from ibcm_bridge.lab.protocol.documents import inventory_report, registration_request
from ibcm_bridge.lab.site_systems import cms, scep
from ibcm_bridge.lab.site_systems.stand_ins import STAND_INS, ClientAuthentication
from ibcm_bridge.policy.roles import Mode
from ibcm_bridge.policy_file import shipped_roles
from tests.lab.site_systems.running import (
    CATALOG,
    DP,
    ENROLLMENT,
    MP,
    MP_LIST,
    NDES,
    SUP,
    Lab,
    ccm_post,
)


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


def test_the_management_point_tells_who_it_is_and_what_the_policy_is(lab: Lab) -> None:
    with lab.client(credential=lab.computer) as client:
        mp_list = client.request("GET", MP_LIST)
        policy = client.request("GET", "/SMS_MP/.sms_pol?{LAB00001}.1_00")
    assert mp_list.header("Content-Type") == policy.header("Content-Type") == "text/xml"
    assert mp_list.body.startswith(b"<MPList ")
    assert policy.body.startswith(b"<Policy ")


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
    attributes = {
        kind: cms.element(cms.PRINTABLE, value.encode()) for kind, value in fields.items()
    }
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
    assert len({stand_in.port for stand_in in STAND_INS.values()}) == len(STAND_INS)
    for role, stand_in in STAND_INS.items():
        plaintext = Mode.PLAINTEXT in roles.modes.get(role, ())
        assert (stand_in.client_authentication is ClientAuthentication.PLAINTEXT) == plaintext


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
