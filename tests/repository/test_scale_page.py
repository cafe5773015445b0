"""The commands of docs/scale.md, as pasted."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ibcm_bridge.commands.main import main
from ibcm_bridge.storage.postgresql_schema import SCHEMA
from tests.needs import postgresql_programs
from tests.postgresql_server import USER
from tests.repository.two_bridges import BACKENDS, NAMES
from tests.whole_lines import whole_lines

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "scale.md"
PAGE = FILE.read_text("utf-8")
_WAIT_FOR = "i=0; until {condition}; do sleep 0.2; i=$((i+1)); [ $i -lt 600 ]; done"


def _blocks(heading: str) -> list[str]:
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


@pytest.mark.slow
@pytest.mark.needs("root", "ip", "haproxy")
def test_the_commands_start_two_bridges_behind_haproxy(tmp_path: Path) -> None:
    _, start, _ = _blocks("Two bridges on one machine")
    _requests_through_haproxy(tmp_path, start)


@pytest.mark.slow
@pytest.mark.needs("root", "ip", "haproxy", "postgresql")
def test_the_commands_start_two_bridges_with_postgresql() -> None:
    database, write = _blocks("Two bridges with PostgreSQL")
    _, start, _ = _blocks("Two bridges on one machine")
    sqlite, *others = start.splitlines()
    assert write.startswith(sqlite), "the line instead of that of the previous section"
    # PostgreSQL refuses root, and its user cannot enter a folder of pytest.
    folder = Path(tempfile.mkdtemp(prefix="ibcm-scale-"))
    try:
        folder.chmod(0o755)
        shutil.chown(folder, USER, USER)
        as_postgres = f"runuser -u {USER} -- bash -euc"
        query = f"{_psql('select version from ibcm_bridge.version')} >version"
        _requests_through_haproxy(
            folder,
            "\n".join([write.rstrip(), *others]),
            before=f"{as_postgres} {shlex.quote(database)} >database.log 2>&1",
            after=f"{query}; {as_postgres} 'pg_ctl --pgdata db --mode fast stop' >/dev/null",
        )
        assert (folder / "version").read_text("ascii") == f"{SCHEMA.version}\n"
        assert not [*(folder / "scale").glob("*.sqlite")]
    finally:
        shutil.rmtree(folder)


def _psql(query: str) -> str:
    return f'psql --host "$PWD/db" --username ibcm --tuples-only --no-align -c "{query}" ibcm'


def _requests_through_haproxy(folder: Path, start: str, before: str = "", after: str = "") -> None:
    """Paste the commands, with those for PostgreSQL; each request succeeds."""
    serve, _, request = _blocks("Two bridges on one machine")
    (folder / "deploy").symlink_to(ROOT / "deploy")
    ready = "[ $(ss -Hltn 'sport = :9100' | wc -l) = 2 ] && [ -e scale/admin.sock ]"
    # In a network namespace of its own: the commands have fixed ports.
    script = "\n".join(
        [
            "set -eu",
            "ip link set lo up",
            f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH:/usr/sbin",
            f"PATH=$PATH:{postgresql_programs() or ''}",
            f"trap {shlex.quote(f'set +e; kill $(jobs -p); wait; {after}')} EXIT",
            before,
            f"{serve.rstrip()} >serve.log 2>&1 &",
            _WAIT_FOR.format(condition="[ -e kit/kit.json ]"),
            start,
            _WAIT_FOR.format(condition=ready),
            # Two successful health checks.
            "sleep 5",
            request,
        ]
    )
    done = subprocess.run(
        ["unshare", "--net", "bash", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    statuses = re.findall(r"^HTTP/1.1 (\d+)", done.stdout, re.MULTILINE)
    assert statuses == ["200"] * 4, done.stdout + done.stderr
    audits = [folder / "scale" / f"audit-127.0.0.1{number}.jsonl" for number in (1, 2)]
    lines = [line for audit in audits for line in whole_lines(audit)]
    records = [record for line in lines if "target" in (record := json.loads(line))]
    assert [record["via"].partition(":")[0] for record in records] == ["127.0.0.10"] * 4


CAPACITY = (
    ("capacity", "--clients", "175000"),
    ("capacity", "--clients", "175000", "--cores", "4", "--machines", "4", "--connections", "5000"),
)


def test_the_page_shows_the_output_of_capacity(capsys: pytest.CaptureFixture[str]) -> None:
    """After new benchmarks: WRITE_DOCS=1 pytest tests/repository/test_scale_page.py."""
    outputs = []
    for arguments in CAPACITY:
        main(arguments)
        outputs.append(f"$ ibcm-bridge {shlex.join(arguments)}\n{capsys.readouterr().out}")
    head, section = PAGE.split("\n## Capacity\n")
    texts = iter(outputs)
    expected = re.sub(
        r"(```text\n).*?(```)", lambda found: found[1] + next(texts) + found[2], section, flags=re.S
    )
    if os.environ.get("WRITE_DOCS"):
        FILE.write_text(f"{head}\n## Capacity\n{expected}", "utf-8")
    else:
        assert section == expected, "run: WRITE_DOCS=1 pytest tests/repository/test_scale_page.py"


def test_the_commands_of_the_admin_socket_name_servers_that_exist() -> None:
    (drain,) = _blocks("Drain and restart one bridge")
    (backends,) = re.findall(r"for backend in (.*?);", drain)
    assert tuple(f"bridges-{backend}" for backend in backends.split()) == BACKENDS
    assert set(re.findall(r"^drain (\S+)", drain, re.MULTILINE)) <= set(NAMES)
