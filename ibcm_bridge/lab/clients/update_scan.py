"""Windows Update Agent's part of a client's life: a scan for updates (CLIENT-UPDATES, SUP-WSUS).

It has a connection of its own and shows no certificate (protocol.md 8.2).
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
    """A SOAP answer with this in it."""
    return lambda response: response.status == 200 and f"<{result}".encode() in response.body


def with_cookie(device: Device, response: Response) -> Device:
    """The one in an answer, whatever it is called there."""
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
        "registration for updates",
        lambda device: wsus.registration(device.cookie, device.name),
        has_result("RegisterComputerResponse "),
    ),
    _cookie_step("categories of updates", wsus.synchronization, f"ID>{wsus.CATEGORY}<"),
    _cookie_step(
        "updates",
        lambda cookie: wsus.synchronization(cookie, wsus.CATEGORY),
        f"ID>{wsus.UPDATE}<",
    ),
    _cookie_step("more of an update", wsus.extended, "GetExtendedUpdateInfoResult>"),
    _cookie_step("where its files are", wsus.file_locations, "FileDigest>"),
    _cookie_step("report of the scan", wsus.report, "ReportEventBatchResult>true"),
)
"""Of a client whose software update point is on the Internet (CLIENT-UPDATES, [MS-WUSP] 1.3)."""
