"""An open load: messages and new connections at fixed rates, from a separate process.

A request is due at a fixed time, however late the ones before are. Its latency counts from that
time, so a proxy that is slow cannot delay the requests that would show it.

The process reads one job per line from standard input (`OpenJob`, as JSON), opens the connections
for messages, prints `ready`, and waits for a line. It then does the job, and prints the result
(`Latencies`, as JSON).
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import ssl
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

from benchmarks.load import client_context

LIMIT = 1_048_576
"""The largest response head, in bytes."""

LAST_SECONDS = 10.0
"""How long the last responses may take. Later ones are errors."""


@dataclass(frozen=True)
class OpenJob:
    """A load, and the proxy that gets it."""

    port: int
    server_name: str
    message: str
    """A message as on the wire, decoded as Latin-1. Kept connections carry it."""
    small: str
    """The request on a new connection."""
    messages: float
    connections: float
    """Messages and new connections per second."""
    seconds: float
    kept: int
    """Kept connections. Messages wait for a free one."""


@dataclass(frozen=True)
class Latencies:
    """The result, in seconds: of the median, of 99 %, and the longest."""

    requests: int
    errors: int
    median: float
    p99: float
    longest: float


def summary(latencies: Sequence[float], errors: int) -> Latencies:
    """The latencies of the requests that got a response."""
    ordered = sorted(latencies) or [0.0]

    def rank(part: float) -> float:
        return ordered[max(0, math.ceil(part * len(ordered)) - 1)]

    return Latencies(len(latencies) + errors, errors, rank(0.5), rank(0.99), ordered[-1])


class _Load:
    def __init__(self, job: OpenJob, context: ssl.SSLContext) -> None:
        self._job = job
        self._context = context
        self._message = job.message.encode("latin-1")
        self._small = job.small.encode("latin-1")
        self._kept: asyncio.Queue[_Streams] = asyncio.Queue()
        self._expected: dict[bytes, bytes] = {}
        self._latencies: list[float] = []
        self._errors = 0

    async def open(self) -> None:
        """Open the kept connections; the first response is the one that all must equal."""
        for _ in range(self._job.kept if self._job.messages else 0):
            streams = await self._connect()
            await self._exchange(streams, self._message)
            self._kept.put_nowait(streams)
        if self._job.connections:
            await self._new_connection()

    async def run(self) -> Latencies:
        """Do the job."""
        job, began = self._job, time.perf_counter() + 0.1
        works = ((job.messages, self._next_message), (job.connections, self._new_connection))
        async with asyncio.TaskGroup() as group:
            for rate, work in works:
                if rate:
                    group.create_task(self._send(rate, work, began))
        return summary(self._latencies, self._errors)

    async def _send(
        self, rate: float, work: Callable[[], Coroutine[None, None, None]], began: float
    ) -> None:
        tasks = set()
        for number in range(max(1, round(rate * self._job.seconds))):
            due = began + number / rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            tasks.add(asyncio.create_task(self._timed(work, due)))
        _, late = await asyncio.wait(tasks, timeout=LAST_SECONDS)
        for task in late:
            task.cancel()
        self._errors += len(late)

    async def _timed(self, work: Callable[[], Coroutine[None, None, None]], due: float) -> None:
        try:
            await work()
        except (OSError, EOFError, ValueError):
            self._errors += 1
        else:
            self._latencies.append(time.perf_counter() - due)

    async def _next_message(self) -> None:
        streams = await self._kept.get()
        try:
            await self._exchange(streams, self._message)
        except BaseException:
            streams[1].transport.abort()
            streams = await self._connect()
            raise
        finally:
            self._kept.put_nowait(streams)

    async def _new_connection(self) -> None:
        streams = await self._connect()
        try:
            await self._exchange(streams, self._small)
        finally:
            streams[1].close()

    async def _connect(self) -> _Streams:
        job = self._job
        return await asyncio.open_connection(
            "127.0.0.1", job.port, ssl=self._context, server_hostname=job.server_name, limit=LIMIT
        )

    async def _exchange(self, streams: _Streams, request: bytes) -> None:
        """Send a request. ValueError if the response is not as the first."""
        reader, writer = streams
        writer.write(request)
        if expected := self._expected.get(request):
            if await reader.readexactly(len(expected)) != expected:
                raise ValueError("unexpected response")
            return
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ValueError(f"refused: {head[:400]!r}")
        _, _, rest = head.lower().partition(b"\r\ncontent-length:")
        body = await reader.readexactly(int(rest.partition(b"\r\n")[0]))
        self._expected[request] = head + body


type _Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _do(job: OpenJob, context: ssl.SSLContext) -> Latencies:
    load = _Load(job, context)
    await load.open()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    return await load.run()


def main() -> None:
    """Run jobs until standard input ends."""
    context = client_context()
    for line in sys.stdin:
        done = asyncio.run(_do(OpenJob(**json.loads(line)), context))
        print(json.dumps(dataclasses.asdict(done)), flush=True)


if __name__ == "__main__":
    main()
