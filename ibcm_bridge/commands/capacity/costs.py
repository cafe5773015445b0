"""The measured costs of the bridge: CPU time of one core, memory and bytes on disk.

`measured.json` beside this file is a part of benchmarks/measured.json, which the wheel does not
have; `python -m benchmarks.page` writes both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from importlib.resources import files
from typing import Any, Self

RECORD_BYTES = 1_300
"""An audit record of a message, on average over the life cycle of the lab's client."""

COMPRESSED = 0.12
"""The size of a rotated audit file (gzip), as a part of its size."""

BINDING_BYTES = 620
"""A client GUID in the database, with its indexes."""

SPOOL_BYTES = 1 << 30
"""The default of `uploads.max_total_bytes`."""

LARGE_UPLOAD_BYTES = 300_000_000
"""The most that an inspection process uses in addition, for a payload at the limit."""


@dataclass(frozen=True)
class Costs:
    """Medians of a run of `python -m benchmarks`."""

    message_seconds: float
    """CPU time of a signed message of 3 KB that inflates to 28 KB, enforced."""
    connection_seconds: float
    """CPU time of a new mTLS connection on both legs, with one small request."""
    client_bytes: float
    """Memory of a connected client that waits, with its site-system leg."""
    process_bytes: float
    """Memory of a bridge with one worker, and of the processes that inspect large bodies."""
    worker_bytes: float
    """Memory of a second worker with the parent of both, and the most for a further one."""
    processors: str
    python: str
    mitmproxy: str

    @classmethod
    def read(cls) -> Self:
        """Read the figures that are shipped."""
        text = files("ibcm_bridge.commands.capacity").joinpath("measured.json").read_text("utf-8")
        found: dict[str, Any] = json.loads(text)
        return cls(**{field.name: found[field.name] for field in fields(cls)})

    def on_a_core(self, speed: float) -> Costs:
        """The costs on a core that is `speed` times as fast as the measured one."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("message_seconds", "connection_seconds"):
            values[name] /= speed
        return Costs(**values)
