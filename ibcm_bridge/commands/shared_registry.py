"""The bindings in the database of a policy, for a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibcm_bridge.policy.policy import StateDatabase
    from ibcm_bridge.storage.postgresql_stores import SharedRegistry


def shared_registry(state: StateDatabase, *, creates: bool = False) -> SharedRegistry:
    """Open it. A change may take as long as it needs. Raise RegistryError.

    A database without tables is an error, unless this `creates` them.
    """
    # psycopg is an extra, which a policy without `state` does not need.
    from ibcm_bridge.storage.postgresql_stores import SharedRegistry

    return SharedRegistry(state, limit_seconds=None, creates=creates)
