"""The time limit of a statement in the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import psycopg

from ibcm_bridge.storage.postgresql import cut_of


@contextlib.asynccontextmanager
async def limited(connection: psycopg.AsyncConnection[Any], seconds: float) -> AsyncIterator[None]:
    """Shut down a connection after a time, in whatever statement it is.

    Raise Unresponsive then. psycopg would ask the server to cancel the statement, and wait.
    """
    with cut_of(connection, seconds) as cut:
        timer = asyncio.get_running_loop().call_later(seconds, cut)
        try:
            yield
        finally:
            timer.cancel()
