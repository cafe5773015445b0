"""The port and the publication of a URL, for `explain`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ibcm_bridge.commands.explain.described_request import SCHEME_PORTS, Url
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import (
    Listener,
    PlaintextListener,
    PlaintextPublication,
    Publication,
)
from ibcm_bridge.routing.client_hello import ClientHelloFacts
from ibcm_bridge.routing.publication import route


class NoListenerError(ValueError):
    """The port of the URL has no listener: a usage error, not a refusal."""


@dataclass(frozen=True, slots=True)
class Port:
    """The port that `explain` assumes for a URL without one."""

    assumed: int
    alternatives: tuple[int, ...]
    """The other ports on which the same name is published."""

    def describe(self, url: Url) -> str | None:
        """A sentence without its period; None for the scheme's default port without others."""
        if self.alternatives:
            alternatives = listed([str(port) for port in self.alternatives])
            return f"assumed port {self.assumed}; {url.host} is also published on {alternatives}"
        default = self.assumed == SCHEME_PORTS[url.scheme]
        return None if default else f"assumed port {self.assumed}, the only port of {url.host}"


def ports(policy: Policy) -> frozenset[int]:
    """The ports that clients connect to, and the listen ports behind them."""
    return frozenset[int]().union(*map(_ports, policy.listeners))


def _ports(listener: Listener | PlaintextListener) -> frozenset[int]:
    public = (publication.public_port for publication in listener.published)
    return frozenset((listener.address[1], *public))


def choose_port(policy: Policy, url: Url) -> tuple[Url, Port | None]:
    """The URL with a port, and the port that is assumed if the URL has none.

    Assumed is the default port of the scheme if the name is published there, else the port of the
    first publication of the name. A name that is not published is refused on every port.
    """
    known = ports(policy)
    if url.port is not None:
        if url.port not in known:
            raise NoListenerError(
                f"no listener on port {url.port}; the policy has {_listed_ports(policy)}"
            )
        return url, None
    usual = SCHEME_PORTS[url.scheme]
    offered = tuple(dict.fromkeys(_published_ports(policy, url, url.scheme)))
    if not offered and usual in known:
        return url.on(usual), None
    # HTTP to a name that is published over TLS only: show how its TLS port refuses it.
    offered = offered or tuple(dict.fromkeys(_published_ports(policy, url, "https")))
    if not offered:
        return url, None
    assumed = usual if usual in offered else offered[0]
    return url.on(assumed), Port(assumed, tuple(port for port in offered if port != assumed))


def _published_ports(policy: Policy, url: Url, scheme: str) -> Iterator[int]:
    """The ports on which the name is published for a scheme."""
    for listener in policy.listeners:
        if isinstance(listener, PlaintextListener):
            if scheme == "http" and url.name == listener.publication.name:
                yield listener.publication.public_port
        elif scheme == "https":
            routed = route(listener, ClientHelloFacts(url.server_name))
            if not isinstance(routed, Deny):
                yield routed.public_port


def _listed_ports(policy: Policy) -> str:
    http = {
        port
        for listener in policy.listeners
        if isinstance(listener, PlaintextListener)
        for port in _ports(listener)
    }
    named = [f"{port} (http)" if port in http else str(port) for port in sorted(ports(policy))]
    return listed(named)


def listed(names: Sequence[str]) -> str:
    """Names as in a sentence: a, b and c."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def published_at(policy: Policy, url: Url) -> Publication | PlaintextPublication | Deny:
    """The publication for a URL with a port, or the denial."""
    return _over_http(policy, url) if url.scheme == "http" else _over_tls(policy, url)


def _over_tls(policy: Policy, url: Url) -> Publication | Deny:
    denial = Deny(Reason.UNKNOWN_NAME, rules.LISTENER_PUBLICATIONS, "nothing is published over TLS")
    found: list[Publication] = []
    for listener in policy.listeners:
        if isinstance(listener, PlaintextListener):
            if url.port in _ports(listener):
                denial = Deny(
                    Reason.TLS_ON_PLAINTEXT, rules.LISTENER_PLAINTEXT, "TLS on an HTTP port"
                )
            continue
        routed = route(listener, ClientHelloFacts(url.server_name))
        if isinstance(routed, Deny):
            if url.port is None or url.port in _ports(listener):
                denial = routed
        elif url.port in (listener.address[1], routed.public_port):
            found.append(routed)
    if not found:
        return denial
    # A public port takes precedence over a listen port.
    return next(
        (publication for publication in found if publication.public_port == url.port), found[0]
    )


def _over_http(policy: Policy, url: Url) -> PlaintextPublication | Deny:
    for listener in policy.listeners:
        # The Host field is checked later.
        if isinstance(listener, PlaintextListener) and url.port in _ports(listener):
            return listener.publication
    return Deny(Reason.PLAINTEXT, rules.LISTENER_TLS, "plaintext on a TLS port")
