"""Network namespaces: where the lab's sockets are made and its processes run.

By default all is in the one namespace that there is anyway, on loopback. `perimeter.firewall` makes
others.
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
    """One; `address` is where its host listens. Without a name it is where this process is.

    A container is one, too, for what runs in it.
    """

    name: str = ""
    address: str = "127.0.0.1"

    @property
    def own(self) -> bool:
        """Whether it is the lab's alone, so that ports can be those of the tables."""
        return self != HERE

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """A socket that this thread makes meanwhile belongs to the namespace, wherever it is used.

        setns(2), which is for the calling thread alone.
        """
        if not self.name:
            yield
            return
        if sys.platform != "linux":
            raise OSError("only Linux has network namespaces")
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
        """What stands before a command that is to run there."""
        return ("ip", "netns", "exec", self.name) if self.name else ()


HERE = Namespace()


class Namespaces(NamedTuple):
    """The three networks of a perimeter."""

    internet: Namespace = HERE
    perimeter: Namespace = HERE
    intranet: Namespace = HERE


NO_NAMESPACES = Namespaces()
