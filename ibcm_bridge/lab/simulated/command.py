"""`ibcm-bridge lab client --count`: many concurrent clients."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from ibcm_bridge.lab.errors import LabError, error_message
from ibcm_bridge.lab.perimeter.runtime import (
    EDITED_POLICY,
    FAULTS,
    OTHER_FOLDER,
    Runtime,
    running_state,
    runtime_folder,
    runtime_parent,
)
from ibcm_bridge.lab.simulated.fleet import MAKING, Fleet, Phase
from ibcm_bridge.lab.simulated.installation import Mode
from ibcm_bridge.lab.simulated.running_lab import RunningLab
from ibcm_bridge.lab.simulated.user import BOTH_ON, ClientSettings
from ibcm_bridge.storage.open_files import raise_open_file_limit


@dataclass(frozen=True)
class ClientOptions:
    """The options of the command line. `polls` and `at_once` are for many clients."""

    mode: Mode
    profile: str
    polls: int
    at_once: int
    seed: int | None
    as_json: bool
    scene: str | None = None
    """The name of a scene, or `all` or `list`; None for the usual scenes of a client."""
    settings: ClientSettings = BOTH_ON
    """For the scenes of users."""

    @property
    def client(self) -> str:
        """The mode and the key of a client, in words."""
        return f"{_MODES[self.mode]}; {_KEYS[self.profile]}"


STOPPED = "the lab has stopped in the meantime; start it again with: ibcm-bridge lab up"


def lab_clients(options: ClientOptions, count: int) -> int:
    """Run this many clients; return 0 if everything succeeded, else 1."""
    return in_running_lab(lambda lab: _many(lab, options, count))


def in_running_lab(run: Callable[[RunningLab], bool]) -> int:
    """Run something in this user's lab; return 0 if it returns True, else 1."""
    raise_open_file_limit()
    lab: RunningLab | None = None
    try:
        folder = runtime_folder()
        state = running_state(folder)
        lab = RunningLab.read(state, folder / "lab")
        for fault in state.get(FAULTS, ()):
            print(f"ibcm-bridge lab: fault on: {fault}; the page switches it off", file=sys.stderr)
        if state.get(EDITED_POLICY):
            print(
                "ibcm-bridge lab: this lab uses an edited policy; its page has Reset",
                file=sys.stderr,
            )
        good = run(lab)
    except BrokenPipeError:
        raise  # the reader closed the pipe
    except (LabError, OSError) as error:
        why = error_message(error, runtime_parent(), OTHER_FOLDER)
        if lab is not None and Runtime(folder).is_free():
            why = STOPPED
        print(f"ibcm-bridge lab: {why}", file=sys.stderr)
        return 1
    if not good and Runtime(folder).is_free():
        print(f"ibcm-bridge lab: {STOPPED}", file=sys.stderr)
    return 0 if good else 1


def _name(random: Random, number: int) -> str:
    """Return a new name for each run, because the lab stores registrations."""
    return f"pc{number:04}-{random.randrange(16**6):06x}.corp.example"


# Output


_MODES = {
    Mode.INTRANET_ONLY: "intranet-only",
    Mode.INTERNET_ONLY: "Internet-only",
    Mode.BOTH: "intranet and Internet (CLIENT-MODE)",
}
_KEYS = {
    "pki": "the key of the TLS certificate signs",
    "own-key": "a separate key signs",
}


# Many clients


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
            print(f"{_count(count, options.at_once)}; {options.client}.\n\n{_HEAD}")
        for phase in fleet.run(options.polls):
            phases.append(phase)
            print(_phase_json(phase) if options.as_json else _phase_line(phase), flush=True)
    finally:
        fleet.close()
    _print_failures(phases)
    good = not any(phase.failures for phase in phases)
    if phases[-1].clients == phases[-1].failures.total():
        print("All requests failed; check that the lab is still running.", file=sys.stderr)
    if not options.as_json:
        print("\nEverything succeeded." if good else "\nThere were failures.")
    return good


def _count(count: int, at_once: int) -> str:
    if count <= at_once:
        return f"{count:,} client{'' if count == 1 else 's'}"
    return f"{count:,} clients, {at_once} at a time"


class _Progress:
    """A progress line on stderr, if it is a terminal."""

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
    """Return the latency percentiles; none for the creation of keys."""
    waited = phase.waited and phase.name != MAKING
    return [phase.percentile(percent) for percent in (50, 90, 99, 100)] if waited else []


def _print_failures(phases: Sequence[Phase]) -> None:
    for phase in phases:
        for failure, count in phase.failures.most_common():
            print(f"  {phase.name}: {count:,} times {failure}", file=sys.stderr)
