"""The number of bindings that are kept, and what a broken connection means for them."""

from __future__ import annotations

from ibcm_bridge.addons.hooks.database.binding_cache import BindingCache
from tests.storage.test_binding_stores import numbered


def test_the_oldest_give_way() -> None:
    cache = BindingCache(lambda: 0.0, most=3)
    cache.begin()
    for number in (1, 2, 3, 1, 4):
        cache.keep([numbered(number)], cache.stamp)
    found = [number for number in range(5) if cache.find(numbered(number).guid) is not None]
    assert found == [1, 3, 4]


def test_nothing_is_kept_while_no_change_is_notified() -> None:
    cache = BindingCache(lambda: 0.0)
    cache.keep([numbered(1)], cache.stamp)
    assert cache.find(numbered(1).guid) is None
    cache.begin()
    cache.keep([numbered(1)], cache.stamp)
    cache.end()
    cache.keep([numbered(2)], cache.stamp)
    assert cache.find(numbered(1).guid) == numbered(1), "for the rest of its time"
    assert cache.find(numbered(2).guid) is None
    cache.begin()
    assert cache.find(numbered(1).guid) is None, "a notification can be missing"
