"""A process that a benchmark starts and stops."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parent.parent
STOP_SECONDS = 15.0


class Child:
    """A process that exchanges lines, and is terminated at the end of the block."""

    def __init__(self, command: Sequence[str | Path], output: Path | None = None) -> None:
        """`output` gets standard output and standard error; without it, `read_line` reads."""
        self.command = [str(part) for part in command]
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(output.open("wb")) if output else None
            self._process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=file or subprocess.PIPE,
                stderr=file,
                text=True,
                encoding="utf-8",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if the process does not end."""
        self._process.terminate()
        try:
            self._process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def write_line(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def read_line(self) -> str:
        """Read a line from its standard output. RuntimeError if the process has ended."""
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise RuntimeError(f"a process has ended: {self._process.args!r}")
        return line.strip()
