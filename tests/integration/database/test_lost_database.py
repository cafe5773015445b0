"""A database that was lost, and is empty: nobody gets the client GUIDs that were bound in it."""

from __future__ import annotations

import copy
import shlex
import sys
from pathlib import Path

import pytest

from ibcm_bridge.commands.main import main
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.storage.postgresql_schema import NO_TABLES
from tests.integration.credentials import Credentials
from tests.integration.database.computers import Computer
from tests.integration.faults import FaultyBridge
from tests.postgresql_server import DATABASE, PostgresqlServer

pytestmark = pytest.mark.needs("postgresql")


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.skipif(sys.platform != "linux", reason="a takeover requires Linux")
def test_a_bridge_does_not_start_until_the_bindings_are_restored(
    tmp_path: Path,
    pki: LabPki,
    credentials: Credentials,
    site_systems: SiteSystems,
    postgresql: PostgresqlServer,
    workers: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address = postgresql.address
    control = tmp_path / "control" / "control.sock"
    bridge = FaultyBridge(
        tmp_path,
        pki,
        site_systems,
        options=["--control", str(control)],
        state=address,
        messages={"identity": "enforce"},
        workers=workers,
    )

    def identity(action: str, *arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        status = main(["identity", action, "--config", str(bridge.policy_file), *arguments])
        return status, "".join(capsys.readouterr())

    def is_empty() -> bool:
        with postgresql.connect(DATABASE) as admin:
            found = admin.execute("SELECT to_regnamespace('ibcm_bridge')").fetchone()
        return found == (None,)

    why_not = f"{address} {NO_TABLES}"
    postgresql.empty_database()
    with pytest.raises(RuntimeError) as failed, bridge:
        pass
    assert f"cannot start: {why_not}\n" in str(failed.value)
    assert is_empty()

    status, text = identity("init")
    assert (status, text.splitlines()[0]) == (0, f"{address} was created, without bindings.")
    with bridge:
        known = Computer(bridge, credentials.computer, "pc1.corp.example")
        assert known.register() == known.report() == 200
        copy_of_bindings = tmp_path / "copy.csv"
        assert identity("export", "--output", str(copy_of_bindings))[0] == 0

        postgresql.empty_database()
        other = Computer(bridge, pki.computer("pc8.corp.example"), "pc8.corp.example")
        assert other.register() == 503
        successor = copy.copy(bridge)
        successor.lines, successor._options = [], [*bridge._options, "--take-over"]
        assert not successor._start()
        assert f"cannot start: {why_not}\n" in "".join(successor.lines)
        assert bridge.get("/live")[0] == 200, "the bridge that was to be replaced goes on"
        for action in (["list"], ["show", known.device.guid], ["forget", known.device.guid]):
            assert identity(*action) == (1, f"ibcm-bridge identity: {why_not}\n")
        output = tmp_path / "empty.csv"
        assert identity("export", "--output", str(output))[0] == 1
        assert not output.exists()
        assert is_empty()
        bridge.stop()
        assert not bridge._start()
        assert is_empty()

        # What the message says.
        (command,) = [part for part in NO_TABLES.split(": ") if part.startswith("ibcm-bridge ")]
        assert shlex.split(command)[1:3] == ["identity", "init"]
        assert identity("init")[0] == 0
        assert identity("import", str(copy_of_bindings))[0] == 0
        assert bridge._start(), "".join(bridge.lines)
        assert other.report(known.device.guid) == 403
        assert known.report() == 200
