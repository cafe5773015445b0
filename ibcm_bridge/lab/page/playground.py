"""The policy of the lab, edited on the page: checked, applied to the running bridge, reset.

A policy that leaves the lab, that does not check or that the bridge does not reload changes
nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ibcm_bridge.lab.page.lab_limits import leaves_the_lab
from ibcm_bridge.lab.page.tools import Report, Tools

MAX_POLICY = 48_000
"""Characters of a policy; the lab's has 9,000."""

MAX_BRACKETS = 1_000
"""PyYAML takes quadratic time for brackets in brackets."""

EDITED_POLICY = "the policy"
"""The name of the action."""

_NO_CONTROL = (
    "the bridge of this lab has no control socket, so its policy cannot be reloaded: that needs "
    "Linux, and a runtime folder with a short path"
)

type Enqueue = Callable[[str, Callable[[], None]], None]
type Publish = Callable[[str, dict[str, Any]], None]


_LONGEST_PATH = 90
"""Bytes of the path of a socket; unix(7) has 107, and a temporary name is longer."""


def control_socket(folder: Path) -> Path | None:
    """Return where the bridge of a lab has its control socket; None if it cannot have one."""
    path = folder / "control.sock"
    usable = sys.platform == "linux" and len(os.fsencode(path.absolute())) <= _LONGEST_PATH
    return path if usable else None


class Playground:
    """The policy file of the running bridge."""

    def __init__(
        self,
        policy_file: Path,
        control: Path | None,
        tools: Tools,
        enqueue: Enqueue,
        publish: Publish,
        *,
        changed: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """`control` is the control socket of the bridge.

        `changed` is called after a reload; True if the policy is another than the lab's.
        """
        self._file = policy_file
        self._control = control
        self._tools = tools
        self._enqueue = enqueue
        self._publish = publish
        self._changed = changed
        self.own = policy_file.read_text("utf-8")
        """The lab's policy."""

    @property
    def edited(self) -> bool:
        """True if the bridge uses another policy than the lab's."""
        return self._file.read_text("utf-8") != self.own

    def shown(self) -> dict[str, Any]:
        """Return the policy in use."""
        return {"text": self._file.read_text("utf-8"), "edited": self.edited}

    def check(self, text: str) -> dict[str, Any]:
        """Return the findings of `check` on a policy."""
        return _shown(self._check(text))

    def apply(self, text: str) -> None:
        """Let the bridge use a policy, after the actions before it, and publish the outcome."""
        self._enqueue(EDITED_POLICY, partial(self._apply, text))

    def reset(self) -> None:
        """Let the bridge use the lab's policy again, and publish the outcome."""
        self._enqueue(EDITED_POLICY, self._reset)

    def _apply(self, text: str) -> None:
        report = self._check(text)
        if report.good:
            report = self._reload(text)
        self._publish("policy", {**_shown(report), "edited": self.edited, "text": text})

    def _reset(self) -> None:
        report = self._reload(self.own)
        self._publish("policy", {**_shown(report), "edited": self.edited, "text": self.own})

    def _check(self, text: str) -> Report:
        if len(text) > MAX_POLICY:
            return _refused([f"the policy has more than {MAX_POLICY:,} characters; shorten it"])
        if text.count("[") + text.count("{") > MAX_BRACKETS:
            return _refused([f"the policy has more than {MAX_BRACKETS:,} brackets; remove some"])
        try:
            source = text.encode("utf-8")
        except UnicodeEncodeError:
            return _refused([f"{self._file.name}: cannot be read: not UTF-8 text"])
        outside = leaves_the_lab(text, self.own, self._file.name)
        if outside:
            return _refused(outside)
        report = self._tools.check(self._file, source)
        # The folder is that of the lab, which the page names elsewhere.
        folder = f"{self._file.parent}{os.sep}"
        return Report(tuple(line.replace(folder, "") for line in report.lines), report.good)

    def _reload(self, text: str) -> Report:
        if self._control is None:
            return _refused([_NO_CONTROL])
        before = self._file.read_text("utf-8")
        self._write(text)
        report = self._tools.reload(self._control)
        if not report.good:
            # The bridge keeps the policy in use; a restart must find the same.
            self._write(before)
        self._changed(self.edited)
        return report

    def _write(self, text: str) -> None:
        new = self._file.with_name(f"{self._file.name}.new")
        new.write_text(text, "utf-8")
        new.replace(self._file)


def _refused(lines: list[str]) -> Report:
    number = f"{len(lines)} problem{'' if len(lines) == 1 else 's'}"
    return Report((*lines, f"{number}; the policy was not loaded"), good=False)


def _shown(report: Report) -> dict[str, Any]:
    return {"lines": list(report.lines), "good": report.good}
