"""Messages to inspect."""

from __future__ import annotations

import zlib

from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.lab.protocol.client import Response
from tests.integration.lab import Lab

GUID = "5EC2E700-0000-4000-8000-0000000000AA"
REQUEST = "/ccm_system/request"
CONTENT = "/SMS_DP_SMSPKG$/Content_00000000-0000-0000-0000-000000000007.1"

# In parts, so that no file of this project is a test virus; only the running test has it whole.
EICAR = "".join(("X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"))


def post(lab: Lab, body: bytes, content_type: str = ccm.CONTENT_TYPE) -> Response:
    fields = {**lab.identification, "Connection": "close", "Content-Type": content_type}
    return lab.send_one(lab.request("CCM_POST", REQUEST, fields, body))


def report(content: str) -> str:
    return f"<Report><ReportBody>{content}</ReportBody></Report>"


def around(payload: bytes, length: int, hooks: str = ccm.ZLIB_HOOK, **frame: bytes) -> bytes:
    """A message with this payload, as it is."""
    return ccm.raw_message(ccm.message_header("MP_HinvEndpoint", length, hooks), payload, **frame)


def compressed(xml: str) -> tuple[bytes, int]:
    plain = xml.encode("utf-16-le") + b"\0\0"
    return zlib.compress(plain), len(plain)
