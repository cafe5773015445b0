"""The actions of a scene as text for a terminal, and as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict

from ibcm_bridge.lab.simulated.client import ActionResult, Result

WIDTH = 80
"""Columns of a terminal."""

_HELD = "\xa0"
"""A space of Unicode within a mark, at which a line does not end."""

_MARKS = {
    Result.GOOD: "",
    Result.FELL_BACK: f"(fell{_HELD}back)",
    Result.AS_REQUIRED: f"(as{_HELD}required)",
    Result.FAILED: "FAILED",
}


class ActionLines:
    """Writes each action below its network and site system, which stay the same for many."""

    def __init__(self) -> None:
        self._place = ""

    def of(self, action: ActionResult) -> str:
        """Return the lines of the next action."""
        return "\n".join(self._lines(action))

    def _lines(self, action: ActionResult) -> Iterator[str]:
        place = ", ".join(filter(None, (action.network, action.site_system))) or "client"
        if place != self._place:
            self._place = place
            yield f"  {place}"
        took = f"{1000 * action.seconds:8.1f} ms" if action.seconds else ""
        response = "  ".join(filter(None, (action.response, _MARKS[action.result])))
        line = f"    {action.action:<36}{took:<11}"
        if len(line) + 2 + len(response) <= WIDTH:
            yield f"{line}  {response}".rstrip().replace(_HELD, " ")
        else:
            yield line.rstrip()
            yield wrapped(response, 6).replace(_HELD, " ")
        if action.text:
            yield wrapped(action.text, 6)


def wrapped(text: str, indent: int = 0) -> str:
    """Return a text in lines of at most `WIDTH` columns."""
    margin = " " * indent
    return textwrap.fill(
        text, WIDTH, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False
    )


def action_json(scene: str, action: ActionResult) -> str:
    """Return an action as a JSON object in one line."""
    return json.dumps({"scene": scene, **asdict(action), "seconds": round(action.seconds, 6)})
