"""Where a connection and a request belong.

1. The ClientHello's server name, and nothing else, chooses the publication: bridged, tunneled, or
   none (then nothing is answered but an alert). A client that sends none gets the publication that
   the policy names for those, if it names one.
2. On a bridged publication the whole first path segment chooses the role, and so the site system.
   Whole, because `/ccm_system` is a prefix of directories that need no certificate
   (protocol.md §1.1).
"""

from __future__ import annotations

from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.publications import Listener, Publication


@dataclass(frozen=True, slots=True)
class ClientHelloFacts:
    """What a ClientHello says that routing needs: the server name, if one was sent (RFC 6066)."""

    server_name: str | None


def route(listener: Listener, hello: ClientHelloFacts) -> Publication | Deny:
    """The publication a connection asks for."""
    name = hello.server_name if hello.server_name is not None else listener.without_sni
    if name is None:
        return Deny(Reason.UNKNOWN_NAME, rules.LISTENER_PUBLICATIONS, "no server name was sent")
    publication = listener.publications.get(name.lower())
    if publication is None:
        return Deny(
            Reason.UNKNOWN_NAME,
            rules.LISTENER_PUBLICATIONS,
            f"nothing is published as {name[:255]!r}",
        )
    return publication
