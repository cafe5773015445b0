"""Network namespaces for the sockets and processes of the lab.

By default all parts use loopback in the current namespace. `perimeter.firewall` creates others.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Namespace:
    """A network namespace, and the address of its host. Without a name: the current namespace.

    A container is also a namespace for the processes in it.
    """

    name: str = ""
    address: str = "127.0.0.1"

    @property
    def own(self) -> bool:
        """True if only the lab uses the namespace, so that the ports of the tables are free."""
        return self != HERE

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Create sockets in the namespace; they stay in it.

        Uses setns(2), which affects only the calling thread.
        """
        if not self.name:
            yield
            return
        if sys.platform != "linux":
            raise OSError("network namespaces need Linux")
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
            try:
                os.setns(there, os.CLONE_NEWNET)
            finally:
                os.close(there)
            try:
                yield
            finally:
                os.setns(own, os.CLONE_NEWNET)
        finally:
            os.close(own)

    @property
    def command(self) -> tuple[str, ...]:
        """The prefix that runs a command in the namespace."""
        return ("ip", "netns", "exec", self.name) if self.name else ()


HERE = Namespace()


class Namespaces(NamedTuple):
    """The three networks of a perimeter."""

    internet: Namespace = HERE
    perimeter: Namespace = HERE
    intranet: Namespace = HERE


NO_NAMESPACES = Namespaces()
