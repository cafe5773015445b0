"""Site systems: the far ends of site-system legs, one or several for a role."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.tls_settings import DEFAULT_TLS, TlsSettings


@dataclass(frozen=True, slots=True)
class SiteSystem:
    """The far end of the site-system leg.

    `name` is the server name (SNI), and the site system's certificate must have `verify_name`. The
    bridge connects to `address`. `tls.highest`: an IIS that requests the client certificate after
    the handshake may need TLS 1.2 (design of HTTP.sys; RFC 8446 §4.6.2).
    """

    address: Address
    name: str
    verify_name: str
    tls: TlsSettings = DEFAULT_TLS

    @property
    def names(self) -> frozenset[str]:
        """The names that the site system may use for itself."""
        return frozenset((self.name, self.verify_name))


@dataclass(frozen=True, slots=True)
class PerSiteSystem:
    """When a site system that cannot be connected to is tried last. `site_system_leg.breaker`."""

    failures: int = 3
    """Failed attempts in a row."""
    within_seconds: float = 60.0
    """The longest time from the first of them to the last."""
    probe_seconds: float = 30.0
    """The time after the last failure until one request tries the site system first."""


DEFAULT_PER_SITE_SYSTEM = PerSiteSystem()


class Order(StrEnum):
    """The site system that a client tries first."""

    AS_LISTED = "as-listed"
    """The first of the list. The others are for its failure."""
    BY_CLIENT = "by-client"
    """One that depends on the key of the client's certificate, so that the load is spread."""


@dataclass(frozen=True, slots=True)
class SiteSystems:
    """The site systems of a role: one, or several that are interchangeable."""

    listed: tuple[SiteSystem, ...]
    """In the order of the policy; each has another `name`."""
    order: Order = Order.AS_LISTED
    names: frozenset[str] = field(init=False, repr=False, compare=False)
    """The names that any of them may use for any of them."""

    def __post_init__(self) -> None:
        """Raise ValueError if there is none, or if two have the same name."""
        if not self.listed or len({each.name for each in self.listed}) < len(self.listed):
            raise ValueError("a role needs site systems with different names")
        names = frozenset[str]().union(*(each.names for each in self.listed))
        object.__setattr__(self, "names", names)

    @property
    def first(self) -> SiteSystem:
        """The first of the list."""
        return self.listed[0]

    @property
    def text(self) -> str:
        """Their names, for people."""
        return " or ".join(each.name for each in self.listed)
