"""Windows Update Agent's part of a client's life: a scan for updates (CLIENT-UPDATES, SUP-WSUS).

It has a connection of its own and shows no certificate (protocol.md 8.2).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.clients.life_cycle import Good, Learns, Step
from ibcm_bridge.lab.protocol import updates
from ibcm_bridge.lab.protocol.client import Reply, Request


def called(result: str) -> Good:
    """A SOAP answer with this in it."""
    return lambda reply: reply.status == 200 and f"<{result}".encode() in reply.body


def its_cookie(device: Device, reply: Reply) -> Device:
    """The one in an answer, whatever it is called there."""
    found = re.search(rb"<(CookieData|EncryptedData)>([^<]+)<", reply.body)
    return replace(device, cookie=found[2].decode()) if found else device


def _with_cookie(
    name: str, request: Callable[[str], Request], result: str, learns: Learns = its_cookie
) -> Step:
    return Step(name, lambda device: request(device.cookie), called(result), learns)


SCAN = (
    Step("configuration", lambda _: updates.configuration(), called("GetConfigResult>")),
    Step(
        "authorization",
        lambda device: updates.authorization(device.name),
        called("GetAuthorizationCookieResult>"),
        its_cookie,
    ),
    _with_cookie("cookie", updates.first_cookie, "GetCookieResult>"),
    Step(
        "registration for updates",
        lambda device: updates.registration(device.cookie, device.name),
        called("RegisterComputerResponse "),
    ),
    _with_cookie("categories of updates", updates.synchronization, f"ID>{updates.CATEGORY}<"),
    _with_cookie(
        "updates",
        lambda cookie: updates.synchronization(cookie, updates.CATEGORY),
        f"ID>{updates.UPDATE}<",
    ),
    _with_cookie("more of an update", updates.extended, "GetExtendedUpdateInfoResult>"),
    _with_cookie("where its files are", updates.file_locations, "FileDigest>"),
    _with_cookie("report of the scan", updates.report, "ReportEventBatchResult>true"),
)
"""Of a client whose software update point is on the Internet (CLIENT-UPDATES, [MS-WUSP] 1.3)."""
