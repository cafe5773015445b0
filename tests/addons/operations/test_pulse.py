"""The state of a bridge, without sockets: what makes it not ready, degraded, and its gauges."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import errno
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibcm_bridge.addons.bridge import Bridge
from ibcm_bridge.addons.clock import utc_now
from ibcm_bridge.addons.operations import metrics, pulse
from ibcm_bridge.addons.operations.board import OwnBoard
from ibcm_bridge.addons.operations.metrics import Kind, Metric
from ibcm_bridge.addons.operations.numbers import Numbers, Snapshot
from ibcm_bridge.addons.operations.pulse import Pulse
from ibcm_bridge.addons.operations.readings import machine_readings
from ibcm_bridge.addons.operations.stored_counts import StoredCounts
from ibcm_bridge.addons.renewal.revocation_renewal import ListsRenewal
from ibcm_bridge.addons.renewal.rules_renewal import RulesRenewal
from ibcm_bridge.identity.bindings import Binding, Source
from ibcm_bridge.policy.policy import ClamAv
from ibcm_bridge.policy.trust import CrlFetch
from tests.addons.stand_ins.lab import BRIDGED, Lab, bridged_publication, changed

DAYS = 86_400.0
WORKERS = metrics.WORKERS.name, ()
READY = metrics.READY.name, ()
LOST = metrics.AUDIT_LOST.name, ()


class Observed:
    """A bridge, its checks and a clock."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.passed = datetime.timedelta()
        self.bindings = directory / "bindings.sqlite"
        self.spool = directory / "uploads.sqlite"
        policy = dataclasses.replace(
            lab.policy,
            audit_file=directory / "audit.jsonl",
            messages=dataclasses.replace(lab.policy.messages, bindings_file=self.bindings),
            uploads=dataclasses.replace(lab.policy.uploads, spool=self.spool),
        )
        self.bridge = Bridge(policy, clock=lambda: utc_now() + self.passed)
        self.numbers = Numbers()
        self.pulse = Pulse(self.bridge, self.numbers, OwnBoard())

    def not_ready(self) -> tuple[str, ...]:
        return self.pulse.state().not_ready


@pytest.fixture
def observed(lab: Lab, tmp_path: Path) -> Iterator[Observed]:
    observed = Observed(lab, tmp_path)
    with contextlib.closing(observed.bridge):
        yield observed


def test_a_bridge_is_ready(observed: Observed) -> None:
    state = observed.pulse.state()
    assert (state.not_ready, state.degraded) == ((), ())
    assert state.gauges[READY] == state.gauges[WORKERS] == 1
    assert state.gauges[metrics.AUDIT_WRITABLE.name, ()] == 1
    ends = state.gauges[metrics.CERTIFICATE_END.name, (BRIDGED, "clients")]
    assert 0 < ends < 400 * DAYS


def test_a_bridge_that_stops_is_not_ready(observed: Observed) -> None:
    observed.bridge.draining = True
    assert observed.not_ready() == ("the bridge is stopping",)


def test_a_refused_reload_degrades_it_until_the_next_one(observed: Observed) -> None:
    digest = metrics.POLICY.name, (observed.bridge.generation.digest,)
    reloaded = metrics.RELOADED.name, ()
    for problems in (["a problem"], []):
        observed.bridge.reloads.count(problems)
        state = observed.pulse.state()
        assert state.not_ready == ()
        assert len(state.degraded) == len(problems)
        assert state.gauges[reloaded] == 1 - len(problems)
        assert state.gauges[digest] == 1
    for outcome in ("accepted", "refused"):
        assert state.counters[metrics.RELOADS.name, (outcome,)] == 1


def test_reloads_are_counted_from_zero(observed: Observed) -> None:
    found = observed.pulse.state().counters
    assert {found[metrics.RELOADS.name, (name,)] for name in ("accepted", "refused")} == {0}


def test_new_files_that_are_not_in_use_degrade_it(observed: Observed) -> None:
    def counts(state: Snapshot) -> dict[str, float]:
        name = metrics.FILE_PROBLEMS.name
        return {labels[0]: n for (metric, labels), n in state.gauges.items() if metric == name}

    assert counts(observed.pulse.state()) == {"certificates": 0, "lists": 0, "rules": 0}
    lists, *_, rules = observed.bridge.generation.renewals
    observed.bridge.credential_problems.update(["a.key does not match"])
    for renewal, problems in ((lists, ["one", "two"]), (rules, ["three"])):
        assert isinstance(renewal, ListsRenewal | RulesRenewal)
        renewal._problems.update(problems)
    state = observed.pulse.state()
    assert state.not_ready == ()
    assert state.degraded == (
        "certificates and keys: a.key does not match; the current ones stay in use",
        f"{BRIDGED}: clients.trust: one; the current lists stay in use",
        f"{BRIDGED}: clients.trust: two; the current lists stay in use",
        "rules: three; the previous rules stay in use",
    )
    assert counts(state) == {"certificates": 1, "lists": 2, "rules": 1}


def test_an_audit_that_cannot_be_written_makes_it_not_ready_until_it_can(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = observed.bridge.shared.audit

    def full(_line: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(audit._file, "write", full)
        with pytest.raises(OSError, match="No space"):
            audit._write({"event": "request"})
        for _ in range(2):
            state = observed.pulse.state()
            assert state.not_ready == ("the audit cannot be written: No space left on device",)
            assert state.gauges[READY] == 0
            assert state.gauges[metrics.AUDIT_WRITABLE.name, ()] == 0
    assert observed.not_ready() == ()
    assert observed.numbers.counters[LOST] == 1


@pytest.mark.parametrize("file", ["bindings", "spool"])
@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "replaced"])
def test_a_database_under_its_feet_makes_it_not_ready(
    observed: Observed, file: str, replaced: bool
) -> None:
    path: Path = getattr(observed, file)
    moved = path.rename(path.with_suffix(".moved"))
    if replaced:
        path.write_bytes(moved.read_bytes())
    what = "replaced by another file" if replaced else "deleted"
    assert observed.not_ready() == (f"{path} was {what} while it was in use; restart the bridge",)
    path.unlink(missing_ok=True)
    moved.rename(path)
    assert observed.not_ready() == ()


@pytest.mark.parametrize("file", ["bindings", "spool"])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE], ids=errno.errorcode.get)
def test_a_database_that_cannot_be_checked_makes_it_not_ready(
    observed: Observed, file: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path: Path = getattr(observed, file)
    stat = Path.stat

    def fail(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if self == path:
            raise OSError(number, os.strerror(number), str(path))
        return stat(self, follow_symlinks=follow_symlinks)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", fail)
        state = observed.pulse.state()
    assert state.not_ready == (f"{path} cannot be checked: {os.strerror(number)}",)
    assert state.gauges[READY] == 0
    assert observed.not_ready() == ()


def test_an_inspection_process_that_cannot_start_makes_it_not_ready(observed: Observed) -> None:
    observed.bridge.generation.workers.problem = "Resource temporarily unavailable"
    (problem,) = observed.not_ready()
    assert problem.endswith("can be started: Resource temporarily unavailable")


def test_an_expired_list_degrades_it_but_it_stays_ready(observed: Observed) -> None:
    observed.passed = datetime.timedelta(days=40)
    state = observed.pulse.state()
    assert state.not_ready == ()
    assert state.degraded
    assert all("expired on" in problem for problem in state.degraded)
    ends = [value for (name, _), value in state.gauges.items() if name == metrics.LIST_END.name]
    assert ends
    assert max(ends) < 0
    assert state.gauges[metrics.DEGRADED.name, ()] == len(state.degraded)


def test_a_list_that_was_never_fetched_degrades_it(lab: Lab, tmp_path: Path) -> None:
    trust = bridged_publication(lab.policy).client_trust
    assert trust is not None
    fetch = CrlFetch(("http://pki.invalid/a.crl",), datetime.timedelta(hours=1), tmp_path)
    revocation = dataclasses.replace(trust.revocation, sources=(tmp_path,), fetch=fetch)
    first, *others = trust.crls
    empty = dataclasses.replace(trust, crls=tuple(others), revocation=revocation)
    policy = changed(lab.policy, tmp_path / "audit.jsonl", client_trust=empty)
    with contextlib.closing(Bridge(policy)) as bridge:
        state = Pulse(bridge, Numbers(), OwnBoard()).state()
        issuer = first.issuer.rfc4514_string()
        assert state.degraded == (
            f"{BRIDGED}: clients.trust: no revocation list of {issuer}; "
            "its certificates are refused",
        )
        assert state.not_ready == ()
        assert current(state) == {
            ("clients", issuer): 0.0,
            **{("clients", other.issuer.rfc4514_string()): 1.0 for other in others},
            **{("site-systems", crl.issuer.rfc4514_string()): 1.0 for crl in trust.crls},
        }


def current(state: Snapshot) -> dict[tuple[str, str], float]:
    """The leg and the issuer -> whether its list is current, of the bridged publication."""
    name = metrics.LIST_CURRENT.name
    found = {labels: value for (metric, labels), value in state.gauges.items() if metric == name}
    assert {publication for publication, _, _ in found} == {BRIDGED}
    return {(leg, issuer): value for (_, leg, issuer), value in found.items()}


def test_lists_that_are_not_valid_yet_degrade_it(observed: Observed) -> None:
    assert set(current(observed.pulse.state()).values()) == {1.0}
    observed.passed = datetime.timedelta(days=-40)
    state = observed.pulse.state()
    assert state.not_ready == ()
    assert state.degraded
    assert all("is not valid before" in problem for problem in state.degraded)
    assert set(current(state).values()) == {0.0}


def test_a_problem_of_publications_of_the_same_name_counts_once(lab: Lab, tmp_path: Path) -> None:
    policy = changed(lab.policy, tmp_path / "audit.jsonl")
    (listener,) = policy.listeners
    other = dataclasses.replace(listener, address=("127.0.0.2", 0))
    policy = dataclasses.replace(policy, listeners=(listener, other))
    passed = datetime.timedelta(days=-40)
    with contextlib.closing(Bridge(policy, clock=lambda: utc_now() + passed)) as bridge:
        for renewal in bridge.generation.renewals:
            if isinstance(renewal, ListsRenewal):
                renewal._problems.update(["a problem"])
        state = Pulse(bridge, Numbers(), OwnBoard()).state()
    # Two trusts, each with the lists of two authorities.
    assert len(state.degraded) == 2 * 2 + 2
    assert state.gauges[metrics.DEGRADED.name, ()] == 6
    assert state.gauges[metrics.FILE_PROBLEMS.name, ("lists",)] == 2


def test_a_bridge_whose_clamd_does_not_respond_is_degraded_and_ready(
    observed: Observed, tmp_path: Path
) -> None:
    asyncio.run(observed.pulse._clamav.check(ClamAv(tmp_path / "nothing")))
    state = observed.pulse.state()
    assert state.not_ready == ()
    assert len(state.degraded) == 1
    assert "does not respond" in state.degraded[0]


def test_little_memory_makes_it_not_ready(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse.health, "available_memory", lambda: 10 << 20)
    assert observed.not_ready() == ("only 10 MiB of memory are left",)


def test_bindings_and_uploads_are_counted(observed: Observed) -> None:
    guid = "GUID:11111111-2222-3333-4444-555555555555"
    observed.bridge.shared.bindings.registry.add(
        Binding(guid, Source.IMPORT, utc_now(), name="pc1")
    )
    counts = StoredCounts(lambda: 0.0)
    asyncio.run(counts.read(observed.bridge.shared))
    assert dict(counts.readings()) == {
        (metrics.BINDINGS.name, ()): 1,
        (metrics.UPLOADS.name, ()): 0,
        (metrics.UPLOAD_BYTES.name, ()): 0,
        (metrics.STORE_AGE.name, ("bindings",)): 0,
        (metrics.STORE_AGE.name, ("uploads",)): 0,
    }


def test_bindings_in_memory_have_no_number_and_no_age(lab: Lab, tmp_path: Path) -> None:
    policy = dataclasses.replace(lab.policy, audit_file=tmp_path / "audit.jsonl")
    counts = StoredCounts()
    with contextlib.closing(Bridge(policy)) as bridge:
        asyncio.run(counts.read(bridge.shared))
    named = {(name, *labels) for (name, labels), _ in counts.readings()}
    assert named == {
        (metrics.UPLOADS.name,),
        (metrics.UPLOAD_BYTES.name,),
        (metrics.STORE_AGE.name, "uploads"),
    }


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_the_descriptors_and_their_limit_are_read() -> None:
    found = {name: value for (name, _), value in machine_readings()}
    assert found.keys() == {"ibcm_open_files", "ibcm_open_files_limit"}
    assert 0 < found["ibcm_open_files"] < found["ibcm_open_files_limit"]


def test_each_connection_has_one_state(observed: Observed) -> None:
    capacity = observed.bridge.connections.capacity
    capacity.slots.held, capacity.handshakes.held, capacity.unauthenticated.held = 20, 5, 9
    capacity.anonymous.held = 4
    capacity.requests, capacity.tunnels, observed.bridge.connections.flushing = 3, 2, 1
    gauges = observed.pulse.state().gauges
    name = metrics.CONNECTIONS.name
    states = {labels[0]: value for (metric, labels), value in gauges.items() if metric == name}
    assert states == {"handshake": 5, "request": 3, "tunnel": 2, "closing": 1, "idle": 9}
    assert gauges[metrics.UNAUTHENTICATED.name, ()] == 9
    assert gauges[metrics.ANONYMOUS.name, ()] == 4
    limit = gauges[metrics.CONNECTIONS_LIMIT.name, ()]
    assert gauges[metrics.UNAUTHENTICATED_LIMIT.name, ()] == 0.75 * limit
    assert gauges[metrics.HANDSHAKE_CONNECTIONS_LIMIT.name, ()] == 0.5 * limit
    assert gauges[metrics.ANONYMOUS_LIMIT.name, ()] == 0.5 * limit


def test_held_bytes_and_inspections_are_those_of_the_bridge(observed: Observed) -> None:
    observed.bridge.connections.capacity.memory.held = 12_345
    observed.bridge.generation.workers._under_way = 2
    gauges = observed.pulse.state().gauges
    assert gauges[metrics.BUFFERED.name, ()] == 12_345
    assert gauges[metrics.INSPECTIONS.name, ()] == 2
    assert gauges[metrics.INSPECTION_PROCESSES.name, ()] == 0


def test_the_lag_is_that_of_the_last_timer(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "SECONDS", 0.02)

    def lag() -> float:
        return observed.pulse.publish().gauges[metrics.LOOP_LAG.name, ()]

    async def run() -> None:
        async with observed.pulse.running():
            await asyncio.sleep(0.01)
            time.sleep(0.5)
            while lag() < 0.4:
                await asyncio.sleep(0.001)
            while lag() > 0.2:
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(run(), 60))


NO_READING = {
    metrics.AUDIT_POINT: "without a record: integration/test_points.py",
    metrics.CLAMAV_UP: "without clamd: test_clamd.py",
    metrics.CLAMAV_SECONDS: "without clamd: test_clamd.py",
}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_each_gauge_has_a_reading(observed: Observed) -> None:
    known = {metric for metric in metrics.METRICS.values() if metric.kind is Kind.GAUGE}

    async def missing() -> set[Metric]:
        async with observed.pulse.running():
            end = time.monotonic() + 10
            while True:
                names = {name for name, _ in observed.pulse.state().gauges}
                found = {metric for metric in known if metric.name not in names}
                if found == NO_READING.keys() or time.monotonic() > end:
                    return found
                await asyncio.sleep(0.01)

    assert asyncio.run(missing()) == NO_READING.keys()


class TwoWorkers(OwnBoard):
    """A board with another worker, whose snapshot does not change."""

    def __init__(self, other: Snapshot | None) -> None:
        super().__init__()
        self.other = other

    def all(self) -> list[Snapshot | None]:
        return [*super().all(), self.other]


@pytest.mark.parametrize("known", [False, True])
def test_a_worker_that_publishes_nothing_is_named(observed: Observed, known: bool) -> None:
    old = Snapshot(time.monotonic() - pulse.GONE_SECONDS - 1, not_ready=("an old problem",))
    state = Pulse(observed.bridge, Numbers(), TwoWorkers(old if known else None)).state()
    assert (state.not_ready, state.degraded) == ((), ("worker 2 is not running",))
    assert state.gauges[WORKERS] == 1


def test_another_worker_has_its_own_problems(observed: Observed) -> None:
    other = Snapshot(time.monotonic(), not_ready=("its problem",))
    state = Pulse(observed.bridge, Numbers(), TwoWorkers(other)).state()
    assert state.not_ready == ("its problem",)
    assert state.gauges[WORKERS] == 2


def test_the_successor_of_a_worker_continues_its_counters(observed: Observed) -> None:
    class Successor(OwnBoard):
        def before(self) -> Snapshot | None:  # type: ignore[override]
            return Snapshot(0.0, {("ibcm_tunnels", ("a", "allow", "")): 7.0})

    state = Pulse(observed.bridge, Numbers(), Successor()).state()
    assert state.counters["ibcm_tunnels", ("a", "allow", "")] == 7


def test_a_defect_of_a_check_is_counted_and_the_checks_continue(
    observed: Observed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pulse, "SECONDS", 0.001)
    defects = metrics.DEFECTS.name, ()

    async def run() -> None:
        async with observed.pulse.running():
            monkeypatch.setattr(pulse.health, "available_memory", lambda: 1 // 0)
            while observed.numbers.counters.get(defects, 0) < 2:
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(run(), 60))
    assert "defect in the checks of the bridge: ZeroDivisionError" in caplog.text
