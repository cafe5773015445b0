"""A shadow beside a shared database: it judges by what the policy in use has read from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.addons.hooks.database.reads import DatabaseReads, Rows
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol import documents
from ibcm_bridge.policy.message_policy import Enforcement, MessagePolicy, UnknownGuids
from ibcm_bridge.policy.policy import Policy
from tests.addons.stand_ins.lab import Lab, bridged_publication, changed
from tests.addons.stand_ins.running import Running, wait_for
from tests.addons.test_several_machines import post, register, report, send
from tests.postgresql_server import PostgresqlServer

pytestmark = pytest.mark.needs("postgresql")

UNKNOWN = "GUID:5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B"
STRICT = MessagePolicy(identity=Enforcement.ENFORCE, unknown_guids=UnknownGuids.REFUSE)
HARDWARE, SOFTWARE = "MP_HinvEndpoint", "MP_SinvEndpoint"

Start = Callable[..., Running]


@pytest.fixture
def start(lab: Lab, postgresql: PostgresqlServer, tmp_path: Path) -> Iterator[Start]:
    """A function that starts a bridge with an empty database, and with a shadow unless None."""
    with ExitStack() as stack:

        def started(shadow: MessagePolicy | None, *, used: Policy | None = None) -> Running:
            name = "with.jsonl" if shadow is not None else "without.jsonl"
            state = postgresql.new_database()
            policy = dataclasses.replace(
                used or lab.policy, audit_file=tmp_path / name, state=state
            )
            if shadow is not None:
                other = dataclasses.replace(lab.policy, state=state, messages=shadow)
                policy = dataclasses.replace(policy, shadow=other)
            return stack.enter_context(Running(lab, policy))

        yield started


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The client GUIDs of each query."""
    found: list[tuple[str, ...]] = []
    rows = DatabaseReads.rows

    async def noted(self: DatabaseReads, guids: Sequence[str]) -> Rows:
        found.append(tuple(guids))
        return await rows(self, guids)

    monkeypatch.setattr(DatabaseReads, "rows", noted)
    return found


def records(running: Running, count: int) -> list[dict[str, Any]]:
    found = wait_for(lambda: len(running.audit()) >= count and running.audit())
    assert found, running.audit()
    return found


def without(policy: Policy, endpoint: str) -> Policy:
    """The policy without an endpoint of the management point."""
    publication = bridged_publication(policy)
    role = publication.directories["ccm_system"]
    table = role.profile.messages
    assert table is not None
    left = {name: row for name, row in table.endpoints.items() if name != endpoint.lower()}
    fewer = dataclasses.replace(table, endpoints=left)
    bodies = {
        verb: body if body.messages is None else dataclasses.replace(body, messages=fewer)
        for verb, body in role.profile.bodies.items()
    }
    other = dataclasses.replace(role, profile=dataclasses.replace(role.profile, bodies=bodies))
    directories = {**publication.directories, "ccm_system": other}
    assert policy.audit_file is not None
    return changed(policy, policy.audit_file, directories=directories)


def hardware(credential: LabCredential, guid: str) -> Any:
    """A message that a policy without this endpoint refuses by its body."""
    return post(credential, documents.inventory_report(guid, rows=1), HARDWARE, guid)


def test_the_audit_has_what_the_other_policy_would_refuse(start: Start, lab: Lab) -> None:
    running = start(STRICT)
    mine, others = lab.computer, lab.pki.computer("pc2.corp.example")
    guid = register(running, mine, "pc1.corp.example")
    for credential, used in ((mine, guid), (others, guid), (mine, UNKNOWN)):
        assert send(running, credential, report(credential, used)).status == 200
    registered, *found = records(running, 4)
    assert "shadow" not in registered
    outcomes = [record.get("shadow", {}).get("reason") for record in found]
    assert outcomes == [None, "identity-of-another", "identity-unknown"]
    assert [record["verdict"] for record in found] == ["allow"] * 3
    assert not any("not_judged" in record.get("shadow", {}) for record in found)


def test_the_shadow_reads_and_writes_nothing_in_the_database(
    start: Start, lab: Lab, postgresql: PostgresqlServer, reads: list[tuple[str, ...]]
) -> None:
    mine, others = lab.computer, lab.pki.computer("pc2.corp.example")

    def traffic(shadow: MessagePolicy | None) -> tuple[list[int], list[int], list[Any]]:
        running = start(shadow, used=without(lab.policy, HARDWARE))
        reads.clear()
        guid = register(running, mine, "pc1.corp.example")
        statuses = [
            send(running, credential, request).status
            for credential, request in (
                (mine, hardware(mine, guid)),
                (others, hardware(others, UNKNOWN)),
                (others, policy_request(others, guid)),
                (others, policy_request(others, UNKNOWN)),
            )
        ]
        found = records(running, 5)
        assert any("shadow" in record for record in found) == (shadow is not None)
        assert running.policy.state is not None
        with postgresql.connect(dict(running.policy.state.parameters)["dbname"]) as admin:
            bound = admin.execute(
                "SELECT name, source FROM ibcm_bridge.bindings ORDER BY name, source"
            ).fetchall()
        return statuses, [*map(len, reads)], bound

    assert traffic(STRICT) == traffic(None)


def policy_request(credential: LabCredential, guid: str) -> Any:
    return post(credential, documents.policy_request(guid), "MP_PolicyManager", guid)


def test_a_binding_that_was_not_read_is_not_judged_and_the_database_gets_no_query(
    start: Start, lab: Lab, postgresql: PostgresqlServer, reads: list[tuple[str, ...]]
) -> None:
    running = start(STRICT, used=without(lab.policy, HARDWARE))
    mine = lab.computer
    guid = register(running, mine, "pc1.corp.example")
    assert send(running, mine, policy_request(mine, guid)).status == 200
    reads.clear()
    with postgresql.frozen():
        for used in (UNKNOWN, guid):
            assert send(running, mine, hardware(mine, used)).status == 403
        found = records(running, 4)[2:]
        assert reads == []
    assert [record["reason"] for record in found] == ["endpoint"] * 2
    unread, cached = (record["shadow"] for record in found)
    assert unread == {"verdict": "allow", "not_judged": "identity"}
    assert cached == {"verdict": "allow"}, "this process has read it for another request"


def test_without_the_database_the_shadow_refuses_what_its_policy_would_refuse(
    start: Start, lab: Lab, postgresql: PostgresqlServer
) -> None:
    running = start(STRICT)
    with postgresql.frozen():
        assert send(running, lab.computer, report(lab.computer, UNKNOWN)).status == 200
        (record,) = records(running, 1)
    assert record["observed"][0].startswith("identity-unavailable: ")
    assert record["verdict"] == "allow"
    assert record["shadow"]["verdict"] == "deny"
    assert record["shadow"]["reason"] == "identity-unavailable"
    assert record["shadow"]["detail"].startswith(f"{running.policy.state.address} ")  # type: ignore[union-attr]
