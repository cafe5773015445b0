"""Renders an audit record as a line of live traffic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ibcm_bridge.lab.cases.policy import TUNNEL_NAMES
from ibcm_bridge.lab.comparison.outcomes import proxy_saw


def traffic_line(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the line; refused connections to a tunneled name belong to the tunnel's column."""
    tunneled = record.get("event") == "tunnel" or record.get("server_name") in TUNNEL_NAMES
    status = record.get("status") or record.get("tls_alert") or ""
    return {
        "path": "tunnel" if tunneled else "bridge",
        "time": str(record.get("time", ""))[11:19],
        "verdict": record.get("verdict", ""),
        "status": str(status).replace("_", " "),
        "text": proxy_saw(dict(record)),
    }
