"""The names and ports that the lab publishes."""

from __future__ import annotations

SHIPPED = TLS_PORT, UPDATE_PORT, PLAINTEXT_PORT = 8443, 8531, 8080
"""The ports of the shipped policy."""

BRIDGED = "bridge.internet.example"

USER_CERTIFICATES = "users.internet.example"
"""A management point that requires user certificates, for legacy mobile devices."""

SIGN_IN = "signin.internet.example"
"""A management point that authenticates users, for the scenes (USER-WINDOWS-AUTH)."""

SIGN_IN_INSIDE = "mp02.corp.example"
"""The name of its site system."""

TUNNELED = {
    "management-point": "mp-tunnel.internet.example",
    "distribution-point": "dp-tunnel.internet.example",
}
