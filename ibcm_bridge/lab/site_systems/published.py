"""Where the lab publishes what: names and ports."""

from __future__ import annotations

SHIPPED = TLS_PORT, UPDATE_PORT, PLAINTEXT_PORT = 8443, 8531, 8080
"""What the shipped policy listens on."""

BRIDGED = "bridge.internet.example"

TUNNELED = {
    "management-point": "mp-tunnel.internet.example",
    "distribution-point": "dp-tunnel.internet.example",
}
