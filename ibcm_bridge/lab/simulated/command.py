"""`ibcm-bridge lab client`: one client of the lab that is up, scene by scene; or many at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from random import Random

from ibcm_bridge.lab.errors import LabError, in_one_sentence
from ibcm_bridge.lab.perimeter.runtime import (
    OTHER_FOLDER,
    running_state,
    runtime_folder,
    runtime_parent,
)
from ibcm_bridge.lab.simulated.client import ActionResult, Result
from ibcm_bridge.lab.simulated.fleet import MAKING, Fleet, Phase
from ibcm_bridge.lab.simulated.installation import Mode
from ibcm_bridge.lab.simulated.running_lab import RunningLab
from ibcm_bridge.lab.simulated.scenarios import SCENARIOS
from ibcm_bridge.storage.open_files import raise_open_file_limit


@dataclass(frozen=True)
class ClientOptions:
    """What the command line says. `count` is None for one client, scene by scene."""

    mode: Mode
    profile: str
    count: int | None
    polls: int
    at_once: int
    seed: int | None
    as_json: bool


def lab_client(options: ClientOptions) -> int:
    """The exit status: 0 when all went well."""
    raise_open_file_limit()
    try:
        folder = runtime_folder()
        lab = RunningLab.read(running_state(folder), folder / "lab")
        good = _one(lab, options) if options.count is None else _many(lab, options, options.count)
    except BrokenPipeError:
        raise  # whoever reads it has had enough
    except (LabError, OSError) as error:
        why = in_one_sentence(error, runtime_parent(), OTHER_FOLDER)
        print(f"ibcm-bridge lab: {why}", file=sys.stderr)
        return 1
    return 0 if good else 1


def _name(random: Random, number: int = 0) -> str:
    """No two runs have the same: the lab remembers who has registered."""
    return f"pc{number:04}-{random.randrange(16**6):06x}.corp.example"


# One


def _one(lab: RunningLab, options: ClientOptions) -> bool:
    random = Random(options.seed)
    client = lab.client(_name(random), options.mode, random, own_key=options.profile == "own-key")
    good = True
    try:
        if not options.as_json:
            print(f"{client.device.name}, {_MODES[options.mode]}; {_KEYS[options.profile]}.")
        for scenario in SCENARIOS[options.mode]:
            if not options.as_json:
                print(f"\n{scenario.title} ({scenario.requirement})")
            for action in scenario.play(client, lab):
                good = good and action.result is not Result.FAILED
                print(
                    _json(scenario.title, action) if options.as_json else _line(action), flush=True
                )
    finally:
        client.close()
    if not options.as_json:
        print(f"\n{_VERDICT[good]}.")
    return good


_MODES = {
    Mode.INTERNET_ONLY: "only ever on the Internet",
    Mode.BOTH: "on the Internet and in the intranet (CLIENT-MODE)",
}
_KEYS = {
    "pki": "signs with the key of its TLS certificate",
    "own-key": "signs with a key of its own",
}
_VERDICT = {True: "All went well", False: "Not all went well"}
_MARKS = {Result.GOOD: "", Result.FELL_BACK: "  (next best)", Result.FAILED: "  FAILED"}


def _line(action: ActionResult) -> str:
    where = f"  {action.network:<9} {action.site_system:<25} {action.what:<38}"
    milliseconds = action.seconds * 1000
    return f"{where} {milliseconds:6.1f} ms  {action.answer}{_MARKS[action.result]}"


def _json(scenario: str, action: ActionResult) -> str:
    return json.dumps({"scene": scenario, **asdict(action), "seconds": round(action.seconds, 6)})


# Many


def _many(lab: RunningLab, options: ClientOptions, count: int) -> bool:
    seeds = Random(options.seed)
    randoms = [Random(seeds.random()) for _ in range(count)]
    own_key = options.profile == "own-key"

    fleet = Fleet(
        lambda number: lab.client(
            _name(randoms[number], number), options.mode, randoms[number], own_key=own_key
        ),
        count,
        options.at_once,
        _Progress(count),
    )
    phases: list[Phase] = []
    try:
        if not options.as_json:
            print(f"{_count(count, options.at_once)}; {_MODES[options.mode]}; each", end=" ")
            print(f"{_KEYS[options.profile]}.\n\n{_HEAD}")
        for phase in fleet.run(options.polls):
            phases.append(phase)
            print(_phase_json(phase) if options.as_json else _phase_line(phase), flush=True)
    finally:
        fleet.close()
    _tell_failures(phases)
    good = not any(phase.failures for phase in phases)
    if phases[-1].clients == phases[-1].failures.total():
        print("Nobody was answered any more: has the lab ended?", file=sys.stderr)
    if not options.as_json:
        print(f"\n{_VERDICT[good]}.")
    return good


def _count(count: int, at_once: int) -> str:
    if count <= at_once:
        return f"{count:,} client{'' if count == 1 else 's'}"
    return f"{count:,} clients, of which {at_once} speak at a time"


class _Progress:
    """A line that counts, on a terminal; nothing anywhere else."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._shown = sys.stderr.isatty()

    def __call__(self, phase: str, done: int) -> None:
        if not self._shown:
            return
        end = done == self._count
        text = " " * 60 if end else f"{phase}: {done:,} of {self._count:,}"
        print(f"\r{text:<60}", end="\r" if end else "", file=sys.stderr, flush=True)


_COLUMNS = ("clients", "failed", "seconds", "per second", "median", "90 %", "99 %", "longest")
_HEAD = "  ".join((f"{'':<20}", *(f"{column:>10}" for column in _COLUMNS)))


def _phase_line(phase: Phase) -> str:
    cells = [
        f"{phase.clients:,}",
        f"{phase.failures.total():,}",
        f"{phase.seconds:.1f}",
        f"{len(phase.waited) / phase.seconds:.0f}",
        *(f"{1000 * seconds:.0f} ms" for seconds in _percentiles(phase)),
    ]
    return "  ".join((f"{phase.name:<20}", *(f"{cell:>10}" for cell in cells)))


def _phase_json(phase: Phase) -> str:
    names = ("median", "p90", "p99", "longest")
    waits = dict(zip(names, (round(seconds, 6) for seconds in _percentiles(phase)), strict=False))
    facts = {"phase": phase.name, "clients": phase.clients, "failures": dict(phase.failures)}
    return json.dumps({**facts, "seconds": round(phase.seconds, 3), **waits})


def _percentiles(phase: Phase) -> list[float]:
    """Of who waited for an answer; making keys is nobody's answer."""
    waited = phase.waited and phase.name != MAKING
    return [phase.percentile(percent) for percent in (50, 90, 99, 100)] if waited else []


def _tell_failures(phases: Sequence[Phase]) -> None:
    for phase in phases:
        for what, count in phase.failures.most_common():
            print(f"  {phase.name}: {count:,} times {what}", file=sys.stderr)
