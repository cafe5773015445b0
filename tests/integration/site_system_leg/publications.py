"""Publications with one management point each, told apart by their port."""

from __future__ import annotations

from typing import Any

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.protocol.client import Response
from tests.integration.lab import Lab

NAME = "bridge.internet.example"
MP_NAME = "mp01.corp.example"
MP_LIST = "/SMS_MP/.sms_aut?MPLIST"
FILE = "/SMS_DP_SMSPKG$/Content_00000000-0000-0000-0000-000000000007.1/sccm?/setup.exe"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SLOW_SECONDS = 1.0

# Publications are told apart by their port: `raw` has a raw management point and the stand-in as
# distribution point; `down` has site systems that nobody listens for; `good` has both stand-ins.
PORTS = {name: free_port() for name in ("raw", "down", "good")}
DOWN = ("127.0.0.1", free_port())


def address(name: str) -> tuple[str, int]:
    return ("127.0.0.1", PORTS[name])


def check_refused(
    lab: Lab,
    reply: Response,
    reason: Reason,
    rule: str = "site_system",
    requirement: str = "BRIDGE-TERMINATE",
) -> dict[str, Any]:
    """A refusal that says nothing of what is inside."""
    record = lab.check_refused(reply, reason, rule, requirement)
    assert reply.status == (504 if reason is Reason.SITE_SYSTEM_SLOW else 502)
    said = f"{reply.headers} {reply.body!r}".lower()
    for inside in ("corp.example", "127.0.0.1", "mitmproxy", str(DOWN[1]), "openssl", "errno"):
        assert inside not in said
    assert reply.header("Server") is None
    # What the client is not told, the operator is.
    assert "mitmproxy" not in record["detail"]
    assert (record["role"], record["site_system"]) == ("management-point", "mp01.corp.example")
    return record
