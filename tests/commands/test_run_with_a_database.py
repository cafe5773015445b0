"""`ibcm-bridge run --shadow` is refused with the bindings in a PostgreSQL database."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibcm_bridge.commands.main import main
from ibcm_bridge.lab.pki.files import make_pki, shipped_policy
from tests.postgresql_server import DATABASE, USER, PostgresqlServer

pytestmark = pytest.mark.needs("postgresql")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_shadow_is_refused_before_the_database_is_changed(
    tmp_path: Path, postgresql: PostgresqlServer, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    postgresql.empty_database()
    make_pki(tmp_path)
    policy, shadow = tmp_path / "bridge.yaml", tmp_path / "shadow.yaml"
    address = f"postgresql:///{DATABASE}?host={postgresql.socket}&user={USER}"
    policy.write_text(f"{shipped_policy()}\nworkers: {workers}\nstate: {address}\n", "utf-8")
    shadow.write_text(shipped_policy(), "utf-8")
    assert main(["run", "--config", str(policy), "--shadow", str(shadow)]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "ibcm-bridge: cannot start: --shadow is not possible with `state`: it judges at the end of "
        "a request, which cannot wait for a database"
    )
    with postgresql.connect(DATABASE) as admin:
        assert admin.execute("SELECT to_regnamespace('ibcm_bridge')").fetchone() == (None,)
