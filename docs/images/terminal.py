"""Records the demo on a terminal, and draws its output as SVG."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from html import escape

_CHARACTER, _LINE, _MARGIN = 7.8, 17, 12
_SEQUENCE = re.compile(r"\x1b\[(\d*)m")

STYLE = """
svg { background: #fff; }
text { font: 13px ui-monospace, "DejaVu Sans Mono", monospace; fill: #15191d; white-space: pre; }
.s1 { font-weight: 700; } .s31 { fill: #b00020; } .s32 { fill: #0a6b2d; } .s33 { fill: #855000; }
@media (prefers-color-scheme: dark) {
  svg { background: #14181c; } text { fill: #eceff2; }
  .s31 { fill: #ff8f9a; } .s32 { fill: #70d18d; } .s33 { fill: #f2b85f; }
}
"""


def recorded_demo(columns: int) -> list[str]:
    """Return the lines that `ibcm-bridge demo` prints on a terminal, with their colors."""
    reader, writer = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    output = bytearray()

    def read() -> None:
        # A terminal that nobody writes to ends with EIO.
        try:
            while block := os.read(reader, 65_536):
                output.extend(block)
        except OSError:
            pass

    reading = threading.Thread(target=read)
    reading.start()
    try:
        subprocess.run(
            [sys.executable, "-m", "ibcm_bridge", "demo"],
            stdout=writer,
            stderr=subprocess.DEVNULL,
            env=environment,
            check=True,
        )
    finally:
        os.close(writer)
        reading.join()
        os.close(reader)
    return output.decode().splitlines()


def drawn(lines: Sequence[str], columns: int) -> str:
    """Return the lines as SVG."""
    width, height = columns * _CHARACTER + 2 * _MARGIN, len(lines) * _LINE + 2 * _MARGIN
    texts = "".join(
        f'<text x="{_MARGIN}" y="{_MARGIN + _LINE * number - 4}" xml:space="preserve">'
        f"{''.join(_colored(line))}</text>"
        for number, line in enumerate(lines, 1)
        if line
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img">'
        f"<style>{STYLE}</style>{texts}</svg>\n"
    )


def _colored(line: str) -> Iterator[str]:
    """Yield spans; each column has its place, whatever the width of the font."""
    text, *rest = _SEQUENCE.split(line)
    at = 0
    for kind, part in (("0", text), *zip(rest[::2], rest[1::2], strict=True)):
        if part:
            length = (
                f'x="{_MARGIN + at * _CHARACTER:.1f}" textLength="{len(part) * _CHARACTER:.1f}"'
            )
            yield f'<tspan class="s{kind or 0}" {length}>{escape(part)}</tspan>'
        at += len(part)
