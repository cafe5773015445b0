"""The responses of the simulated site systems by role."""

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

# Messages


def test_a_report_must_be_signed_with_the_registered_key(lab: Lab) -> None:
    key, other = lab.computer.key, lab.revoked.key
    assert isinstance(key, RSAPrivateKey)
    assert isinstance(other, RSAPrivateKey)
    request = registration_request(lab.computer.certificate, key, fqdn="pc1.corp.example")
    with lab.client(credential=lab.computer) as client:
        message = ccm.ccm_post_body(
            endpoint="MP_ClientRegistration", body_xml=request, client_guid="", key=key
        )
        _, document = ccm.parse_reply(ccm_post(client, message).body)
        guid = (document or "").partition('SMSID="')[2].partition('"')[0]
        assert guid.startswith("GUID:")

        report = inventory_report(guid)
        for signing_key, expected in ((key, ccm.NO_REPLY), (other, b"")):
            message = ccm.ccm_post_body(
                endpoint="MP_HinvEndpoint", body_xml=report, client_guid=guid, key=signing_key
            )
            response = ccm_post(client, message)
            assert (response.status, response.body) == (200, expected)


def test_a_registration_signed_with_another_key_gets_an_empty_reply(lab: Lab) -> None:
    other = lab.revoked.key
    assert isinstance(other, RSAPrivateKey)
    request = registration_request(lab.computer.certificate, other, fqdn="pc1.corp.example")
    message = ccm.ccm_post_body(endpoint="MP_ClientRegistration", body_xml=request, client_guid="")
    with lab.client(credential=lab.computer) as client:
        assert ccm_post(client, message).body == b""


def test_a_malformed_message_gets_an_empty_reply(lab: Lab) -> None:
    with lab.client(credential=lab.computer) as client:
        response = ccm_post(client, b"nonsense")
    assert (response.status, response.body) == (200, b"")


def test_the_management_point_serves_lists_and_policies(lab: Lab) -> None:
    with lab.client(credential=lab.computer) as client:
        mp_list = client.request("GET", MP_LIST)
        policy = client.request("GET", "/SMS_MP/.sms_pol?{LAB00001}.1_00")
    assert mp_list.header("Content-Type") == policy.header("Content-Type") == "text/xml"
    assert mp_list.body.startswith(b"<MPList ")
    assert policy.body.startswith(b"<Policy ")


# Other roles

TICKET = {"Authorization": "Negotiate bGFi"}


@pytest.mark.parametrize(
    ("name", "method", "target", "headers", "status", "content"),
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
def test_other_roles_respond_without_a_certificate(
    lab: Lab,
    name: str,
    method: str,
    target: str,
    headers: dict[str, str],
    status: int,
    content: bytes,
) -> None:
    with lab.client(name) as client:
        response = client.request(method, target, headers, b"" if method == "POST" else None)
    assert response.status == status
    assert content in response.body
    challenges = [value for name, value in response.headers if name.lower() == "www-authenticate"]
    assert challenges == (["Negotiate", "NTLM"] if status == 401 else [])
    (received,) = lab.site.received()
    assert STAND_INS[received.site_system].names[0] == name


def test_only_one_directory_requires_windows_authentication(lab: Lab) -> None:
    with lab.client(credential=lab.computer) as client:
        target = "/SMS_MP_WindowsAuth/.sms_pol?{LAB}.1_00"
        assert client.request("GET", target).status == 401
        assert client.request("GET", target, TICKET).status == 200


def test_ndes_returns_the_certification_path_and_its_own_certificate(lab: Lab) -> None:
    with lab.client(NDES) as client:
        response = client.request("GET", "/certsrv/mscep/mscep.dll?operation=GetCACert")
    assert response.header("Content-Type") == "application/x-x509-ca-ra-cert"
    certificates = set(pkcs7.load_der_pkcs7_certificates(response.body))
    assert certificates > {lab.pki.issuing, lab.pki.root}
    (own,) = certificates - {lab.pki.issuing, lab.pki.root}
    own.verify_directly_issued_by(lab.pki.issuing)


@pytest.mark.parametrize("path", ["mscep.dll", "mscep.dll/pkiclient.exe"])
@pytest.mark.parametrize("width", [0, 64])
def test_ndes_accepts_a_message_by_post_and_in_a_query(lab: Lab, path: str, width: int) -> None:
    """The message has an unknown type, which gets a signed refusal."""
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
        queried = client.request("GET", f"{target}&message={quote(encoded)}")
        posted = client.request("POST", target, (), message)
    for response in (queried, posted):
        assert response.status == 200
        assert response.header("Content-Type") == "application/x-pki-message"
        refused = cms.read_signed(response.body)
        assert refused.attribute(scep.FAIL_INFO, cms.PRINTABLE) == scep.BAD_REQUEST.encode()


def test_the_enrollment_proxy_point_requires_a_certificate_in_the_handshake(lab: Lab) -> None:
    target = "/EnrollmentServer/Discovery.svc"
    with lab.client(ENROLLMENT) as client, pytest.raises(HandshakeRefused) as refusal:
        client.request("POST", target, (), b"")
    assert refusal.value.alert == "certificate required"
    assert lab.site.received() == ()
    with lab.client(ENROLLMENT, lab.computer) as client:
        assert client.request("POST", target, (), b"").status == 200


def test_the_fallback_status_point_accepts_plain_http(lab: Lab) -> None:
    data = b"POST /SMS_FSP/.sms_fsp HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
    data += b"Connection: close\r\n\r\nok"
    response = plaintext_request(lab.site.addresses["fallback-status-point"], data)
    assert response.startswith(b"HTTP/1.1 200 OK\r\n")
    (received,) = lab.site.received()
    assert (received.site_system, received.body) == ("fallback-status-point", b"ok")
    assert received.certificate_subject is None
    assert lab.site.handshakes() == ()


def test_no_client_trusts_the_impostor(lab: Lab) -> None:
    address = lab.site.addresses["impostor"]
    with (
        LabClient(address, MP, trust=lab.pki.root, credential=lab.computer) as client,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        client.request("GET", MP_LIST)
    with LabClient(address, MP, trust=lab.pki.foreign_root, credential=None) as client:
        assert client.request("GET", MP_LIST).status == 200


def test_each_role_has_a_simulated_site_system_with_a_separate_port(lab: Lab) -> None:
    roles = shipped_roles()
    others = {"management-point-of-users", "impostor"}
    assert STAND_INS.keys() - others == roles.modes.keys()
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
