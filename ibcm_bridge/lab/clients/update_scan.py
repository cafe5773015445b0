"""The steps of Windows Update Agent: an update scan (CLIENT-UPDATES, SUP-WSUS).

It uses a separate connection and presents no certificate (protocol.md 8.2).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.clients.life_cycle import Check, Step, Update
from ibcm_bridge.lab.protocol import wsus
from ibcm_bridge.lab.protocol.client import Request, Response


def has_result(result: str) -> Check:
    """Check for a SOAP response that contains this element."""
    return lambda response: response.status == 200 and f"<{result}".encode() in response.body


def with_cookie(device: Device, response: Response) -> Device:
    """Use the cookie in a response (CookieData or EncryptedData)."""
    found = re.search(rb"<(CookieData|EncryptedData)>([^<]+)<", response.body)
    return replace(device, cookie=found[2].decode()) if found else device


def _cookie_step(
    name: str, request: Callable[[str], Request], result: str, update: Update = with_cookie
) -> Step:
    return Step(name, lambda device: request(device.cookie), has_result(result), update)


SCAN = (
    Step("configuration", lambda _: wsus.configuration(), has_result("GetConfigResult>")),
    Step(
        "authorization",
        lambda device: wsus.authorization(device.name),
        has_result("GetAuthorizationCookieResult>"),
        with_cookie,
    ),
    _cookie_step("cookie", wsus.first_cookie, "GetCookieResult>"),
    Step(
        "update registration",
        lambda device: wsus.registration(device.cookie, device.name),
        has_result("RegisterComputerResponse "),
    ),
    _cookie_step("update categories", wsus.synchronization, f"ID>{wsus.CATEGORY}<"),
    _cookie_step(
        "updates",
        lambda cookie: wsus.synchronization(cookie, wsus.CATEGORY),
        f"ID>{wsus.UPDATE}<",
    ),
    _cookie_step("update details", wsus.extended, "GetExtendedUpdateInfoResult>"),
    _cookie_step("file locations", wsus.file_locations, "FileDigest>"),
    _cookie_step("scan report", wsus.report, "ReportEventBatchResult>true"),
)
"""The scan with a software update point on the Internet (CLIENT-UPDATES, [MS-WUSP] 1.3)."""
