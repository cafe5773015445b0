"""The tables of `beside`, from its document: for a terminal of 80 columns, and for a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks import beside, steady
from benchmarks.comparison import BRIDGE, MEBIBYTE, MITMDUMP
from benchmarks.goals import Run, judged, number
from benchmarks.peers.programs import PEERS

PROXIES = (BRIDGE, MITMDUMP, *(peer.name for peer in PEERS))

_ROWS = (
    ("CCM_POST 3 KB, signed: us", beside.MESSAGE, beside.PER_REQUEST),
    ("new mTLS connection: ms", beside.NEW, beside.PER_CONNECTION),
    ("  peer resumes its leg: ms", beside.RESUMED, beside.PER_CONNECTION),
    ("  resumed by the client: ms", beside.RETURNING, beside.PER_CONNECTION),
    ("download: s per GiB", beside.DOWNLOAD, beside.PER_GIBIBYTE),
    ("tunnel: s per GiB", beside.TUNNEL, beside.PER_GIBIBYTE),
)


def text(document: dict[str, Any]) -> str:
    """Everything, for a terminal."""
    lines = [
        *(f"{name}: {value}" for name, value in conditions(document).items()),
        "",
        f"{'CPU time, median of the rounds':30}" + "".join(f"{name:>8}" for name in _short()),
        *(
            f"{label:30}" + "".join(f"{cell:>8}" for cell in cells)
            for label, cells in _cpu(document)
        ),
        "",
        f"{'':36}{'goal':>16}{'measured':>12}",
        *(
            f"{work:36}{goal:>16}{measured:>12}  {verdict}"
            for work, goal, measured, verdict in judged(document)
        ),
    ]
    return "\n".join(line.rstrip() for line in lines)


def page(document: dict[str, Any]) -> str:
    """Both tables and the conditions, as Markdown."""
    lines = [
        f"| CPU time, median of the rounds | {' | '.join(PROXIES)} |",
        "|---|" + "---|" * len(PROXIES),
        *(f"| {label.strip()} | {' | '.join(cells)} |" for label, cells in _cpu(document)),
        "",
        "| | goal | measured | |",
        "|---|---|---|---|",
        *(f"| {' | '.join(cell.strip() for cell in row)} |" for row in judged(document)),
        "",
        "| condition | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in conditions(document).items()),
    ]
    return "\n".join(lines) + "\n"


def conditions(document: dict[str, Any]) -> dict[str, str]:
    """What the results depend on."""
    plan, run = document["plan"], Run(document)
    held = {
        name: run.median(steady.STEADY, name)
        for name in (steady.MESSAGES, steady.CONNECTIONS, steady.SECONDS, steady.PROCESSES)
    }
    return {
        **document["conditions"],
        **document["peers"],
        "rounds, and rounds of downloads": f"{plan['rounds']}, {plan['downloads']}",
        "size of a download": f"{plan['download_bytes'] // MEBIBYTE} MiB",
        "connected clients": f"{document['clients']:,}",
        **{
            f"highest rate: {name}": number(value)
            for name, value in held.items()
            if value is not None
        },
    }


def _short() -> Iterator[str]:
    return (name.replace("mitmdump", "mitmd.") for name in PROXIES)


def _cpu(document: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    run = Run(document)
    for label, load, name in _ROWS:
        values = (run.median(load, name, proxy) for proxy in PROXIES)
        yield label, ["-" if value is None else number(value) for value in values]
