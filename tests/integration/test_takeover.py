"""A bridge is replaced while clients connect, send requests, download and tunnel: none notices."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.credentials import Credentials
from tests.integration.reading import until
from tests.integration.under_load import FILE_BYTES, SOON, Bridge, Download, Load
from tests.integration.worker_bridges import children, runs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a takeover requires Linux")


@pytest.fixture
def start(
    tmp_path: Path, pki: LabPki, site_systems: SiteSystems
) -> Iterator[Callable[..., Bridge]]:
    """Starts a bridge for one test."""
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(
            Bridge(tmp_path, pki, site_systems, **settings)
        )


@pytest.fixture
def site_systems(pki: LabPki, credentials: Credentials) -> Iterator[SiteSystems]:
    with SiteSystems(pki, download_bytes=FILE_BYTES) as site:
        yield site


@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 2), (1, 2), (3, 2)])
def test_no_client_notices_a_takeover(
    start: Callable[..., Bridge], credentials: Credentials, before: int, after: int
) -> None:
    bridge = start(workers=before)
    bridge.change(workers=after)
    with (
        Load(bridge, credentials) as load,
        Download(bridge, credentials) as download,
        bridge.successor() as successor,
    ):
        until(lambda: bridge.has_said("has taken over; this one drains"), "it", SOON)
        load.goes_on()
        assert runs(bridge.pid), "a download and a tunnel are open"
        download.finish()
        load.stop()
        assert bridge.ended() == 0
        assert bridge.has_said("ibcm-bridge: drained")
        assert not bridge.has_said("cut off")
        if after > 1:
            assert len(children(successor.pid)) == after
        assert successor.reload().returncode == 0
        assert not successor.has_said("Traceback")
    assert not bridge.has_said("Traceback")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_that_cannot_take_over_changes_nothing(
    start: Callable[..., Bridge], credentials: Credentials, workers: int
) -> None:
    bridge = start(workers=workers)
    text = bridge.policy_file.read_text("utf-8")
    command = ["run", "--config", str(bridge.policy_file), *bridge._options]
    with Load(bridge, credentials) as load:
        refused = bridge.command(*command)
        assert refused.returncode == 1
        assert "replace it with --take-over" in refused.stderr
        # It has the sockets, and fails later: the file of another application.
        (bridge.directory / "other.sqlite").write_bytes(b"no database" * 100)
        bridge.change(uploads={"spool": "other.sqlite"})
        failed = bridge.command(*command, "--take-over")
        assert failed.returncode == 1
        assert "other.sqlite is not a database" in failed.stderr
        until(lambda: bridge.has_said("has ended before it took over; this one goes on"), "it")
        load.goes_on()
        # It is killed while it starts.
        bridge.policy_file.write_text(text, "utf-8")
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "ibcm_bridge", *command, "--take-over"],
            stderr=subprocess.DEVNULL,
        ) as process:
            it = f"process {process.pid}"
            until(lambda: bridge.has_said(f"{it} is taking over"), "the takeover", SOON)
            process.kill()
        until(lambda: bridge.has_said(f"{it} has ended before"), "the end of the takeover", SOON)
        load.goes_on()
        # A reload reports each problem, as `check` does.
        bridge.policy_file.write_text(text + "unknown: 1\nother: 2\n", "utf-8")
        checked = bridge.command("check", "--config", str(bridge.policy_file)).stderr.splitlines()
        reloaded = bridge.reload()
        assert (reloaded.returncode, reloaded.stdout) == (1, "")
        assert reloaded.stderr.splitlines()[:-1] == checked[:-1]
        assert reloaded.stderr.splitlines()[-1].startswith("2 problems; reload refused; the policy")
        bridge.policy_file.write_text(text + "# changed\n", "utf-8")
        reloaded = bridge.reload()
        digest = hashlib.sha256(bridge.policy_file.read_bytes()).hexdigest()[:16]
        assert (reloaded.returncode, reloaded.stderr) == (0, "")
        assert reloaded.stdout == f"reload done; the policy in use is {digest}\n"
        load.goes_on()
    assert bridge.stop() == 0
    assert not bridge.control.exists()
    assert not bridge.has_said("Traceback")
