"""Calls the addons for each hook, and for each decision on a stage of a request, in order."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from types import CoroutineType
from typing import Any

from mitmproxy.hooks import all_hooks
from mitmproxy.proxy import commands

from ibcm_bridge.addons.stages import DECISIONS, Stage
from ibcm_bridge.decisions.denial import Deny

Hook = Callable[[Any], Any]
"""A function that takes a hook's data and may be async, or one that decides on a stage."""


class Hooks:
    """The functions to call for each hook: the addons' methods, looked up once."""

    def __init__(self, addons: Sequence[object], observers: Sequence[object] = ()) -> None:
        """The addons in `observers` are called last and never decide."""
        self._by_name: dict[str, list[Hook]] = collections.defaultdict(list)
        every_hook = all_hooks.keys() | DECISIONS
        for names, called in ((every_hook, addons), (all_hooks.keys(), observers)):
            for addon in called:
                for name in names & set(dir(addon)):
                    self._by_name[name].append(getattr(addon, name))

    def of(self, name: str) -> Sequence[Hook]:
        """Return the functions for a hook, in the order of the addons."""
        return self._by_name.get(name, ())

    def has(self, name: str) -> bool:
        """Return whether anything is called for a hook."""
        return bool(self._by_name.get(name))

    def call(self, called: commands.StartHook | Stage[Any]) -> Any:
        """Call the functions; return the result or an awaitable. Exceptions propagate."""
        if isinstance(called, Stage):
            return _decide(called, self.of(called.hook))
        return _notify(data_of(called), self.of(called.name))


def _decide(known: Any, deciders: Sequence[Hook]) -> Any:
    for index, decide in enumerate(deciders):
        known = decide(known)
        if isinstance(known, CoroutineType):
            return _decide_later(known, deciders[index + 1 :])
        if isinstance(known, Deny):
            break
    return known


async def _decide_later(waiting: Awaitable[Any], deciders: Sequence[Hook]) -> Any:
    known = await waiting
    decided = known if isinstance(known, Deny) else _decide(known, deciders)
    return await decided if isinstance(decided, CoroutineType) else decided


def _notify(data: Any, functions: Sequence[Hook]) -> Coroutine[Any, Any, None] | None:
    for index, function in enumerate(functions):
        waiting = function(data)
        if waiting is not None:
            return _notify_later(waiting, data, functions[index + 1 :])
    return None


async def _notify_later(waiting: Awaitable[None], data: Any, functions: Sequence[Hook]) -> None:
    await waiting
    for function in functions:
        more = function(data)
        if more is not None:
            await more


def data_of(hook: commands.StartHook) -> Any:
    """Return the argument of a hook."""
    return getattr(hook, _argument(type(hook)))  # type: ignore[arg-type]


@functools.cache
def _argument(kind: type[commands.StartHook]) -> str:
    """Return the name of a hook's only field. mitmproxy looks it up again for every hook."""
    (field,) = dataclasses.fields(kind)  # type: ignore[arg-type]
    return field.name
