"""The lab around a bridge: its PKI, a client, the site systems and the shipped policy."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.pki.files import shipped_policy, with_ports
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import BridgePublication, TunnelPublication
from ibcm_bridge.policy_file import load_policy

BRIDGED, TUNNELED = "bridge.internet.example", "mp-tunnel.internet.example"
GUID = "00000000-0000-0000-0000-00000000000a"
GOOD = ("GET", "/SMS_MP/.sms_aut?MPLIST")
DENIED = ("DELETE", "/SMS_MP/.sms_aut?MPLIST")
FROM_DP = ("GET", "/SMS_DP_SMSPKG$/LAB00001/sccm?/setup.exe")


@dataclasses.dataclass
class Lab:
    """The PKI, client and site systems around the bridge, for the whole session."""

    pki: LabPki
    computer: LabCredential
    site: SiteSystems
    policy: Policy


def write_policy(directory: Path, site: SiteSystems) -> Policy:
    """The shipped policy's first listener, on a free port and in front of these site systems."""
    ports = {8443: 0, 9443: site.management_point.port, 9444: site.distribution_point.port}
    text = with_ports(shipped_policy(), ports)
    path = directory / "bridge.yaml"
    path.write_text(text.replace("../audit.jsonl", "audit.jsonl"), "utf-8")
    policy = load_policy(path)
    return dataclasses.replace(policy, listeners=policy.listeners[:1])


def changed(policy: Policy, audit_file: Path, **changes: Any) -> Policy:
    """Return the policy with a changed bridged publication."""
    listener = policy.listeners[0]
    publications = dict(listener.publications)
    publications[BRIDGED] = dataclasses.replace(bridged_publication(policy), **changes)
    changed_listener = dataclasses.replace(listener, publications=publications)
    return dataclasses.replace(policy, audit_file=audit_file, listeners=(changed_listener,))


def bridged_publication(policy: Policy) -> BridgePublication:
    """Return the bridged publication of the lab."""
    publication = policy.listeners[0].publications[BRIDGED]
    assert isinstance(publication, BridgePublication)
    return publication


def message() -> dict[str, Any]:
    """Headers and body of a CCM_POST to /ccm_system/request."""
    body = ccm.ccm_post_body(
        endpoint="MP_HinvEndpoint", body_xml=documents.inventory_report(GUID), client_guid=GUID
    )
    return {"headers": {"Content-Type": ccm.CONTENT_TYPE}, "body": body}


def tunnel_publication(lab: Lab) -> TunnelPublication:
    """Return the publication that tunnels to the management point."""
    publication = lab.policy.listeners[0].publications[TUNNELED]
    assert isinstance(publication, TunnelPublication)
    return publication
