"""The handlers for requests and policies that a person edits, and for scenes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tornado.web import HTTPError

from ibcm_bridge.lab.page.edits import Edit
from ibcm_bridge.lab.page.handlers import Guarded


class _Given(Guarded):
    """A handler with JSON data."""

    def given(self) -> dict[str, Any]:
        """Return the data of the request; 400 if it has none."""
        try:
            given = json.loads(self.request.body)
        except ValueError:
            raise HTTPError(400, log_message="Wrong parameters.") from None
        if not isinstance(given, dict):
            raise HTTPError(400, log_message="Wrong parameters.")
        return given

    def edit(self) -> Edit:
        """Return the edited request; 400 if it has another shape."""
        try:
            return Edit.read(self.given())
        except (KeyError, TypeError, ValueError):
            raise HTTPError(400, log_message="Wrong parameters.") from None


class EditHandler(Guarded):
    """The parts of a case that can be edited."""

    async def get(self, case: str) -> None:
        """Send JSON."""
        try:
            # Some bodies take long to create.
            parts = await asyncio.to_thread(self.controller.edits.editor, case)
        except KeyError:
            raise HTTPError(404, log_message="Unknown case.") from None
        self.json(parts)


class ExplainHandler(_Given):
    """The words of `explain` on an edited request."""

    async def post(self) -> None:
        """Send JSON."""
        self.json(await asyncio.to_thread(self.controller.edits.explain, self.edit()))


class TryHandler(_Given):
    """Sends an edited request both ways."""

    async def post(self) -> None:
        """Send the words of `explain`; the result is an event."""
        self.json(await asyncio.to_thread(self.controller.edits.send, self.edit()))


class PolicyHandler(_Given):
    """The policy in use, and the findings of `check` on an edited one."""

    def get(self) -> None:
        """Send JSON."""
        self.json(self.controller.playground.shown())

    async def post(self) -> None:
        """Send JSON."""
        text = self.given().get("text")
        if not isinstance(text, str):
            raise HTTPError(400, log_message="Wrong parameters.")
        self.json(await asyncio.to_thread(self.controller.playground.check, text))


class ScenesHandler(Guarded):
    """The last run of each scene."""

    def get(self) -> None:
        """Send JSON."""
        self.json(self.controller.scenes.shown())
