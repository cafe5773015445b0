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
from ibcm_bridge.commands.init.readers import InputError, is_pfx


class Clients(StrEnum):
    """The certificate that clients of a publication present."""

    COMPUTER = "computer"
    USER = "user"
    EITHER = "either"
    NONE = "none"
    TUNNELED = "tunneled"
    """The site system requests it, or not."""
    PLAINTEXT = "plaintext"
    """Without TLS."""


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
class Certificate:
    """The files of a certificate. "" for the key of a PFX file, and for no passphrase."""

    file: str
    key: str
    passphrase: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A publication of the policy."""

    name: str
    listen: str
    clients: Clients
    roles: Mapping[str, Sequence[SiteSystem]]
    """By question. A tunnel has one."""
    certificate: Certificate | None = None
    """The server certificate for this name only; None: the one for all names, or no TLS."""


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

NOT_BRIDGED = frozenset({Clients.PLAINTEXT, Clients.TUNNELED})
"""All others are bridged, with a server certificate."""

_CLIENTS_OF_SCHEME = {"http": Clients.PLAINTEXT, "": Clients.TUNNELED}

_PRESENT_A_CERTIFICATE = (MANAGEMENT_POINT, DISTRIBUTION_POINT)


def plan(inputs: Inputs) -> Sequence[Plan]:
    """Return the publications. InputError, with all problems, if they cannot be published."""
    kinds, certificates = _kinds(inputs), _certificates(inputs)
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
            certificate = None if clients in NOT_BRIDGED else certificates.get(name.lower())
            planned = found.setdefault(key, Plan(name, listen, clients, {}, certificate))
            others = planned.roles.get(role, ())
            if any(other.key == site_system.key for other in others):
                problems[f"--{role}: {site_system.key} is named twice for {name}"] = None
            roles = {**planned.roles, role: (*others, site_system)}
            found[key] = replace(planned, roles=roles)
    plans = tuple(found.values())
    if not plans:
        raise InputError("nothing to publish; name at least one site system")
    problems |= dict.fromkeys([*_conflicts(plans), *_unused(kinds, certificates, plans)])
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


def _certificates(inputs: Inputs) -> Mapping[str, Certificate]:
    """Return the server certificates for one name only, by name in lower case."""
    certificates: dict[str, Certificate] = {}
    for text in inputs.get("certificate-of", ()):
        name, _, files = text.partition("=")
        file, *others = files.split(",")
        key = "" if is_pfx(file) else others.pop(0)
        if name.lower() in certificates:
            raise InputError(f"--certificate-of: {name} can have one certificate")
        certificates[name.lower()] = Certificate(file, key, "".join(others))
    return certificates


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


def _unused(
    kinds: Mapping[str, Clients], certificates: Mapping[str, Certificate], plans: Sequence[Plan]
) -> Iterator[str]:
    bridged = {each.name.lower(): each.roles for each in plans if each.clients not in NOT_BRIDGED}
    for name in kinds.keys() - {""}:
        if not any(role in bridged.get(name, ()) for role in _PRESENT_A_CERTIFICATE):
            roles = " or ".join(f"--{role}" for role in _PRESENT_A_CERTIFICATE)
            yield f"--clients: no {roles} has the name {name}"
    for name in certificates.keys() - bridged.keys():
        yield f"--certificate-of: no bridged site system has the name {name}"
