"""A replayed flow would be sent without a decision, so the bridge does not send it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mitmproxy import command, exceptions
from mitmproxy.addons.clientplayback import ReplayHandler
from mitmproxy.addons.core import Core
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.http import HTTPFlow, Request
from mitmproxy.master import Master
from mitmproxy.options import Options
from mitmproxy.test import tflow

from ibcm_bridge.addons.bridge import Bridge
from ibcm_bridge.addons.run.master import BridgeMaster
from tests.addons.stand_ins.lab import Lab


@contextlib.asynccontextmanager
async def site_system() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A listening port, and the data received on each connection."""
    came: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], came


def flow_to(port: int) -> HTTPFlow:
    """A flow like one saved by `mitmdump -w`, over HTTP, so that TLS cannot prevent a replay."""
    flow = tflow.tflow(req=Request.make("GET", f"http://127.0.0.1:{port}/SMS_MP/.sms_aut?MPLIST"))
    flow.live = False
    return flow


async def replay(flow: HTTPFlow, options: Options) -> None:
    """Replay a flow as mitmproxy's ClientPlayback does."""
    await asyncio.wait_for(ReplayHandler(flow, options).replay(), 5)


def test_the_bridge_does_not_send_a_replayed_flow(lab: Lab, tmp_path: Path) -> None:
    async def tried() -> tuple[HTTPFlow, list[bytes]]:
        policy = dataclasses.replace(lab.policy, audit_file=tmp_path / "audit.jsonl")
        with contextlib.closing(Bridge(policy)) as bridge:
            master = BridgeMaster(bridge)
            async with site_system() as (port, came):
                flow = flow_to(port)
                await replay(flow, master.options)
            await bridge.generation.workers.stop()
            await master.done()
        return flow, came

    flow, came = asyncio.run(tried())
    assert came == []
    assert flow.error is not None
    assert "refused by the bridge" in flow.error.msg


def test_mitmproxy_itself_sends_a_replayed_flow() -> None:
    """Shows that the test above can fail."""

    async def tried() -> list[bytes]:
        master = Master(Options())
        master.addons.add(Core(), Proxyserver())
        async with site_system() as (port, came):
            await replay(flow_to(port), master.options)
        await master.done()
        return came

    (came,) = asyncio.run(tried())
    assert came.startswith(b"GET /SMS_MP/.sms_aut?MPLIST HTTP/1.1\r\n")


@pytest.mark.parametrize("name", ["replay.client", "replay.client.file", "replay.server"])
def test_the_bridge_has_no_command_that_replays(lab: Lab, tmp_path: Path, name: str) -> None:
    async def called() -> None:
        policy = dataclasses.replace(lab.policy, audit_file=tmp_path / "audit.jsonl")
        with contextlib.closing(Bridge(policy)) as bridge:
            master = BridgeMaster(bridge)
            try:
                with pytest.raises(exceptions.CommandError, match="Unknown command"):
                    master.commands.call(name, [tflow.tflow()])
                assert isinstance(master.commands, command.CommandManager)
            finally:
                await bridge.generation.workers.stop()
                await master.done()

    asyncio.run(called())
