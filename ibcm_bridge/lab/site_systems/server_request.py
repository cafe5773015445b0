"""A request to a simulated site system, and common responses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from posixpath import normpath
from urllib.parse import unquote

from ibcm_bridge.lab.protocol.content import ServerResponse

READ_METHODS = {"GET", "HEAD"}
XML = {"Content-Type": "text/xml"}
TEXT = {"Content-Type": "text/plain"}
HTML = {"Content-Type": "text/html"}
ACCEPTED = ServerResponse(200, b"accepted by the simulated site system", TEXT)
NOT_FOUND = ServerResponse(404, b"Not found", TEXT)


@dataclass(frozen=True)
class ServerRequest:
    """A request; the target is parsed as IIS does."""

    method: str
    directory: str
    rest: str
    """The path below the directory."""
    query: str
    body: bytes
    headers: dict[str, str]
    """Name in lower case -> value."""
    user: str = ""
    """The user that Windows authenticated on this connection; empty if not required."""


def split_target(target: str) -> tuple[str, str, str]:
    """Return directory, path below it, and query of a target, parsed as IIS does."""
    path, _, query = re.sub(r"^https?://[^/]*", "", target).partition("?")
    plain = normpath(unquote(path, "latin-1").replace("\\", "/")).lower().strip("/")
    directory, _, rest = plain.partition("/")
    return directory, rest, query
