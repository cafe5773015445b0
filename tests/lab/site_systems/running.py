"""The running site systems, and clients that connect to them."""

from __future__ import annotations

import ssl
from typing import NamedTuple

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.lab.protocol.client import (
    LabClient,
    Response,
)
from ibcm_bridge.lab.protocol.content import CHUNK
from ibcm_bridge.lab.site_systems.site_systems import Address, SiteSystems
from ibcm_bridge.lab.site_systems.stand_ins import STAND_INS

MP, DP = "mp01.corp.example", "dp01.corp.example"

SUP, NDES = "sup01.corp.example", "ndes01.corp.example"

CATALOG, ENROLLMENT = "catalog01.corp.example", "enroll01.corp.example"

FILE = "/SMS_DP_SMSPKG$/Content_00000000-0000-0000-0000-000000000007.1/sccm?/dir/setup.exe"

MP_LIST = "/SMS_MP/.sms_aut?MPLIST"

SIZE = 3 * CHUNK + 12345


class Lab(NamedTuple):
    pki: LabPki
    computer: LabCredential
    revoked: LabCredential
    site: SiteSystems

    def client(
        self,
        name: str = MP,
        credential: LabCredential | None = None,
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
        named = (role for role, stand_in in STAND_INS.items() if stand_in.names[0] == name)
        return self.site.addresses[next(named, "management-point")]


def ccm_post(client: LabClient, body: bytes, directory: str = "ccm_system") -> Response:
    headers = {"User-Agent": "ccmhttp", "Content-Type": ccm.CONTENT_TYPE}
    return client.request("CCM_POST", f"/{directory}/request", headers, body)
