"""Compares the Host field of a request with the publication of its connection (RFC 9112 §3.2).

If they could differ, TLS would verify the certificate of one name for a request to another.
"""

from __future__ import annotations

import re

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.publications import HttpPublication
from ibcm_bridge.request.head import RequestHead

_PORT = re.compile(r"[0-9]{0,5}")


def check_host(publication: HttpPublication, head: RequestHead) -> Deny | None:
    """Return the refusal of a head without exactly one Host field with the publication's name."""
    hosts = head.values(b"host")
    if len(hosts) != 1:
        return Deny(Reason.HOST_MISMATCH, rules.HEAD_HOST, f"{len(hosts)} Host fields")
    name, port = _split_host(hosts[0].decode("latin-1").lower())
    if name != publication.name or not _PORT.fullmatch(port):
        return Deny(
            Reason.HOST_MISMATCH,
            rules.HEAD_HOST,
            f"Host {name[:255]!r} does not match the server name",
        )
    return None


def _split_host(host: str) -> tuple[str, str]:
    """Name and port. An IPv6 address is in brackets (RFC 9110 §7.2)."""
    bracketed, bracket, rest = host.rpartition("]")
    name, _, port = rest.partition(":")
    return bracketed + bracket + name, port
