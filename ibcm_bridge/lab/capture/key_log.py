"""The TLS secrets of the lab's own client and stand-ins, in the format of SSLKEYLOGFILE.

The bridge has no key log. Both legs can be decrypted, because the lab has the other end of each.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ibcm_bridge.lab.capture.relay import Recorded

_HANDSHAKE = 0x16
_RANDOM = slice(11, 43)
"""The client random, after the heads of the record and of the message, and the version."""


def client_random(connection: Recorded) -> str:
    """Return the random of the ClientHello in hexadecimal; empty without one."""
    sent = connection.sent(from_client=True)[: _RANDOM.stop]
    complete = len(sent) == _RANDOM.stop and sent[0] == _HANDSHAKE
    return sent[_RANDOM].hex() if complete else ""


def secrets_of(connections: Iterable[Recorded], key_log: Path) -> str:
    """Return the lines of the key log for these connections, and no other lines."""
    randoms = {client_random(connection) for connection in connections} - {""}
    if not randoms or not key_log.exists():
        return ""
    lines = key_log.read_text("ascii").splitlines(keepends=True)
    # `CLIENT_RANDOM <random> <secret>`, and other labels for TLS 1.3; comments have one word more.
    return "".join(line for line in lines if line.partition(" ")[2][:64].lower() in randoms)
