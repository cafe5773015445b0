"""Runs the bridge as the lab does. A test can break one of its decisions while it runs.

    python breakable_bridge.py PORT run --config FILE

It connects to PORT on loopback, and receives the names of breaks; an empty name repairs it again.
"""

from __future__ import annotations

import functools
import importlib
import runpy
import sys
import threading
from multiprocessing.connection import Client, Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.conformance.twins import TWINS
from tests.lab.cases.breaks import BREAKS, Break

WAYS = BREAKS | TWINS

type Place = tuple[object, str]


def places_of(target: str) -> tuple[object, list[Place]]:
    """Return the original, and each place that refers to it: its importers have the name, too."""
    module, _, path = target.partition(":")
    *owners, name = path.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    original = getattr(owner, name)
    importers = [
        found
        for found in tuple(sys.modules.values())
        if found.__name__.startswith("ibcm_bridge") and getattr(found, name, None) is original
    ]
    return original, [(place, name) for place in (owner, *importers)]


def apply(broken: Break) -> tuple[object, list[Place]]:
    """Break the bridge; return what repairs it."""
    original, places = places_of(broken.target)
    replacement = broken.replacement(original)
    for owner, name in places:
        setattr(owner, name, replacement)
    return original, places


_Remembering = type(functools.lru_cache(lambda: None))


def forget() -> None:
    """Empty what the bridge remembers, as it has results of other decisions."""
    for name, module in tuple(sys.modules.items()):
        if name.startswith("ibcm_bridge"):
            for found in tuple(vars(module).values()):
                if isinstance(found, _Remembering):
                    found.cache_clear()


def obey(test: Connection[None, str]) -> None:
    """Break and repair the bridge on each message of the test, and acknowledge it.

    Several breaks at once have a `+` between their names.
    """
    broken: list[tuple[object, list[Place]]] = []
    while True:
        try:
            names = test.recv()
        except EOFError:
            return
        for original, places in reversed(broken):
            for owner, attribute in places:
                setattr(owner, attribute, original)
        broken = [apply(WAYS[name]) for name in names.split("+") if name]
        forget()
        test.send(None)


if __name__ == "__main__":
    port = int(sys.argv.pop(1))
    threading.Thread(target=obey, args=(Client(("127.0.0.1", port)),), daemon=True).start()
    runpy.run_module("ibcm_bridge.commands.child_process", run_name="__main__", alter_sys=True)
