"""A record of the audit -> one line of the page's traffic, in the column it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ibcm_bridge.lab.cases.policy import TUNNEL_NAMES
from ibcm_bridge.lab.comparison.outcomes import saw


def traffic_line(record: Mapping[str, Any]) -> dict[str, Any]:
    """What passed or was refused; a tunnel's column has what was meant for a tunnel."""
    tunneled = record.get("event") == "tunnel" or record.get("server_name") in TUNNEL_NAMES
    status = record.get("status") or record.get("tls_alert") or ""
    return {
        "way": "tunnel" if tunneled else "bridge",
        "time": str(record.get("time", ""))[11:19],
        "verdict": record.get("verdict", ""),
        "status": str(status).replace("_", " "),
        "text": saw(dict(record)),
    }
