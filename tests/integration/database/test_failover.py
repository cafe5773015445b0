"""A database that fails over to a standby, which is promoted: the bridge follows by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ibcm_bridge.commands.check.findings import Level
from ibcm_bridge.commands.check.state import check_state
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.policy_file import load_policy
from tests.integration.credentials import Credentials
from tests.integration.database.computers import Computer
from tests.integration.database.places import Place
from tests.integration.faults import SOON, FaultyBridge
from tests.integration.reading import until
from tests.postgresql_server import DATABASE, USER, PostgresqlServer, postgresql_server, standby_of

pytestmark = pytest.mark.needs("postgresql")

IN_SYNC = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"


@pytest.fixture
def primary() -> Iterator[PostgresqlServer]:
    with postgresql_server() as server:
        yield server


@pytest.fixture
def standby(primary: PostgresqlServer) -> Iterator[PostgresqlServer]:
    """A standby that has each change before the primary reports it as done."""
    with standby_of(primary) as server:
        with primary.connect("postgres") as admin:
            # In a file of the primary: the standby waits for none after its promotion.
            admin.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            admin.execute("SELECT pg_reload_conf()")
            until(lambda: admin.execute(IN_SYNC).fetchone(), "a synchronous standby", SOON)
        yield server


def address(*servers: PostgresqlServer) -> str:
    return f"postgresql:///{DATABASE}?host={','.join(str(s.socket) for s in servers)}&user={USER}"


def test_a_bridge_follows_a_promotion(
    tmp_path: Path,
    pki: LabPki,
    credentials: Credentials,
    site_systems: SiteSystems,
    primary: PostgresqlServer,
    standby: PostgresqlServer,
) -> None:
    # As `identity init` does.
    primary.new_database()
    state, messages = address(primary, standby), {"identity": "enforce"}
    with FaultyBridge(tmp_path, pki, site_systems, state=state, messages=messages) as bridge:
        until(Place(primary, state).listening, "the connection for notifications", SOON)
        known = Computer(bridge, credentials.computer, "pc1.corp.example")
        new = Computer(bridge, pki.computer("pc8.corp.example"), "pc8.corp.example")
        first, *rest = known.upload.fragments(4)
        assert known.register() == known.report() == 200
        assert [known.send(packet) for packet in (known.upload.create(), first)] == [200, 200]
        primary.stop()
        assert known.report() == 200
        assert new.register() == 503
        assert known.send(rest[0]) == 503
        with standby.connect("postgres") as admin:
            assert admin.execute("SELECT pg_promote(true, 60)").fetchone() == (True,)
        until(lambda: new.register() == 200 and new.report() == 200, "a new client", SOON)
        until(lambda: known.send(rest[0]) == 200, "the upload", SOON)
        assert [known.send(packet) for packet in (*rest[1:], known.upload.close())] == [200] * 3
        assert known.upload.data in site_systems.uploads.files.values()
        found = Place(standby, state).guids()
        assert found == sorted((known.device.guid, new.device.guid))
        assert bridge.stop() == 0
    said = "".join(bridge.lines)
    assert "Traceback" not in said, said


def test_check_names_the_role_of_each_host(
    tmp_path: Path,
    pki: LabPki,
    site_systems: SiteSystems,
    primary: PostgresqlServer,
    standby: PostgresqlServer,
) -> None:
    bridge = FaultyBridge(tmp_path, pki, site_systems, state=address(primary, standby))
    policy = load_policy(bridge.policy_file)
    found = [(finding.level, finding.text) for finding in check_state(policy)]
    assert found[:2] == [
        (Level.FACT, f"{primary.socket} is the primary"),
        (Level.FACT, f"{standby.socket} is a standby; it is used only after its promotion"),
    ]
    assert {level for level, _ in found} == {Level.FACT}
    primary.stop()
    found = [(finding.level, finding.text) for finding in check_state(policy)]
    assert [level for level, _ in found] == [Level.WARNING, Level.FACT, Level.PROBLEM]
    assert found[0][1].startswith(f"{primary.socket} cannot be used: ")
