"""Selects the publication of a connection.

Only the server name in the ClientHello selects it: bridged, tunneled, or none (the client then
receives an alert). For a client without a server name, the policy can name a publication. The role
is selected later, by the path of each request: `request.resources.published_role`.
"""

from __future__ import annotations

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.publications import Listener, Publication
from ibcm_bridge.routing.client_hello import ClientHelloFacts


def route(listener: Listener, hello: ClientHelloFacts) -> Publication | Deny:
    """Return the publication that the ClientHello selects."""
    name = hello.server_name if hello.server_name is not None else listener.without_sni
    if name is None:
        return Deny(
            Reason.UNKNOWN_NAME, rules.LISTENER_PUBLICATIONS, "the client sent no server name"
        )
    publication = listener.publications.get(name.lower())
    if publication is None:
        return Deny(
            Reason.UNKNOWN_NAME,
            rules.LISTENER_PUBLICATIONS,
            f"the listener has no publication {name[:255]!r}",
        )
    return publication
