"""A generation is replaced as a whole, and a connection keeps the one that it began with."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ssl
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from OpenSSL import SSL

from ibcm_bridge.addons.bridge import Bridge
from ibcm_bridge.addons.policy_generation import Generation
from ibcm_bridge.addons.renewal.renewal import Kind
from ibcm_bridge.addons.tls.current_trust import CurrentTrust
from ibcm_bridge.lab.protocol.client import HandshakeRefused, Response
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.roles import CertificatePolicy
from tests.addons.stand_ins.lab import BRIDGED, GOOD, TUNNELED, Lab, changed, message
from tests.addons.stand_ins.running import SOON, Running, outcome_of
from tests.addons.tls.test_resumption import Client, handshake


@pytest.fixture
def running(lab: Lab, tmp_path: Path) -> Iterator[Running]:
    policy = changed(lab.policy, tmp_path / "audit.jsonl", clients_resume=True)
    # Files are checked only at the start: all later changes are those of the test.
    with Running(lab, policy, check_seconds=3_600) as running:
        yield running


def renew(running: Running, policy: Policy) -> Generation:
    """Begin another generation, in the bridge's thread, for new connections."""

    async def begin() -> Generation:
        running.replaced.append(running.bridge.generation)
        running.bridge.generation = Generation(policy, running.bridge.shared)
        return running.bridge.generation

    return asyncio.run_coroutine_threadsafe(begin(), running._loop).result(SOON)


def contexts(generation: Generation) -> list[SSL.Context]:
    return [
        context
        for tls in generation.publication_tls
        for context in (tls.client_context, *tls.site_system_contexts.values())
    ]


def trusts(generation: Generation) -> list[CurrentTrust]:
    return [trust for tls in generation.publication_tls for _, trust in tls.trusts()]


def test_generations_of_one_policy_share_neither_contexts_nor_trusts(running: Running) -> None:
    first = running.bridge.generation
    second = renew(running, first.policy)
    assert second.policy is first.policy
    assert len(contexts(first)) == len(contexts(second)) >= 2
    assert not {*contexts(first)} & {*contexts(second)}
    assert len(trusts(first)) == len(trusts(second)) >= 2
    assert not {*trusts(first)} & {*trusts(second)}
    assert first.workers is not second.workers


def test_a_connection_keeps_its_generation_and_the_next_one_gets_the_new(running: Running) -> None:
    first = running.bridge.generation
    with running.client() as client:
        assert isinstance(outcome_of(client, *GOOD), Response)
        (record,) = running.bridge.connections._records.values()
        for_users = changed(
            running.policy, Path("unused"), certificate_policy=CertificatePolicy.USER
        )
        second = renew(running, for_users)
        assert isinstance(running.ask(*GOOD), HandshakeRefused)
        running.wait_for_reason("certificate-name")
        assert record.tls is first.publication_tls[0]
        # The first generation also decides on the head, the body, a new leg and the reply.
        for functions in second.hooks._by_name.values():
            functions.clear()
        running.lab.site.clear()
        reply = outcome_of(client, "CCM_POST", "/ccm_system/request", **message())
        assert isinstance(reply, Response)
        assert reply.status == 200
        other = outcome_of(client, "GET", "/SMS_DP_SMSPKG$/LAB00001/sccm?/setup.exe")
        assert isinstance(other, Response)
        assert other.status == 200


def test_a_tunnel_of_the_first_generation_continues_in_the_second(running: Running) -> None:
    with running.client(TUNNELED) as client:
        assert isinstance(outcome_of(client, *GOOD), Response)
        second = renew(running, running.policy)
        for functions in second.hooks._by_name.values():
            functions.clear()
        assert isinstance(outcome_of(client, *GOOD), Response)


class WithoutProblems:
    """The common part of renewals of nothing."""

    kind = Kind.LISTS
    reads_files = False

    def problems(self) -> Sequence[str]:
        return ()


def test_a_generation_stops_its_own_workers_and_renewals(lab: Lab, tmp_path: Path) -> None:
    policy = dataclasses.replace(lab.policy, audit_file=tmp_path / "audit.jsonl")
    checks = []

    class Counted(WithoutProblems):
        async def check(self) -> float:
            checks.append(1)
            return 0.001

    async def run(bridge: Bridge) -> int:
        generation = Generation(policy, bridge.shared)
        generation.renewals = (Counted(),)
        async with generation.running():
            while len(checks) < 2:
                await asyncio.sleep(0.001)
        assert generation.workers._stopped
        generation.release()
        return len(asyncio.all_tasks())

    with contextlib.closing(Bridge(policy)) as bridge:
        assert asyncio.run(run(bridge)) == 1
        assert not bridge.generation.workers._stopped


def test_a_closed_bridge_has_dropped_its_engines(lab: Lab, tmp_path: Path) -> None:
    """Without the garbage collector, which can run in another thread."""
    policy = dataclasses.replace(lab.policy, audit_file=tmp_path / "audit.jsonl")
    with contextlib.closing(Bridge(policy)) as bridge:
        engines = list(map(weakref.ref, bridge.generation._inspection.engines))
        assert all(engine() is not None for engine in engines)
    assert engines
    assert all(engine() is None for engine in engines)


def test_files_are_read_again_before_the_first_connection(lab: Lab, tmp_path: Path) -> None:
    """The policy of a worker that replaces another is that of the start."""
    policy = dataclasses.replace(lab.policy, audit_file=tmp_path / "audit.jsonl")

    class Never(WithoutProblems):
        async def check(self) -> float:
            return 600

    class Once(Never):
        reads_files = True
        checks = 0

        async def check(self) -> float:
            self.checks += 1
            return 600

    async def run(bridge: Bridge) -> None:
        bridge.generation.renewals = (Never(), files := Once())
        async with bridge.generation.running():
            assert files.checks == 1

    with contextlib.closing(Bridge(policy)) as bridge:
        asyncio.run(run(bridge))


def test_the_first_generation_is_stopped_if_another_has_replaced_it(
    lab: Lab, tmp_path: Path
) -> None:
    policy = dataclasses.replace(lab.policy, audit_file=tmp_path / "audit.jsonl")
    with Running(lab, policy, check_seconds=3_600) as running:
        first = running.bridge.generation
        renew(running, policy)
    assert first.workers._stopped


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_of_the_first_generation_is_not_resumed_in_the_second(
    lab: Lab, running: Running, version: ssl.TLSVersion
) -> None:
    client = Client(lab, version, lab.computer)
    session = handshake(client, running)
    assert client.ask(running, session).resumed
    session = handshake(client, running)
    renew(running, running.policy)
    again = client.ask(running, session, BRIDGED)
    assert not again.resumed
    assert again.response.startswith(b"HTTP/1.1 200 ")
