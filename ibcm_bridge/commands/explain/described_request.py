"""A request as described to `explain`: its URL, fields, certificates and body.

A URL is parsed once into the parts that a client sends: the name for the ClientHello and the bytes
of the request target. A URL that no client can send is a usage error (RFC 9110 §4.2.4 and RFC 3986
§3.5: user information and fragments are never sent).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509

from ibcm_bridge.policy.addresses import address_text, host_text

_NAME = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
SCHEME_PORTS = {"https": 443, "http": 80}
_SENT = re.compile(r"[\x21-\x7e]+")

type Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Url:
    """The parts of a URL. `port` None: the port of the listener."""

    scheme: str
    name: str
    port: int | None
    target: str
    """As in the request line."""

    @property
    def server_name(self) -> str | None:
        """The server name of the ClientHello; None for an IP address (RFC 6066 §3)."""
        try:
            ipaddress.ip_address(self.name)
        except ValueError:
            return self.name
        return None

    @property
    def host(self) -> str:
        """The Host field, without the default port of the scheme (RFC 9110 §7.2)."""
        if self.port in (None, SCHEME_PORTS.get(self.scheme)):
            return host_text(self.name)
        return address_text((self.name, self.port))

    def on(self, port: int) -> Url:
        """The same URL with another port."""
        return Url(self.scheme, self.name, port, self.target)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}{self.target}"


def read_url(text: str) -> Url:
    """Parse an absolute URL. Raises ValueError if no client can send it."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise ValueError(f"{text!r} is not an https:// or http:// URL; use https://NAME/PATH")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if not authority:
        raise ValueError(f"{text!r} has no valid host name")
    if "@" in authority:
        raise ValueError(f"{text!r}: a user name is never sent; remove it")
    if "#" in rest:
        raise ValueError(f"{text!r}: a fragment is never sent; remove it")
    if not authority.isascii():
        raise ValueError(f"{text!r}: write the host name as it is sent, in ASCII (xn--...)")
    if not _SENT.fullmatch(rest):
        raise ValueError(f"{text!r}: write the path as it is sent, percent-encoded")
    try:
        parts = urlsplit(text)
        name, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from error
    if port == 0:
        raise ValueError(f"{text!r}: clients cannot connect to port 0")
    if not name or not _NAME.fullmatch(authority.removesuffix(f":{port}").removesuffix(":")):
        raise ValueError(f"{text!r} has no valid host name")
    target = rest.removeprefix(authority)
    return Url(scheme.lower(), name, port, target if target.startswith("/") else f"/{target}")


@dataclass(frozen=True, slots=True)
class DescribedRequest:
    """A request. Bytes that are not UTF-8 are surrogates in its text (PEP 383)."""

    method: str
    url: Url
    headers: Fields
    """Every field, as sent."""
    certificates: tuple[x509.Certificate, ...]
    """The client's certificates, end-entity certificate first; empty for none."""
    body: bytes | None
    """None: unknown, so not inspected."""
    version: str = "HTTP/1.1"

    def describe(self) -> str:
        """The method and the URL."""
        return f"{self.method} {self.url}"

    def with_field(self, name: str, value: str) -> DescribedRequest:
        """The same request with one more field."""
        headers = (*self.headers, (name, value))
        return DescribedRequest(
            self.method, self.url, headers, self.certificates, self.body, self.version
        )

    def head_bytes(self) -> bytes:
        """The head as on the wire."""
        lines = [f"{self.method} {self.url.target} {self.version}"]
        lines += (f"{name}: {value}" for name, value in self.headers)
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


def describe_request(
    method: str,
    url: Url,
    headers: Fields,
    certificates: Sequence[x509.Certificate],
    body: bytes | None,
    *,
    version: str = "HTTP/1.1",
) -> DescribedRequest:
    """A request with these fields, and with Host and Content-Length if they are missing."""
    given = {name.lower() for name, _ in headers}
    host = () if "host" in given else (("Host", url.host),)
    length: Fields = ()
    if body is not None and not given & {"content-length", "transfer-encoding"}:
        length = (("Content-Length", str(len(body))),)
    return DescribedRequest(
        method, url, (*host, *headers, *length), tuple(certificates), body, version
    )
