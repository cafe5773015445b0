"""Inputs -> the publications of the policy: site systems grouped by name, port and clients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from urllib.parse import urlsplit

from ibcm_bridge.commands.init.inputs import Inputs
from ibcm_bridge.commands.init.questions import (
    CATALOG,
    DISTRIBUTION_POINT,
    ENROLLMENT,
    MANAGEMENT_POINT,
    POLICY_MODULE,
    STATUS_POINT,
    TUNNEL,
    UPDATE_POINT,
)
from ibcm_bridge.commands.init.readers import InputError


class Clients(StrEnum):
    """The certificate that clients of a publication present."""

    COMPUTER = "computer"
    USER = "user"
    EITHER = "either"
    NONE = "none"
    TUNNELED = "tunneled"
    """The site system requests it, or not."""
    PLAINTEXT = "plaintext"
    """There is no TLS."""


@dataclass(frozen=True, slots=True)
class SiteSystem:
    """A site system, and where to connect if its name does not resolve ("" if it does)."""

    target: str
    """A URL, or the address and port of a tunnel."""
    connect: str

    @property
    def scheme(self) -> str:
        """`https`, `http`, or "" for a tunnel."""
        return self.target.rpartition("://")[0]

    @property
    def key(self) -> str:
        """What a list of site systems can have once: the host; of a tunnel, the address."""
        return (urlsplit(self.target).hostname or self.target).lower()


@dataclass(frozen=True, slots=True)
class Plan:
    """A publication of the policy."""

    name: str
    listen: str
    clients: Clients
    roles: Mapping[str, Sequence[SiteSystem]]
    """By question. A tunnel has one."""


_LISTEN = {
    MANAGEMENT_POINT: "listen",
    DISTRIBUTION_POINT: "listen",
    UPDATE_POINT: "update-listen",
    CATALOG: "listen",
    POLICY_MODULE: "listen",
    ENROLLMENT: "listen",
    TUNNEL: "listen",
    STATUS_POINT: "status-listen",
}
"""Question -> the question for its port, in the order of the policy."""

_CLIENTS_OF_SCHEME = {"http": Clients.PLAINTEXT, "": Clients.TUNNELED}

_PRESENT_A_CERTIFICATE = (MANAGEMENT_POINT, DISTRIBUTION_POINT)


def plan(inputs: Inputs) -> Sequence[Plan]:
    """Return the publications. InputError, with all problems, if they cannot be published."""
    kinds = _kinds(inputs)
    found: dict[tuple[str, str, Clients, str], Plan] = {}
    problems: dict[str, None] = {}
    for role, listen_key in _LISTEN.items():
        for text in inputs.get(role, ()):
            name, _, rest = text.partition("=")
            target, _, connect = rest.partition(",")
            site_system, listen = SiteSystem(target, connect), inputs[listen_key][0]
            clients = _clients(role, site_system, kinds.get(name.lower(), kinds[""]))
            # The bridge cannot select a role within a tunnel.
            key = (name.lower(), listen, clients, role if clients is Clients.TUNNELED else "")
            planned = found.setdefault(key, Plan(name, listen, clients, {}))
            others = planned.roles.get(role, ())
            if any(other.key == site_system.key for other in others):
                problems[f"--{role}: {site_system.key} is named twice for {name}"] = None
            roles = {**planned.roles, role: (*others, site_system)}
            found[key] = replace(planned, roles=roles)
    plans = tuple(found.values())
    problems |= dict.fromkeys([*_conflicts(plans), *_unused_kinds(kinds, plans)])
    if problems:
        raise InputError("\n".join(problems))
    return plans


def _kinds(inputs: Inputs) -> Mapping[str, Clients]:
    """Return the kinds of client certificates by name in lower case; "" has that of all others."""
    kinds: dict[str, Clients] = {}
    for text in inputs.get("clients", ()):
        name, _, kind = text.rpartition("=")
        if name.lower() in kinds:
            raise InputError(
                f"--clients: {name or 'all names'} can have one kind; use either for both"
            )
        kinds[name.lower()] = Clients(kind)
    return {"": Clients.COMPUTER, **kinds}


def _clients(role: str, site_system: SiteSystem, kind: Clients) -> Clients:
    if site_system.scheme in _CLIENTS_OF_SCHEME:
        return _CLIENTS_OF_SCHEME[site_system.scheme]
    return kind if role in _PRESENT_A_CERTIFICATE else Clients.NONE


def _conflicts(plans: Sequence[Plan]) -> Iterator[str]:
    """What cannot share a name and port, or a port."""
    for index, later in enumerate(plans):
        for earlier in plans[:index]:
            if later.listen != earlier.listen:
                continue
            here = f"{' and '.join(later.roles)} cannot share"
            there = f"{later.listen} with {' and '.join(earlier.roles)}"
            if later.clients is earlier.clients is Clients.PLAINTEXT:
                yield f"{here} port {later.listen}: without TLS, a port has only one name"
            elif Clients.PLAINTEXT in {later.clients, earlier.clients}:
                yield f"{here} port {there}: one is HTTP, the other TLS; use another port"
            elif later.name.lower() == earlier.name.lower():
                yield f"{here} {later.name} on {there}; write another name (NAME=) or port"


def _unused_kinds(kinds: Mapping[str, Clients], plans: Sequence[Plan]) -> Iterator[str]:
    names = {
        publication.name.lower()
        for publication in plans
        if any(role in publication.roles for role in _PRESENT_A_CERTIFICATE)
    }
    for name in kinds:
        if name and name not in names:
            roles = " or ".join(f"--{role}" for role in _PRESENT_A_CERTIFICATE)
            yield f"--clients: no {roles} has the name {name}"
