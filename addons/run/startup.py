"""How a bridge starts: on new sockets, on those of systemd, or in place of a running bridge."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from ibcm_bridge.addons.run.control import Control, Controlled, Readers, Say
from ibcm_bridge.addons.run.control_client import Takeover
from ibcm_bridge.addons.run.control_socket import ControlError, ControlSocket
from ibcm_bridge.addons.run.handover import Inherited


def _say_nothing(_text: str, _level: int) -> None:
    pass


def _never() -> bool:
    return False


@dataclass(slots=True)
class Startup:
    """The sockets of a bridge before it serves. They are closed by `close`."""

    inherited: Inherited = field(default_factory=lambda: Inherited({}))
    takeover: Takeover | None = None
    """The bridge that this one replaces."""
    place: ControlSocket | None = None
    say: Say = _say_nothing
    reload_asked: Callable[[], bool] = _never
    """Whether SIGHUP asked for a reload after the policy was read, before the bridge handled it."""
    _control: Control | None = None

    def control(self, controlled: Controlled, readers: Readers) -> None:
        """Carry out the orders of the control socket from now on."""
        if self.place is not None:
            self._control = Control(self.place, controlled, readers, self.say)

    def finish(self) -> None:
        """Let the bridge that is replaced drain, and name the control socket. Never raises.

        This bridge must serve already. It waits for the reply of the other one.
        """
        if self.takeover is not None:
            pid = self.takeover.pid
            try:
                self.takeover.finish()
            except ControlError as error:
                self.say(f"{error}; stop process {pid}, which may still serve too", logging.ERROR)
            else:
                self.say(f"has taken over from process {pid}", logging.INFO)
        if self.place is not None:
            try:
                self.place.publish()
            except OSError as error:
                text = f"{self.place} cannot be made: {error.strerror}; reload by SIGHUP"
                self.say(f"--control: {text}", logging.ERROR)

    def close(self) -> None:
        """Accept no further orders. A bridge that this one was to replace goes on."""
        if self._control is not None:
            self._control.close()
        elif self.place is not None:
            self.place.close()
        if self.takeover is not None:
            self.takeover.close()

    def close_in_worker(self) -> None:
        """Close what only the parent uses, in a process that was forked."""
        if self._control is not None:
            self._control.close_in_worker()
        elif self.place is not None:
            self.place.listener.close()
        if self.takeover is not None:
            self.takeover.close()
