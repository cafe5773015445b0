"""Checks the host names in the response to an upload: `BITS-Host-Id` and `BITS-Reply-URL`.

A BITS client continues an upload with the host in the response ([MC-BUP] §2.2.3.2), and fetches a
reply from the URL in it (§2.2.7.2). The publication's own name is allowed. The site system's name
is not reachable from the Internet, and any other name must not be disclosed. Without these fields a
client continues with the name that it has.
"""

from __future__ import annotations

from collections.abc import Collection

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.policy.publications import UploadHosts
from ibcm_bridge.site_system_leg.location import location_for_client

HOST_ID = b"bits-host-id"
FALLBACK = b"bits-host-id-fallback-timeout"
REPLY_URL = b"bits-reply-url"
FIELDS = frozenset((HOST_ID, FALLBACK, REPLY_URL))


def upload_hosts_for_client(
    fields: Collection[tuple[bytes, bytes]],
    origin: bytes,
    own_names: Collection[str],
    upload_hosts: UploadHosts,
) -> dict[bytes, bytes]:
    """Return the fields that are allowed, in lower case, with their values for the client.

    `fields` have names in lower case. `origin` is that of the client's request; `own_names` are the
    names of the site system.
    """
    received = {name: value for name, value in fields if name in FIELDS}
    # A repeated field is ambiguous.
    repeated = len(received) != sum(name in FIELDS for name, _ in fields)
    allowed: dict[bytes, bytes] = {}
    if repeated:
        return allowed
    scheme = origin.partition(b"://")[0]
    # The host as a URL, so that `location_for_client` checks both fields.
    urls = {HOST_ID: scheme + b"://" + received[HOST_ID] + b"/"} if HOST_ID in received else {}
    if REPLY_URL in received:
        urls[REPLY_URL] = received[REPLY_URL]
    for name, url in urls.items():
        location = location_for_client(url, origin, own_names)
        if isinstance(location, Deny) or (location != url and upload_hosts is UploadHosts.DROP):
            continue
        allowed[name] = location if name == REPLY_URL else location.split(b"/")[2]
    if FALLBACK in received and HOST_ID in allowed and received[FALLBACK].isdigit():
        allowed[FALLBACK] = received[FALLBACK]
    return allowed
