"""On which port a URL is asked for, and what is published there: for `explain`."""

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
from ibcm_bridge.routing.publication import ClientHelloFacts, route


class NoListenerError(ValueError):
    """A port on which nothing listens, so nobody would answer: a mistake of the question."""


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
        return None if default else f"assumed port {self.assumed}, the only one of {url.host}"


def ports(policy: Policy) -> frozenset[int]:
    """Those that clients connect to, and those that are listened on behind them."""
    return frozenset[int]().union(*map(_ports, policy.listeners))


def _ports(listener: Listener | PlaintextListener) -> frozenset[int]:
    public = (publication.public_port for publication in listener.published)
    return frozenset((listener.address[1], *public))


def choose_port(policy: Policy, url: Url) -> tuple[Url, Port | None]:
    """The URL with the port that is meant where it has none, and which that is.

    That of its scheme where the name is published there, else that of the first publication of the
    name. Where nobody publishes the name, any will do: it is refused on each.
    """
    known = ports(policy)
    if url.port is not None:
        if url.port not in known:
            raise NoListenerError(
                f"nothing listens on port {url.port}, only on {_listed_ports(policy)}"
            )
        return url, None
    usual = SCHEME_PORTS[url.scheme]
    offered = tuple(dict.fromkeys(_published_ports(policy, url, url.scheme)))
    if not offered and usual in known:
        return url.on(usual), None
    # Of a name that has no HTTP, it is said how HTTP ends where it has TLS.
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
            answer = route(listener, ClientHelloFacts(url.server_name))
            if not isinstance(answer, Deny):
                yield answer.public_port


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
    """What answers a URL with a port, or what it is refused for."""
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
        answer = route(listener, ClientHelloFacts(url.server_name))
        if isinstance(answer, Deny):
            if url.port is None or url.port in _ports(listener):
                denial = answer
        elif url.port in (listener.address[1], answer.public_port):
            found.append(answer)
    if not found:
        return denial
    # A port that clients connect to comes before one that is only listened on.
    return next(
        (publication for publication in found if publication.public_port == url.port), found[0]
    )


def _over_http(policy: Policy, url: Url) -> PlaintextPublication | Deny:
    for listener in policy.listeners:
        # Of a request to that port the Host field says the rest.
        if isinstance(listener, PlaintextListener) and url.port in _ports(listener):
            return listener.publication
    return Deny(Reason.PLAINTEXT, rules.LISTENER_TLS, "plaintext on a TLS port")
