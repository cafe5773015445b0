"""All workers take a policy, or none does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

import pytest

if sys.platform != "linux":
    pytest.skip("several workers require Linux", allow_module_level=True)

from ibcm_bridge.addons.run.reload import DRAINING, PolicyText
from ibcm_bridge.addons.workers import reload
from ibcm_bridge.addons.workers.orders import DROP, TAKE
from ibcm_bridge.addons.workers.reload import NewPolicy, WorkersReload
from ibcm_bridge.policy_file import PolicyError


class Worker:
    """A worker that notes its orders."""

    def __init__(self) -> None:
        self.orders: list[bytes] = []
        self.reports: list[bytes] = []
        self.status: int | None = None
        self.is_ready = True

    def order(self, message: bytes, files: Sequence[int] = ()) -> None:
        self.orders.append(b"prepare" if files else message)


class Parent:
    """A parent that notes what it does."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.fails: Callable[[], object] = lambda: None

    def prepare(self) -> NewPolicy:
        self.fails()
        return NewPolicy(PolicyText(b"publications: []"), [{}, {}])

    def take(self) -> None:
        self.done.append("take")

    def drop(self) -> None:
        self.done.append("drop")

    def report(self, problems: Sequence[str]) -> None:
        self.done.append(", ".join(problems))


class Reloading:
    """A reload with two workers."""

    def __init__(self) -> None:
        self.parent, self.workers = Parent(), [Worker(), Worker()]
        self._reload = WorkersReload(self.parent)

    def ask(self) -> None:
        self._reload.ask()
        self.go_on()

    def go_on(self, *reports: bytes) -> None:
        for worker, report in zip(self.workers, reports, strict=False):
            worker.reports.append(report)
        self._reload.go_on(self.workers)  # type: ignore[arg-type]

    def orders(self) -> list[list[bytes]]:
        return [worker.orders for worker in self.workers]


@pytest.fixture
def reloading() -> Reloading:
    return Reloading()


def raises(error: Exception) -> Callable[[], NoReturn]:
    def fail() -> NoReturn:
        raise error

    return fail


def test_all_take_a_policy_that_all_have_built(reloading: Reloading) -> None:
    reloading.ask()
    reloading.go_on(b"1\nprepared")
    assert reloading.orders() == [[b"prepare"], [b"prepare"]]
    reloading.workers.reverse()
    reloading.go_on(b"1\nprepared")
    assert reloading.orders() == [[b"prepare", TAKE], [b"prepare", TAKE]]
    assert reloading.parent.done == ["take", ""]


def test_none_takes_a_policy_that_one_cannot_build(reloading: Reloading) -> None:
    reloading.ask()
    reloading.go_on(b"1\nprepared", b"1\nno file\nno key")
    assert reloading.orders() == [[b"prepare", DROP], [b"prepare", DROP]]
    assert reloading.parent.done == ["drop", "no file, no key"]


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (PolicyError(["line 3"]), "line 3"),
        (ZeroDivisionError("secret"), "defect in the reload: ZeroDivisionError"),
    ],
    ids=["problem", "defect"],
)
def test_a_policy_that_the_parent_refuses_is_counted_by_each_worker(
    reloading: Reloading, error: Exception, problem: str
) -> None:
    reloading.parent.fails = raises(error)
    reloading.ask()
    assert reloading.orders() == [[DROP], [DROP]]
    assert reloading.parent.done == ["drop", problem]
    reloading.parent.fails = lambda: None
    reloading.ask()
    reloading.go_on(b"2\nprepared", b"2\nprepared")
    assert reloading.parent.done[2:] == ["take", ""]


def test_an_order_that_cannot_be_sent_ends_the_reload_only(
    reloading: Reloading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload.Prepare, "send_to", lambda *_: raises(OSError(24, "secret"))())
    reloading.ask()
    assert reloading.orders() == [[DROP], [DROP]]
    assert reloading.parent.done == ["drop", "defect in the reload: OSError"]


def test_a_late_report_does_not_count_for_the_next_reload(
    reloading: Reloading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "BUILD_SECONDS", 0.0)
    reloading.ask()
    reloading.go_on(b"1\nprepared")
    assert reloading.parent.done == ["drop", "worker 2 did not report in 0 s"]
    monkeypatch.setattr(reload, "BUILD_SECONDS", 60.0)
    reloading.ask()
    reloading.go_on(b"2\nprepared", b"1\nprepared")
    assert reloading.parent.done[2:] == []
    reloading.workers.reverse()
    reloading.go_on(b"2\nprepared")
    assert reloading.parent.done[2:] == ["take", ""]


def test_a_worker_that_ends_during_a_reload_ends_the_reload(reloading: Reloading) -> None:
    reloading.ask()
    reloading.workers[1].status = 1
    reloading.go_on(b"1\nprepared")
    assert reloading.parent.done == ["drop", "worker 2 ended during the reload"]


def test_those_who_asked_before_a_reload_began_get_its_outcome(reloading: Reloading) -> None:
    outcomes: list[tuple[str, Sequence[str]]] = []

    def asked_by(name: str) -> Callable[[Sequence[str]], None]:
        return lambda problems: outcomes.append((name, problems))

    reloading._reload.ask(asked_by("first"))
    reloading._reload.ask(asked_by("second"))
    reloading.go_on()
    reloading._reload.ask(asked_by("late"))
    reloading.go_on(b"1\nprepared", b"1\nno file")
    assert outcomes == [("first", ["no file"]), ("second", ["no file"])]
    reloading.go_on()
    reloading.go_on(b"2\nprepared", b"2\nprepared")
    assert outcomes[2:] == [("late", [])]
    reloading.ask()
    reloading.go_on(b"3\nprepared", b"3\nprepared")
    assert len(outcomes) == 3


@pytest.mark.parametrize("begun", [False, True])
def test_a_reload_that_is_not_done_when_the_workers_stop_is_refused(
    reloading: Reloading, begun: bool
) -> None:
    outcomes: list[Sequence[str]] = []
    reloading._reload.ask(outcomes.append)
    if begun:
        reloading.go_on(b"1\nprepared")
    reloading._reload.stop()
    assert reloading.orders() == ([[b"prepare", DROP]] * 2 if begun else [[], []])
    assert reloading.parent.done == ["drop", DRAINING]
    assert outcomes == [[DRAINING]]
    reloading._reload.ask(outcomes.append)
    assert reloading.parent.done == ["drop", DRAINING] * 2
    assert outcomes == [[DRAINING]] * 2
    assert reloading._reload.due is None


def test_workers_that_stop_without_a_reload_report_none(reloading: Reloading) -> None:
    reloading._reload.stop()
    assert reloading.parent.done == []
