"""Calls the hooks of one connection, guarded: any exception refuses and closes the connection.

mitmproxy logs an exception in a hook and continues as if the hook had not run. Here every
exception, including a panic of an extension module, becomes a defect, which the audit records. A
layer that can still send a refusal gets a `Deny`. Otherwise the hook's data is changed to a refusal
(`_WITHDRAW`), the connection is aborted, and the layer does not run again: it gets a `WaitFor` that
never ends.

A layer calls hooks from within its generator. A cancellation or an interrupt that was raised there
would end the layer's procedure, so it is only noted, and the connection handler raises it again
after the layer has stopped.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Mapping
from types import CoroutineType
from typing import Any

from mitmproxy.connection import Client
from mitmproxy.proxy import commands, server_hooks
from mitmproxy.tls import TlsData

from ibcm_bridge.addons.events import Defect, DefectHook
from ibcm_bridge.addons.server.hook_dispatch import Hooks, data_of
from ibcm_bridge.addons.stages import DECISIONS, Stage, WaitFor

logger = logging.getLogger(__name__)

MUST_RERAISE = (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)


def log_defect(where: str, error: BaseException) -> None:
    """Log the place and type of an exception. Its text may quote client data: debug level only."""
    trace = "".join(traceback.format_tb(error.__traceback__))
    logger.error("defect in %s: %s; refused\n%s", where, type(error).__name__, trace)
    logger.debug("exception text: %s", error)


def _withdraw_tls(data: TlsData) -> None:
    data.ssl_conn = None


def _withdraw_dial(data: server_hooks.ServerConnectionHookData) -> None:
    data.server.error = "refused by the bridge"


_WITHDRAW: Mapping[type[object], Callable[[Any], None]] = {
    TlsData: _withdraw_tls,
    server_hooks.ServerConnectionHookData: _withdraw_dial,
}
"""How to refuse in a hook's data, for the hooks whose data mitmproxy acts on."""

_LAYER_REFUSES = DECISIONS | {"requestheaders", "request", "responseheaders", "reply_shown"}
"""Hooks whose layer can still send a response. If one of these raises, the layer gets a Deny,
refuses and closes; if any other hook raises, the connection is aborted."""


class ConnectionHooks:
    """The hooks of one connection."""

    def __init__(self, hooks: Hooks, client: Client, abort: Callable[[], None]) -> None:
        """`abort` aborts the connection. Nothing that was queued may be sent after it."""
        self.has = hooks.has
        self._hooks = hooks
        self._client = client
        self._abort = abort
        self._interrupt: BaseException | None = None

    def call(self, called: commands.StartHook | Stage[Any]) -> Any:
        """Return the result of a hook or a decision; a `WaitFor` if there is none yet."""
        try:
            result = self._hooks.call(called)
        except BaseException as error:  # a panic passes `except Exception`
            return self._fail(called, error)
        return WaitFor(called, result) if isinstance(result, CoroutineType) else result

    async def wait(self, wait: WaitFor) -> Any:
        """Return the result that a `WaitFor` waits for. Raise cancellations and interrupts."""
        if wait.result is None:
            result: Any = wait
        else:
            try:
                result = await wait.result
            except BaseException as error:
                result = self._fail(wait.called, error)
        self.raise_interrupt()
        return result

    def raise_interrupt(self) -> None:
        """Raise the cancellation or interrupt that a hook raised, if any. Not for layers."""
        interrupt, self._interrupt = self._interrupt, None
        if interrupt is not None:
            raise interrupt

    def report(self, defect: Defect) -> None:
        """Call the defect hooks. Raises only cancellation and interrupts."""
        for function in self._hooks.of(DefectHook.name):
            try:
                function(defect)
            except MUST_RERAISE:
                raise
            except BaseException:
                logger.critical("a defect in %s could not be written to the audit", defect.where)

    def _fail(self, called: commands.StartHook | Stage[Any], error: BaseException) -> Any:
        """Report the defect. Return a Deny if the layer itself refuses; otherwise abort."""
        name = called.hook if isinstance(called, Stage) else called.name
        must_reraise = isinstance(error, MUST_RERAISE)
        # After a cancellation or interrupt the layer does not run again, not even to refuse.
        refused = name in _LAYER_REFUSES and not must_reraise
        defect = Defect(self._client, name, type(error).__name__, refused)
        if must_reraise:
            self._interrupt = error
        layer_refuses = False
        try:
            self.report(defect)
            log_defect(f"hook {name}", error)
            if isinstance(called, commands.StartHook):
                data = data_of(called)
                _WITHDRAW.get(type(data), lambda _: None)(data)
            layer_refuses = refused
        except MUST_RERAISE as interrupt:
            self._interrupt = interrupt
        finally:
            if not layer_refuses:
                self._abort()
        return defect.denial if layer_refuses else WaitFor(called, None)
