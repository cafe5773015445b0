"""`ibcm-bridge check --connect`: looks up the Internet FQDNs of a policy (DNS-INTERNET-FQDN)."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator, Sequence

from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.policy.addresses import address_text
from ibcm_bridge.policy.policy import Policy


def addresses_of(name: str) -> Sequence[str]:
    """Return the IP addresses of a name, as this machine resolves it. OSError if there are none."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label of more than 63 characters
        raise OSError(0, "not a host name") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def check_names(
    policy: Policy, resolve: Callable[[str], Sequence[str]] = addresses_of
) -> Iterator[Finding]:
    """One finding for each name, at the first listener that publishes it.

    A name that this machine cannot resolve is only a warning: it may use another DNS than clients
    on the Internet do.
    """
    places: dict[str, str] = {}
    for at, publication in policy.publications():
        places.setdefault(publication.name, f"{address_text(at)}: {publication.name}")
    for name, where in places.items():
        try:
            addresses = resolve(name)
        except OSError as error:
            text = f"cannot be resolved here ({error.strerror}); clients need it in public DNS"
            yield Finding(Level.WARNING, where, text, "DNS-INTERNET-FQDN")
        else:
            yield Finding(Level.FACT, where, f"resolves to {', '.join(map(_text, addresses))}")


def _text(address: str) -> str:
    return address if ipaddress.ip_address(address).is_global else f"{address} (not public)"
