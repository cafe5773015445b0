"""What a site system has beside what is published: the lab's answers all of it, the bridge none.

Each target is sent twice, past the bridge and through it, so that a refusal here is the bridge's
and not that of a stand-in which has nothing there (BRIDGE-AUTH-COMPUTER, BRIDGE-INSPECT, SUP-WSUS,
NO-CLIENT-DEPLOYMENT, NO-USER-DEPLOYMENT).
"""

from __future__ import annotations

from typing import Any

import pytest

from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.protocol.client import LabClient
from ibcm_bridge.lab.site_systems.published import BRIDGED, TLS_PORT, UPDATE_PORT
from ibcm_bridge.lab.site_systems.stand_ins import STAND_INS
from tests.integration.lab import Lab

NDES_PORT = free_port()
CONTENT = "Content_00000000-0000-0000-0000-000000000007.1"
POLICY = ".sms_pol?LAB20000-LAB00002-6F6BCC28.1_00"

SIBLINGS = {
    "management-point": {
        "/ccm_system_AltAuth/request": ("CCM_POST", "BRIDGE-AUTH-COMPUTER"),
        "/ccm_system_TokenAuth/request": ("CCM_POST", "BRIDGE-AUTH-COMPUTER"),
        f"/SMS_MP_AltAuth/{POLICY}": ("GET", "BRIDGE-AUTH-COMPUTER"),
        f"/SMS_MP_TokenAuth/{POLICY}": ("GET", "BRIDGE-AUTH-COMPUTER"),
        "/SMS_MP_AltAuth/.sms_aut?MPKEYINFORMATIONMEDIA": ("GET", "BRIDGE-AUTH-COMPUTER"),
        "/CCM_STS/": ("GET", "BRIDGE-AUTH-COMPUTER"),
        "/CCM_Client/ccmsetup.exe": ("GET", "NO-CLIENT-DEPLOYMENT"),
        "/CMUserService/": ("GET", "NO-USER-DEPLOYMENT"),
        "/bgb/handler.ashx?RequestType=LogIn": ("GET", "BRIDGE-INSPECT"),
    },
    "distribution-point": {
        f"/NOCERT_SMS_DP_SMSPKG$/{CONTENT}/sccm?/setup.exe": ("GET", "BRIDGE-AUTH-COMPUTER"),
        f"/CCMTOKENAUTH_SMS_DP_SMSPKG$/{CONTENT}/sccm?/setup.exe": ("GET", "BRIDGE-AUTH-COMPUTER"),
        "/NOCERT_SMS_DP_SMSSIG$/LAB00001.1.tar": ("GET", "BRIDGE-AUTH-COMPUTER"),
        "/CCMTOKENAUTH_SMS_DP_SMSSIG$/LAB00001.1.tar": ("GET", "BRIDGE-AUTH-COMPUTER"),
        "/SMS_DP_SMSPKG$/Datalib": ("GET", "BRIDGE-INSPECT"),
        "/SMS_DP_SMSPKG$/FileLib/ABCD/ABCDEF": ("GET", "BRIDGE-INSPECT"),
    },
    "software-update-point": {
        "/ApiRemoting30/WebService.asmx": ("POST", "SUP-WSUS"),
        "/ServerSyncWebService/ServerSyncWebService.asmx": ("POST", "SUP-WSUS"),
        "/DssAuthWebService/DssAuthWebService.asmx": ("POST", "SUP-WSUS"),
        "/Inventory/": ("GET", "SUP-WSUS"),
        "/Content/AB/ABCDEF.exe": ("GET", "SUP-WSUS"),
    },
    "policy-module": {
        "/certsrv/mscep_admin/": ("GET", "BRIDGE-INSPECT"),
        "/CMCertificateRegistration/": ("GET", "BRIDGE-INSPECT"),
    },
}
PORTS = {
    "management-point": TLS_PORT,
    "distribution-point": TLS_PORT,
    "software-update-point": UPDATE_PORT,
}


@pytest.fixture(scope="module")
def change_policy(policy: dict[str, Any]) -> None:
    (bridge, *_) = policy["publications"]
    more = {
        "listen": f"127.0.0.1:{NDES_PORT}",
        "clients": {},
        "roles": {
            "policy-module": {
                "site_system": "https://ndes01.corp.example",
                "connect": "127.0.0.1:9448",
            }
        },
    }
    policy["publications"].append({**bridge, **more})


@pytest.mark.parametrize(
    ("role", "target"), [(role, target) for role, targets in SIBLINGS.items() for target in targets]
)
def test_sibling_directories_open_in_the_lab_are_refused_by_the_bridge(
    lab: Lab, role: str, target: str
) -> None:
    method, requirement = SIBLINGS[role][target]
    body = b"x" if method != "GET" else None
    past_it = LabClient(
        lab.site.addresses[role],
        STAND_INS[role].names[0],
        trust=lab.pki.root,
        credential=lab.credentials.computer,
    )
    with past_it:
        assert past_it.request(method, target, (), body).status == 200
    lab.clear()
    port = PORTS.get(role)
    address = lab.bridge.addresses[port] if port else ("127.0.0.1", NDES_PORT)
    with lab.client(name=BRIDGED, address=address) as through_it:
        assert through_it.request(method, target, (), body).status == 404
    record = lab.record()
    assert (record["verdict"], record["requirement"]) == ("deny", requirement)
    lab.check_nothing_arrived()
