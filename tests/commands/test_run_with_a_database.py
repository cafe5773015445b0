"""`ibcm-bridge run --shadow` with the bindings in a PostgreSQL database."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibcm_bridge.commands.main import _parser, main
from ibcm_bridge.commands.run import _read_again
from ibcm_bridge.lab.pki.files import make_pki, shipped_policy
from ibcm_bridge.policy_file import PolicyError
from tests.postgresql_server import DATABASE, USER, PostgresqlServer

pytestmark = pytest.mark.needs("postgresql")

ANOTHER = (
    "the policy of --shadow has another `state`; the shadow judges by the bindings of the policy "
    "in use, so remove the key from it, or write the same database"
)


class Policies:
    """The policy in use, and that of the shadow, in one folder."""

    def __init__(self, folder: Path, postgresql: PostgresqlServer) -> None:
        make_pki(folder)
        self.used = folder / "bridge.yaml"
        self.shadow = folder / "new.yaml"
        self._socket = postgresql.socket

    def write(self, used: str, shadow: str, *more: str) -> None:
        """Write both, each with the name of its database; empty for none."""
        for path, name in ((self.used, used), (self.shadow, shadow)):
            address = f"postgresql:///{name}?host={self._socket}&user={USER}"
            state = (f"state: {address}",) if name else ()
            path.write_text("\n".join((shipped_policy(), *more, *state)), "utf-8")

    @property
    def options(self) -> list[str]:
        return ["run", "--config", str(self.used), "--shadow", str(self.shadow)]


@pytest.fixture
def policies(tmp_path: Path, postgresql: PostgresqlServer) -> Policies:
    postgresql.empty_database()
    return Policies(tmp_path, postgresql)


@pytest.mark.parametrize("workers", [1, 2])
def test_another_database_is_refused_before_the_first_is_changed(
    policies: Policies,
    postgresql: PostgresqlServer,
    capsys: pytest.CaptureFixture[str],
    workers: int,
) -> None:
    policies.write(DATABASE, "another", f"workers: {workers}")
    assert main(policies.options) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"ibcm-bridge: cannot start: {ANOTHER}"
    with postgresql.connect(DATABASE) as admin:
        assert admin.execute("SELECT to_regnamespace('ibcm_bridge')").fetchone() == (None,)


def test_a_reload_that_names_another_database_is_refused(policies: Policies) -> None:
    options = _parser().parse_args(policies.options)
    for used in (DATABASE, ""):
        policies.write(used, "another")
        with pytest.raises(PolicyError, match="has another `state`") as refused:
            _read_again(options, None, listeners=None)
        assert str(refused.value) == ANOTHER
    for shadow in (DATABASE, ""):
        policies.write(DATABASE, shadow)
        assert _read_again(options, None, listeners=None).shadow is not None
