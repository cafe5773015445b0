"""Where an answer to an upload sends its client: `BITS-Host-Id` and `BITS-Reply-URL`.

A BITS client goes on with the host it is told instead of the one it asked ([MC-BUP] §2.2.3.2), and
fetches a reply from the URL it is told (§2.2.7.2). The publication's own name it may be told; the
site system's is of no use on the Internet, and any other is nobody's business there. What is taken
out costs nothing: without it a client goes on with the name it has.
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
    rule: UploadHosts,
) -> dict[bytes, bytes]:
    """Of `fields` with these names (in lower case), those that pass and what they then say.

    `origin` is where the client sent its request, `own_names` are the site system's.
    """
    said = {name: value for name, value in fields if name in FIELDS}
    # One that is repeated could be read in two ways.
    repeated = len(said) != sum(name in FIELDS for name, _ in fields)
    passed: dict[bytes, bytes] = {}
    if repeated:
        return passed
    scheme = origin.partition(b"://")[0]
    # As a URL of that host, so that one rule judges both.
    candidates = {HOST_ID: scheme + b"://" + said[HOST_ID] + b"/"} if HOST_ID in said else {}
    if REPLY_URL in said:
        candidates[REPLY_URL] = said[REPLY_URL]
    for name, url in candidates.items():
        told = location_for_client(url, origin, own_names)
        if isinstance(told, Deny) or (told != url and rule is UploadHosts.DROP):
            continue
        passed[name] = told if name == REPLY_URL else told.split(b"/")[2]
    if FALLBACK in said and HOST_ID in passed and said[FALLBACK].isdigit():
        passed[FALLBACK] = said[FALLBACK]
    return passed
