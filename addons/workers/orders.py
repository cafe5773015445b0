"""The orders of the parent to a worker: build a policy, take it, or drop it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from socket import recv_fds, socket
from typing import TYPE_CHECKING, NamedTuple

from ibcm_bridge.addons.operations.serving import OperationsSetup
from ibcm_bridge.addons.run.background import run_in_background
from ibcm_bridge.addons.run.reload import PolicyText, Prepared, Reload
from ibcm_bridge.addons.workers.process import report
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy_file import PolicyError

if TYPE_CHECKING:
    from ibcm_bridge.addons.workers.process import WorkerProcess

logger = logging.getLogger(__name__)

TAKE = b"take"
DROP = b"drop"

STOP_OPERATIONS = b"stop operations"
"""Another bridge serves scrapes and probes now. All workers stop then."""

PREPARED = "prepared"
"""The report of a worker that has built the policy. Any other report has its problems.

The first line of a report is the number of the reload.
"""

MOST_FILES = 250
"""Files that one message can carry (SCM_MAX_FD is 253)."""

MESSAGE_BYTES = 65_536


class Prepare(NamedTuple):
    """The order to build a policy."""

    number: int
    """The number of the reload."""
    text: PolicyText
    """All workers build the same."""
    sockets: Mapping[Address, Sequence[socket]]
    """The sockets of its new listeners."""

    def send_to(self, worker: WorkerProcess) -> None:
        """Send the texts as files in memory: they may be longer than a message."""
        with contextlib.ExitStack() as stack:
            texts = [_in_memory(text, stack) for text in self.text if text is not None]
            counts = [[*address, len(found)] for address, found in self.sockets.items()]
            files = [opened.fileno() for found in self.sockets.values() for opened in found]
            message = json.dumps([self.number, len(texts), counts])
            worker.order(message.encode(), [*texts, *files])

    @classmethod
    def received(cls, message: bytes, files: Sequence[int]) -> Prepare:
        """Return what `send_to` has sent."""
        number, texts, counts = json.loads(message)
        text = PolicyText(*map(_text_of, files[:texts]))
        opened = iter([socket(fileno=file) for file in files[texts:]])
        sockets = {
            (str(host), int(port)): [next(opened) for _ in range(count)]
            for host, port, count in counts
        }
        return cls(number, text, sockets)


def _in_memory(text: bytes, stack: contextlib.ExitStack) -> int:
    number = os.memfd_create("ibcm-bridge-policy")
    stack.callback(os.close, number)
    with os.fdopen(number, "wb", closefd=False) as file:
        file.write(text)
    return number


def _text_of(number: int) -> bytes:
    """Read a file in memory, and close it."""
    os.lseek(number, 0, os.SEEK_SET)
    with os.fdopen(number, "rb") as file:
        return file.read()


class Orders:
    """Receives the orders in a worker, on its event loop."""

    def __init__(
        self,
        parent: int,
        reload: Reload,
        read: Callable[[PolicyText], Policy],
        operations: OperationsSetup,
    ) -> None:
        self._channel = socket(fileno=os.dup(parent))
        self._channel.setblocking(False)
        self._parent = parent
        self._reload = reload
        self._read = read
        self._operations = operations
        self._building: asyncio.Task[Prepared | None] | None = None
        asyncio.get_running_loop().add_reader(self._channel, self._receive)

    def _receive(self) -> None:
        try:
            message, files, _, _ = recv_fds(self._channel, MESSAGE_BYTES, MOST_FILES)
        except BlockingIOError:
            return
        except ConnectionError:
            message = b""
        loop = asyncio.get_running_loop()
        if not message:
            # The parent was killed. The end of its other pipe stops this worker.
            loop.remove_reader(self._channel)
            self._channel.close()
        elif message == STOP_OPERATIONS:
            run_in_background(self._operations.stop_serving())
        elif message in (TAKE, DROP):
            self._ending = loop.create_task(self._end(take=message == TAKE))
        else:
            self._building = loop.create_task(self._build(Prepare.received(message, files)))

    async def _build(self, order: Prepare) -> Prepared | None:
        try:
            prepared = await self._reload.prepare(lambda: self._read(order.text), order.sockets)
        except PolicyError as error:
            _close(order)
            self._report(order, "\n".join(error.problems))
        except Exception as error:  # a defect must not stop the worker
            _close(order)
            logger.exception("defect in a reload")
            self._report(order, f"defect in the reload: {type(error).__name__}")
        else:
            self._report(order, PREPARED)
            return prepared
        return None

    def _report(self, order: Prepare, text: str) -> None:
        report(self._parent, f"{order.number}\n{text}".encode())

    async def _end(self, *, take: bool) -> None:
        building, self._building = self._building, None
        prepared = None if building is None else await building
        if take and prepared is not None:
            await self._reload.take(prepared)
        else:
            self._reload.drop(prepared)


def _close(order: Prepare) -> None:
    for sockets in order.sockets.values():
        for listener in sockets:
            listener.close()
