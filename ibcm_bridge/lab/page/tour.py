"""The guided tour of the page: seven steps, each with a case and notes for the speaker."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

LIFE_CYCLE = "life_cycle"
"""The view of the page with a client's life cycle."""


@dataclass(frozen=True)
class Step:
    """A step of the tour."""

    show: str
    """The id of a case, or `LIFE_CYCLE`."""
    seconds: int
    """The planned time."""
    point: str
    """What this step teaches, in one sentence."""
    notes: tuple[str, ...]
    """What the speaker says and shows."""


TOUR = (
    Step(
        "inventory-report",
        110,
        "A valid message passes both ways; only the bridge reads it.",
        (
            "Follow the colors: two TLS connections through the bridge, one through the tunnel.",
            "The bridge lists what it inflated and decoded. The tunnel has a name and a number.",
            "Compare who the management point sees: the bridge's certificate, or the client's.",
        ),
    ),
    Step(
        "malware-in-zlib",
        100,
        "Only a proxy that inflates and decodes finds this malware.",
        (
            "It is the same message with EICAR, compressed and in UTF-16.",
            "The bridge shows the rule that matched. The request never reaches the intranet.",
            "Through the tunnel, the management point accepts it and returns 200.",
        ),
    ),
    Step(
        "revoked-certificate",
        80,
        "Both ways stop a revoked client, at different places.",
        (
            "The bridge has its own CRLs and ends the handshake with a TLS alert.",
            "Through the tunnel, an attacker talks to a server of the intranet before the refusal.",
        ),
    ),
    Step(
        "spoofed-payload",
        90,
        "A valid certificate does not prove which client a message is from.",
        (
            "The TLS certificate and the signature are valid; the payload names another client.",
            "The bridge compares the client GUID with the certificate of the connection.",
            "This management point checks the header only, and returns another client's policy.",
        ),
    ),
    Step(
        "enrolled-device",
        60,
        "Some clients need the tunnel.",
        (
            "Enrolled mobile devices do not support bridging, so the tunnel is correct here.",
            "Tunnel these names only, and bridge the others.",
        ),
    ),
    Step(
        LIFE_CYCLE,
        70,
        "A real client works through the bridge.",
        (
            "These are the requests of a client, from its registration to an upload.",
            "Strict inspection must not stop valid clients: each step succeeds on both paths.",
        ),
    ),
    Step(
        "policy-request",
        90,
        "A bridge that cannot decide forwards nothing.",
        (
            "Switch on Malware engine down, and press Send again.",
            "The bridge returns 503, and the client tries again later. The tunnel scans nothing.",
            "This is the price: CRLs, rules and engines must be current. Switch the fault off.",
        ),
    ),
)


def tour() -> list[dict[str, Any]]:
    """Return the steps as JSON data."""
    return [asdict(step) for step in TOUR]
