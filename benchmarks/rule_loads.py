"""`python -m benchmarks.rule_loads`: how long a bridge stops to load own YARA rules.

For a number of own rules, it compiles the shipped rules and them twice: in one set, and divided as
the bridge divides them (`ibcm_bridge.inspection.rule_parts`). Each row shows the number of sets and

- load: the longest load of a set whose rules have changed. A load keeps the interpreter lock, so
  that it stops the event loop.
- scan: a scan of the views of the message of `benchmarks.steps` with all sets, in microseconds.

All is the CPU time of the thread, the lowest of several repetitions: other processes hardly change
it. `--kind` chooses the own rules. Each has one pattern at most.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files

from benchmarks.comparison import message_request
from ibcm_bridge.inspection.engines import SHIPPED, CompiledRules, YaraEngine, loaded, saved
from ibcm_bridge.inspection.rule_parts import RuleSource
from ibcm_bridge.inspection.scan import read_and_scan
from ibcm_bridge.inspection.subject import Subject
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.policy_file import shipped_roles

NUMBERS = (8, 50, 100, 200, 256, 257, 400, 1000, 2000)
LOADS = 15
SCANS = 400

KINDS = {
    "text": 'strings: $a = "{0}" condition: $a',
    "nocase": 'strings: $a = "{0}" nocase condition: $a',
    "expression": "strings: $a = /{0}[a-z]+x/ condition: $a",
    "size": "condition: filesize == 0x{1}",
    "loop": 'strings: $a = "{0}" condition: for any i in (1..#a) : (@a[i] < 100)',
}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rule_loads", description=__doc__)
    parser.add_argument("numbers", type=int, nargs="*", default=NUMBERS, metavar="RULES")
    parser.add_argument("--kind", choices=KINDS, default="text")
    options = parser.parse_args()
    views = _views()
    print(f"{options.kind}: a scan of {len(views)} views, {sum(map(len, views)):,} bytes")
    columns = f"{'load, ms':>12}{'scan, us':>12}"
    print(f"{'':9}{'in one set':>24}{'as the bridge divides them':>33}")
    print(f"{'rules':>9}{columns}{'sets':>9}{columns}")
    for number in options.numbers:
        own = _rules(KINDS[options.kind], number)
        # Shipped rules are never divided.
        one = CompiledRules([*_shipped(), (min(SHIPPED), own)])
        divided = CompiledRules([*_shipped(), ("own.yar", own)])
        loads = _lowest([_longest(one), _longest(divided)], LOADS)
        scans = _lowest([_scan(one, views), _scan(divided, views)], SCANS)
        before, after = ((load * 1e3, scan * 1e6) for load, scan in zip(loads, scans, strict=True))
        cells = (number, *before, 1 + len(divided.own), *after)
        print("{:9}{:12.1f}{:12.0f}{:9}{:12.1f}{:12.0f}".format(*cells))
    return 0


def _scan(compiled: CompiledRules, views: Sequence[bytes]) -> Callable[[], object]:
    engine = YaraEngine(compiled)
    return lambda: [engine.scan(view) for view in views]


def _longest(compiled: CompiledRules) -> Callable[[], object]:
    """Loads the set that takes longest of those that change with the own rules."""
    sets = [saved(rules) for rules in compiled.own or [compiled.rules]]
    calls = [partial(loaded, data) for data in sets]
    times = _lowest(calls, 3)
    return calls[times.index(max(times))]


def _lowest(calls: Sequence[Callable[[], object]], times: int) -> list[float]:
    """The CPU time of the thread for each call, in seconds. They alternate."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(times):
        for call, values in zip(calls, taken, strict=True):
            began = time.thread_time()
            call()
            values.append(time.thread_time() - began)
    return [min(values) for values in taken]


class _Views:
    """An engine that keeps what it is to scan."""

    name = identity = "views"
    in_place = True

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    def scan(self, data: bytes, *, opened: bool = False) -> None:
        """Keep a view."""
        self.kept.append(data)


def _views() -> list[bytes]:
    _, _, body = message_request(None).partition(b"\r\n\r\n")
    views = _Views()
    subject = Subject(shipped_roles().bodies["ccm-message"], ccm.CONTENT_TYPE.encode(), body)
    read_and_scan(subject, [views])
    return views.kept


def _rules(rule: str, number: int) -> str:
    return "".join(
        f"rule own_{each} {{ {rule.format(*_values(each))} }}\n" for each in range(number)
    )


def _values(number: int) -> tuple[str, str]:
    """Fourteen letters, and digits, which no message has."""
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return "".join(chr(ord("a") + int(digit, 16)) for digit in digest[:14]), digest[:8]


def _shipped() -> list[RuleSource]:
    return [
        (file.name, file.read_text("utf-8"))
        for file in files("ibcm_bridge.config.rules").iterdir()
        if file.name.endswith(".yar")
    ]


if __name__ == "__main__":
    sys.exit(main())
