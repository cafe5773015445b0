"""A request as a stand-in sees it, and the responses that several roles give."""

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
ACCEPTED = ServerResponse(200, b"stand-in accepts anything", TEXT)
NOT_FOUND = ServerResponse(404, b"Not found", TEXT)


@dataclass(frozen=True)
class ServerRequest:
    """A request, as IIS would understand its target."""

    method: str
    directory: str
    rest: str
    """What follows the directory."""
    query: str
    body: bytes
    headers: dict[str, str]
    """By name in lower case."""
    user: str = ""
    """Whom Windows has authenticated on this connection; empty where a directory does not ask."""


def split_target(target: str) -> tuple[str, str, str]:
    """Directory, what is below it, and query, as IIS would understand the target."""
    path, _, query = re.sub(r"^https?://[^/]*", "", target).partition("?")
    plain = normpath(unquote(path, "latin-1").replace("\\", "/")).lower().strip("/")
    directory, _, rest = plain.partition("/")
    return directory, rest, query
