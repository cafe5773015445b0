"""The file of an update, from a scan: its location and its digest (CLIENT-UPDATES)."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from html import unescape
from typing import Self
from urllib.parse import urlsplit

from ibcm_bridge.lab.protocol.client import Response
from ibcm_bridge.lab.simulated.network import HTTP, HTTPS, Host


@dataclass(frozen=True)
class UrlLocation:
    """The host and the request target of a URL."""

    host: Host
    target: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Parse an HTTP or HTTPS URL. ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"{url} is not an HTTP or HTTPS URL")
        query = f"?{parts.query}" if parts.query else ""
        return cls((parts.hostname, parts.port or _PORTS[parts.scheme]), f"{parts.path}{query}")


_PORTS = {"https": HTTPS, "http": HTTP}


@dataclass(frozen=True)
class UpdateFile:
    """A file of an update ([MS-WUSP] 2.2.2.2.7); `digest` is its SHA-1."""

    location: UrlLocation
    digest: bytes

    @classmethod
    def of(cls, response: Response) -> Self | None:
        """Return the first file in a response to GetFileLocations, if any."""
        found = re.search(rb"<FileDigest>([^<]+)</FileDigest><Url>([^<]+)</Url>", response.body)
        if found is None:
            return None
        return cls(UrlLocation.of(unescape(found[2].decode())), base64.b64decode(found[1]))

    def matches(self, data: bytes) -> bool:
        """Return whether the data has the digest of the file."""
        return hashlib.sha1(data, usedforsecurity=False).digest() == self.digest
