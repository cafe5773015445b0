"""A reload replaces the policy for new connections, or changes nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from ibcm_bridge.addons.run import generations
from ibcm_bridge.addons.run.reload import DRAINING, FIXED, fixed_problems
from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.protocol.client import HandshakeRefused, LabClient, Response
from ibcm_bridge.policy.policy import Operations, Policy, StateDatabase
from ibcm_bridge.policy.roles import CertificatePolicy
from ibcm_bridge.policy_file import PolicyError
from tests.addons.stand_ins.lab import BRIDGED, GOOD, TUNNELED, Lab, changed
from tests.addons.stand_ins.running import SOON, Running, outcome_of, wait_for

HERE = "127.0.0.1"


@pytest.fixture
def running(lab: Lab, tmp_path: Path) -> Iterator[Running]:
    policy = changed(lab.policy, tmp_path / "audit.jsonl")
    policy = dataclasses.replace(policy, digest="first")
    with Running(lab, policy, check_seconds=3_600) as running:
        yield running


def for_users(policy: Policy) -> Policy:
    """A policy that refuses the lab's computer."""
    assert policy.audit_file
    refused = changed(policy, policy.audit_file, certificate_policy=CertificatePolicy.USER)
    return dataclasses.replace(refused, digest="second")


def test_new_connections_get_the_new_policy_and_open_ones_keep_theirs(running: Running) -> None:
    first = running.bridge.generation
    with running.client() as kept, running.client(TUNNELED) as tunneled:
        for client in (kept, tunneled):
            assert isinstance(outcome_of(client, *GOOD), Response)
        assert running.reload(lambda: for_users(running.policy)) == ()
        assert isinstance(running.ask(*GOOD), HandshakeRefused)
        assert isinstance(outcome_of(tunneled, *GOOD), Response)
        assert not first.workers._stopped
        # The new policy judges the client too, which it does not accept.
        assert kept.connect().recv(1) == b""
    assert running.reported == [("second", ())]
    assert running.bridge.reloads.done == 1
    wait_for(lambda: len(running.audit()) == 4)
    policies = [(record["event"], record["policy"]) for record in running.audit()]
    assert sorted(policies) == [
        ("connection-refused", "first"),
        ("connection-refused", "second"),
        ("request", "first"),
        ("tunnel", "first"),
    ]
    assert wait_for(lambda: first.workers._stopped), "the generation has no connection left"


def test_a_renewal_does_not_bring_back_the_previous_policy(running: Running) -> None:
    """A worker takes a policy while its certificates are read again."""
    reloads, first = running.reloads, running.policy

    async def both() -> bool:
        prepared = await reloads.prepare(lambda: for_users(first))
        _, renewed = await asyncio.gather(
            reloads.take(prepared), reloads.renew(first, lambda: first)
        )
        return renewed

    assert asyncio.run_coroutine_threadsafe(both(), running._loop).result(3 * SOON) is False
    assert running.bridge.generation.digest == "second"

    async def renew() -> bool:
        current = running.bridge.generation.policy
        return await reloads.renew(current, lambda: current)

    assert asyncio.run_coroutine_threadsafe(renew(), running._loop).result(3 * SOON) is True
    assert running.bridge.generation.digest == "second"


def raises(error: Exception) -> Callable[[], NoReturn]:
    def read() -> NoReturn:
        raise error

    return read


@pytest.mark.parametrize(
    ("error", "problems"),
    [
        (PolicyError(["p.yaml:3: a", "p.yaml:9: b"]), ["p.yaml:3: a", "p.yaml:9: b"]),
        (ZeroDivisionError("secret"), ["defect in the reload: ZeroDivisionError"]),
    ],
    ids=["problems", "defect"],
)
def test_after_a_problem_the_current_policy_stays(
    running: Running, error: Exception, problems: list[str]
) -> None:
    generation = running.bridge.generation
    assert running.reload(raises(error)) == problems
    assert running.bridge.generation is generation
    assert running.reported == [("first", problems)]
    state = running.bridge.reloads
    assert (state.done, state.refused, state.problems) == (0, 1, tuple(problems))
    running.assert_serves()
    assert running.reload(lambda: running.policy) == ()
    assert (state.done, state.refused, state.problems) == (1, 1, ())


def drains(running: Running) -> bool:
    running.stop()
    return wait_for(lambda: running.bridge.draining)


@pytest.mark.parametrize("meanwhile", [False, True])
def test_a_bridge_that_drains_refuses_another_policy(running: Running, meanwhile: bool) -> None:
    generation, new = running.bridge.generation, free_port()

    def read() -> Policy:
        assert meanwhile, "no policy is read"
        assert drains(running)
        return with_listeners(running.policy, 0, new)

    with running.client(TUNNELED) as tunneled:
        assert isinstance(outcome_of(tunneled, *GOOD), Response)
        assert meanwhile or drains(running)
        assert running.reload(read) == [DRAINING]
        assert running.bridge.generation is generation
        assert not listens((HERE, new))
        assert isinstance(outcome_of(tunneled, *GOOD), Response)
    assert running.reported == [("first", [DRAINING])]
    assert (running.bridge.reloads.done, running.bridge.reloads.refused) == (0, 1)


def test_rules_that_do_not_compile_are_a_problem(running: Running, tmp_path: Path) -> None:
    (rules := tmp_path / "own.yar").write_text("rule no {", "utf-8")
    (problem,) = running.reload(lambda: dataclasses.replace(running.policy, rule_files=(rules,)))
    assert problem.startswith(f"{rules}: error")
    running.assert_serves()


def test_rules_that_did_not_change_are_not_compiled_again(running: Running) -> None:
    rules = running.bridge.generation.rules
    assert running.reload(lambda: running.policy) == ()
    assert running.bridge.generation.rules is rules


def listens(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, SOON).close()
    except ConnectionRefusedError:
        return False
    except ConnectionResetError:
        # It was accepted by a listener that is being closed.
        return True
    return True


def with_listeners(policy: Policy, *ports: int) -> Policy:
    (listener,) = policy.listeners
    listeners = [dataclasses.replace(listener, address=(HERE, port)) for port in ports]
    return dataclasses.replace(policy, listeners=tuple(listeners))


def test_listeners_are_opened_and_closed(running: Running) -> None:
    own, new = 0, free_port()
    assert running.reload(lambda: with_listeners(running.policy, own, new)) == ()
    running.assert_serves()
    with LabClient(
        (HERE, new), BRIDGED, trust=running.lab.pki.root, credential=running.lab.computer
    ) as client:
        assert isinstance(outcome_of(client, *GOOD), Response)
        assert running.reload(lambda: running.policy) == ()
        assert not listens((HERE, new))
        # It was opened by a policy that is no longer in use.
        assert isinstance(outcome_of(client, *GOOD), Response)
    running.assert_serves()


def test_a_port_that_is_in_use_leaves_everything_as_it_is(running: Running) -> None:
    new = free_port()
    with socket.create_server((HERE, 0)) as other:
        taken = other.getsockname()[1]
        (problem,) = running.reload(lambda: with_listeners(running.policy, 0, new, taken))
    assert f"{HERE}:{taken} is already in use" in problem
    assert not listens((HERE, new))
    running.assert_serves()


CHANGES: dict[str, Callable[[Policy], Policy]] = {
    "workers": lambda policy: dataclasses.replace(policy, workers=3),
    "audit": lambda policy: dataclasses.replace(policy, audit_file=Path("other")),
    "messages.bindings": lambda policy: dataclasses.replace(
        policy, messages=dataclasses.replace(policy.messages, bindings_file=Path("other"))
    ),
    "operations": lambda policy: dataclasses.replace(policy, operations=Operations((HERE, 9100))),
    "uploads": lambda policy: dataclasses.replace(
        policy, uploads=dataclasses.replace(policy.uploads, sessions=1)
    ),
    "state": lambda policy: dataclasses.replace(policy, state=StateDatabase("other", ())),
    "limits.connections": lambda policy: dataclasses.replace(
        policy, limits=dataclasses.replace(policy.limits, connections=1)
    ),
    "limits.buffered_bytes": lambda policy: dataclasses.replace(
        policy, limits=dataclasses.replace(policy.limits, buffered_bytes=1)
    ),
}


def test_every_fixed_key_has_a_change() -> None:
    assert CHANGES.keys() == FIXED.keys()


@pytest.mark.parametrize("key", FIXED)
def test_a_change_that_needs_a_restart_is_refused_by_its_name(lab: Lab, key: str) -> None:
    assert fixed_problems(lab.policy, lab.policy) == []
    (problem,) = fixed_problems(lab.policy, CHANGES[key](lab.policy))
    assert problem == f"{key}: a reload cannot change this key; restart the bridge"


def test_no_request_fails_while_the_policy_is_reloaded(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "CHECK_SECONDS", 0.01)
    stopped, statuses = threading.Event(), list[int]()

    def send() -> None:
        while not stopped.is_set():
            with running.client() as client:
                for _ in range(3):
                    reply = outcome_of(client, *GOOD)
                    statuses.append(reply.status if isinstance(reply, Response) else 0)

    senders = [threading.Thread(target=send) for _ in range(2)]
    for sender in senders:
        sender.start()
    outcomes = [running.reload(lambda: running.policy) for _ in range(10)]
    stopped.set()
    for sender in senders:
        sender.join(3 * SOON)
    assert outcomes == [()] * 10
    assert set(statuses) == {200}
