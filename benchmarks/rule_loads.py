"""`python -m benchmarks.rule_loads`: how long a bridge stops to load own YARA rules.

For a number of own rules, it compiles the shipped rules and them twice: all in one set, and in a
set of their own as the bridge does. Each row shows

- load: the load of the set whose rules have changed. It keeps the interpreter lock, so that it
  stops the event loop.
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

import yara_x

from benchmarks.comparison import message_request
from ibcm_bridge.inspection.engines import (
    SHIPPED,
    CompiledRules,
    RuleSource,
    YaraEngine,
    loaded,
    saved,
)
from ibcm_bridge.inspection.scan import read_and_scan
from ibcm_bridge.inspection.subject import Subject
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.policy_file import shipped_roles

NUMBERS = (8, 50, 100, 200, 250, 400, 1000, 2000)
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
    print(f"{'':9}{'in one set':>24}{'in a set of their own':>24}")
    print(f"{'rules':>9}{columns}{columns}")
    for number in options.numbers:
        own = _rules(KINDS[options.kind], number)
        # A file with the name of a shipped one is in the set of the shipped rules.
        one = CompiledRules([*_shipped(), (min(SHIPPED), own)])
        two = CompiledRules([*_shipped(), ("own.yar", own)])
        loads = _lowest([_load(one.sets[0].rules), _load(two.sets[1].rules)], LOADS)
        scans = _lowest([_scan(one, views), _scan(two, views)], SCANS)
        before, after = ((load * 1e3, scan * 1e6) for load, scan in zip(loads, scans, strict=True))
        print("{:9}{:12.1f}{:12.0f}{:12.1f}{:12.0f}".format(number, *before, *after))
    return 0


def _scan(compiled: CompiledRules, views: Sequence[bytes]) -> Callable[[], object]:
    engine = YaraEngine(compiled)
    return lambda: [engine.scan(view) for view in views]


def _load(rules: yara_x.Rules) -> Callable[[], object]:
    return partial(loaded, saved(rules))


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
