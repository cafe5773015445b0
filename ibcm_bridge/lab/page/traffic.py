"""Renders an audit record as a line of live traffic.

A record does not know its case. Its `reference` links the line with the verdict of a case, which
the page shows instead of the word as soon as it is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.cases.policy import TUNNEL_NAMES
from ibcm_bridge.lab.comparison.outcomes import proxy_saw


def traffic_line(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the line; refused connections to a tunneled name belong to the tunnel's column."""
    tunneled = record.get("event") == "tunnel" or record.get("server_name") in TUNNEL_NAMES
    status = record.get("status") or record.get("tls_alert") or ""
    return {
        "path": "tunnel" if tunneled else "bridge",
        "reference": record.get("reference", ""),
        "time": str(record.get("time", ""))[11:19],
        "word": _word(record),
        "status": str(status).replace("_", " "),
        "text": proxy_saw(dict(record)),
    }


def _word(record: Mapping[str, Any]) -> str:
    if record.get("verdict") == "allow":
        return "TUNNELED" if record.get("event") == "tunnel" else "PASSED"
    if record.get("reason") == Reason.SITE_SYSTEM_UNREACHABLE:
        return "NOT DELIVERED"
    return "RESPONSE REFUSED" if record.get("forwarded") else "REFUSED"
