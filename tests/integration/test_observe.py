"""A pilot: a request that only `observe` forwards, from the wire to the line that allows it."""

from __future__ import annotations

import http.cookiejar
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from prometheus_client.parser import text_string_to_metric_families

from ibcm_bridge.decisions.observing import NOTICE
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.lab.site_systems.published import BRIDGED
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.credentials import Credentials
from tests.integration.faults import SOON, FaultyBridge
from tests.integration.reading import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a reload by a signal")

REASON = "the pilot of this test"
ENDPOINT, ROOT = "MP_LocationManager", "UpdateSFRequest"
GUID = "0a1b2c3d-0000-4000-8000-00000000000f"
LINE = f'extra_messages: [{{endpoint: "{ENDPOINT}", root: "{ROOT}", because: ...}}]'


@pytest.fixture
def bridge(
    tmp_path: Path, pki: LabPki, site_systems: SiteSystems, credentials: Credentials
) -> Iterator[FaultyBridge]:
    publications = yaml.safe_load(shipped_policy())["publications"]
    publications[0]["observe"] = {"because": REASON}
    bridge = FaultyBridge(
        tmp_path, pki, site_systems, options=("--web", "0"), publications=publications
    )
    site_systems.clear()
    with bridge:
        yield bridge
        assert bridge.stop() == 0
    assert "Traceback" not in "".join(bridge.lines)


def change(bridge: FaultyBridge, how: Callable[[dict[str, Any]], None]) -> None:
    """Change the first publication, and reload."""
    policy = yaml.safe_load(bridge.policy_file.read_text("utf-8"))
    how(policy["publications"][0])
    bridge.policy_file.write_text(yaml.safe_dump(policy), "utf-8")
    done = sum("reload done" in line for line in bridge.lines)
    os.kill(bridge.pid, signal.SIGHUP)
    until(lambda: sum("reload done" in line for line in bridge.lines) > done, "the reload", SOON)


def send(bridge: FaultyBridge, credentials: Credentials) -> int:
    """Send a message that no table has, and return the status."""
    key = credentials.computer.key
    assert isinstance(key, RSAPrivateKey)
    xml = f"<{ROOT}/>"
    body = ccm.ccm_post_body(endpoint=ENDPOINT, body_xml=xml, client_guid=GUID, key=key)
    fields = {"Content-Type": ccm.CONTENT_TYPE}
    with bridge.client(credentials.computer) as client:
        return client.request("CCM_POST", "/ccm_system/request", fields, body).status


def observed_requests(bridge: FaultyBridge) -> dict[str, float]:
    """Reason -> the number of observed requests, by the metrics."""
    families = text_string_to_metric_families(bridge.get("/metrics")[1])
    return {
        sample.labels["reason"]: sample.value
        for family in families
        for sample in family.samples
        if sample.name == "ibcm_requests_total" and sample.labels["verdict"] == "observed"
    }


def summary(bridge: FaultyBridge, *options: str) -> str:
    command = [sys.executable, "-P", "-m", "ibcm_bridge", "audit", "summary", *options]
    return subprocess.run(
        [*command, str(bridge.audit_file)], capture_output=True, text=True, check=True, timeout=SOON
    ).stdout


def judged_again(bridge: FaultyBridge) -> tuple[int, str]:
    """Judge the audit by the policy file: the exit status, and the output."""
    command = [sys.executable, "-P", "-m", "ibcm_bridge", "explain"]
    files = ["--config", str(bridge.policy_file), "--audit", str(bridge.audit_file)]
    done = subprocess.run(
        [*command, *files], capture_output=True, text=True, check=False, timeout=SOON
    )
    return done.returncode, done.stdout


def test_an_observed_request_shows_the_line_of_policy_that_allows_it(
    bridge: FaultyBridge, credentials: Credentials, site_systems: SiteSystems
) -> None:
    assert send(bridge, credentials) == 200
    (received,) = site_systems.received()
    assert (received.method, received.target) == ("CCM_POST", "/ccm_system/request")
    (record,) = bridge.wait_for_records(1)
    assert (record["verdict"], record["status"]) == ("observed", 200)
    # Refused by name, and not listed.
    found = record["would_refuse"]
    assert [(each["reason"], each["allowed_by"]) for each in found] == [("message", LINE)] * 2
    assert observed_requests(bridge) == {"message": 1}
    text = summary(bridge)
    assert re.search(r"^requests +0 +0 +1$", text, re.MULTILINE)
    assert f"          allowed by: {LINE}\n" in text
    rows = json.loads(summary(bridge, "--json"))["observed"]
    assert [(row["observed"], row["allowed_by"]) for row in rows] == [(1, LINE)] * 2

    # Without `observe` it is refused.
    change(bridge, lambda publication: publication.pop("observe"))
    assert send(bridge, credentials) == 403
    status, text = judged_again(bridge)
    assert status == 1
    assert "WOULD BE REFUSED" in text
    assert "          then: deny message, by endpoints.refused\n" in text
    # The line is YAML of the role, and only lacks a reason.
    line = yaml.safe_load(rows[0]["allowed_by"].replace("...", json.dumps(REASON)))
    change(bridge, lambda publication: publication["roles"]["management-point"].update(line))
    assert send(bridge, credentials) == 200
    verdicts = [each["verdict"] for each in bridge.wait_for_records(3)]
    assert verdicts == ["observed", "deny", "allow"]
    status, text = judged_again(bridge)
    assert status == 0, text
    assert "WOULD BE REFUSED" not in text
    assert observed_requests(bridge) == {"message": 1}


def test_the_log_and_the_page_say_in_capitals_that_refusals_are_only_recorded(
    bridge: FaultyBridge,
) -> None:
    said = "".join(bridge.lines)
    assert f"{NOTICE}, because: {REASON}" in said
    address = until(lambda: re.findall(r"traffic is shown on (\S+)", "".join(bridge.lines)), "it")[
        0
    ]
    jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    browser = urllib.request.build_opener(jar)

    def page() -> str:
        with browser.open(address, timeout=SOON) as response:
            text: str = response.read().decode()
        assert "mitmproxy" in text
        return text

    assert f'<div id="notice">{NOTICE} ({BRIDGED})</div>' in page()
    change(bridge, lambda publication: publication.pop("observe"))
    assert "OBSERVE:" not in page()
