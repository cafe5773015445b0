"""Which addons a hook calls, in order."""

from __future__ import annotations

import collections
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from mitmproxy.hooks import all_hooks

Hook = Callable[[Any], Awaitable[None] | None]


class Hooks:
    """Which functions are called for which hook; the addons' methods, found once."""

    def __init__(self, addons: Sequence[object]) -> None:
        self._by_name: dict[str, list[Hook]] = collections.defaultdict(list)
        for addon in addons:
            for name in all_hooks.keys() & set(dir(addon)):
                self._by_name[name].append(getattr(addon, name))

    def of(self, name: str) -> Sequence[Hook]:
        """The functions for a hook, in the order of the addons."""
        return self._by_name.get(name, ())
