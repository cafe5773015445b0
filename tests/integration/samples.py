"""Requests that several tests send."""

from __future__ import annotations

from ibcm_bridge.lab.protocol import ccm
from tests.integration.lab import Lab

NAME = "bridge.internet.example"
MP_LIST = "/SMS_MP/.sms_aut?MPLIST"
CONTENT = "/SMS_DP_SMSPKG$/Content_00000000-0000-0000-0000-000000000007.1"
CLOSE = {"Connection": "close"}
MESSAGE = {"Content-Type": ccm.CONTENT_TYPE}
PROPFIND_XML = (
    b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop><getcontentlength/></prop></propfind>'
)
MP, DP = "management-point", "distribution-point"


def body_for(lab: Lab, method: str) -> tuple[dict[str, str], bytes | None]:
    if method == "CCM_POST":
        return MESSAGE, lab.message()
    if method == "PROPFIND":
        return {"Content-Type": "text/xml", "Depth": "infinity", "Translate": "f"}, PROPFIND_XML
    return {}, None
