"""`lab up --netns`: three network namespaces with a firewall (Linux, as root).

    internet 192.0.2.2 --- 192.0.2.1 perimeter 198.51.100.1 --- 198.51.100.2 intranet

The perimeter is the default gateway of both sides, and its rules refuse all other traffic. The
addresses are those for documentation (RFC 5737). None of the namespaces has a route elsewhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from textwrap import dedent

from ibcm_bridge.lab.errors import LabError
from ibcm_bridge.lab.namespaces import Namespace, Namespaces
from ibcm_bridge.lab.site_systems.second_site import SECOND_SITE
from ibcm_bridge.lab.site_systems.stand_ins import STAND_INS

PUBLISHED_PORTS = (443, 8531, 80)
"""The ports of the bridge, in the order of `process.Listen.ports`."""

INTERNET_SIDE = "192.0.2.1"
"""The perimeter's address on the Internet side."""

NAMESPACES = Namespaces(
    Namespace("internet", "192.0.2.2"),
    Namespace("perimeter", "198.51.100.1"),
    Namespace("intranet", "198.51.100.2"),
)
NAMES = tuple(namespace.name for namespace in NAMESPACES)

_SITE_SYSTEMS = ", ".join(
    str(stand_in.port) for stand_in in (*STAND_INS.values(), *SECOND_SITE.values())
)

RULES = dedent(f"""\
    table inet perimeter {{
        chain input {{
            type filter hook input priority filter; policy drop;
            iif lo accept
            ct state established,related accept
            iifname internet tcp dport {{ {", ".join(map(str, PUBLISHED_PORTS))} }} accept
            reject with icmpx admin-prohibited
        }}
        chain forward {{
            type filter hook forward priority filter; policy drop;
            reject with icmpx admin-prohibited
        }}
        chain output {{
            type filter hook output priority filter; policy drop;
            oif lo accept
            ct state established,related accept
            oifname intranet ip daddr {NAMESPACES.intranet.address} \
tcp dport {{ {_SITE_SYSTEMS} }} accept
            reject with icmpx admin-prohibited
        }}
    }}
    """)
"""Sends ICMP admin-prohibited (RFC 1812 5.2.7.1), so that a client does not wait for a timeout."""


_MANAGEMENT_POINT = f"{NAMESPACES.intranet.address}:{STAND_INS['management-point'].port}"

COMMANDS = (
    (
        "The Internet cannot reach the management point directly.",
        f"ip netns exec internet curl -sS --max-time 5 -k https://{_MANAGEMENT_POINT}/",
    ),
    (
        "The perimeter can: the management point requires a client certificate (403).",
        f"ip netns exec perimeter curl -sSi --max-time 5 -k https://{_MANAGEMENT_POINT}/SMS_MP/",
    ),
    ("The firewall rules.", "ip netns exec perimeter nft list ruleset"),
)
"""Purpose and command line, for the summary of the lab."""


def refusal() -> str:
    """Return why namespaces are not available, with a solution; empty if they are."""
    if sys.platform != "linux":
        return "--netns needs Linux; omit it"
    if os.geteuid() != 0:
        return "--netns needs root: sudo ibcm-bridge lab up --netns, or omit it"
    for tool, package in (("ip", "iproute2"), ("nft", "nftables")):
        if shutil.which(tool) is None:
            return f"--netns needs {tool}: install {package}, or omit --netns"
    return ""


def existing() -> list[str]:
    """Return the names of the lab that existing namespaces have."""
    return [name for name in NAMES if Path("/run/netns", name).exists()]


def build(record: Callable[[list[str]], None] = lambda _: None) -> None:
    """Create the namespaces. LabError if that fails.

    `record` is called with the names before each one is created, for `remove`.
    """
    made: list[str] = []
    for name in NAMES:
        record([*made, name])
        try:
            _ip("netns", "add", name)
        except LabError:
            # Another program may have created it a moment ago.
            record(made)
            raise
        made.append(name)
    for namespace in NAMESPACES:
        _run_in(namespace.name, "ip", "link", "set", "lo", "up")
        _set_sysctl(namespace, "net/ipv6/conf/all/disable_ipv6", "1")
    internet, perimeter, intranet = NAMESPACES
    _link(internet, INTERNET_SIDE)
    _link(intranet, perimeter.address)
    _set_sysctl(perimeter, "net/ipv4/ip_forward", "1")
    # By default the kernel sends a peer six of them at once, then one a second (icmp(7)). A scene
    # that is played twice would wait for a timeout instead.
    _set_sysctl(perimeter, "net/ipv4/icmp_ratelimit", "0")
    _run_in(perimeter.name, "nft", "-f", "-", text=RULES)


def remove(names: Iterable[str] = NAMES) -> None:
    """Remove the existing namespaces. The kernel frees them when their last process ends."""
    for name in names:
        if name in existing():
            _ip("netns", "del", name)


def _link(side: Namespace, perimeter: str) -> None:
    """Connect one side to the perimeter, which gets this address.

    Each interface has the name of the namespace at its other end.
    """
    middle = NAMESPACES.perimeter.name
    other_end = ("peer", "name", side.name, "netns", middle)
    _ip("link", "add", middle, "netns", side.name, "type", "veth", *other_end)
    for where, end, address in ((side.name, middle, side.address), (middle, side.name, perimeter)):
        _run_in(where, "ip", "address", "add", f"{address}/24", "dev", end)
        _run_in(where, "ip", "link", "set", end, "up")
    _run_in(side.name, "ip", "route", "add", "default", "via", perimeter)


def _set_sysctl(namespace: Namespace, key: str, value: str) -> None:
    """Set a kernel parameter without sysctl(8), which is not always installed."""
    with namespace.inside():
        Path("/proc/sys", key).write_text(value, "ascii")


def _ip(*arguments: str) -> None:
    _run(("ip", *arguments))


def _run_in(name: str, *command: str, text: str = "") -> None:
    _run(("ip", "netns", "exec", name, *command), text)


def _run(command: Sequence[str], text: str = "") -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[0]
        raise LabError(
            f"cannot create network namespaces ({' '.join(command)}: {reason}); omit --netns"
        )
