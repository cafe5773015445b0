"""The handlers for what passed the wire: as JSON, and as a file for Wireshark."""

from __future__ import annotations

import asyncio
from typing import Any

from tornado.web import HTTPError

from ibcm_bridge.lab.page.captures import Missing, Path
from ibcm_bridge.lab.page.controller import CASES, Controller
from ibcm_bridge.lab.page.handlers import ByAddress, Guarded
from ibcm_bridge.lab.page.wire_view import wire_view


class WireHandler(Guarded):
    """What a sniffer reads in a case, and which captures there are."""

    async def get(self, case: str) -> None:
        """Send JSON."""
        if case not in CASES:
            raise HTTPError(404, log_message="Unknown case.")
        self.json(await asyncio.to_thread(_shown, self.controller, case))


def _shown(controller: Controller, case: str) -> dict[str, Any]:
    """Return the message, and for each path why there is no capture, or what is in it."""
    shown: dict[str, Any] = {"message": controller.messages.get(case)}
    for path in Path:
        try:
            wire = controller.captures.wire(case, path)
        except Missing as missing:
            shown[path] = {"missing": str(missing)}
            continue
        # The bridge decrypts its legs, so their bytes are not the lesson.
        shown[path] = {"missing": ""} | ({} if path is Path.BRIDGE else wire_view(wire))
    return shown


class CaptureHandler(ByAddress):
    """A capture as a file."""

    async def get(self, case: str, path: str) -> None:
        """Send the file; 404 with a sentence if there is none."""
        if case not in CASES or path not in list(Path):
            raise HTTPError(404, log_message="Unknown case or path.")
        try:
            wire = self.controller.captures.wire(case, Path(path))
        except Missing as missing:
            raise HTTPError(404, log_message=str(missing)) from None
        self.set_header("Content-Type", "application/x-pcapng")
        self.set_header("Content-Disposition", f'attachment; filename="{case}-{path}.pcapng"')
        await self.finish(await asyncio.to_thread(lambda: wire.pcapng))
