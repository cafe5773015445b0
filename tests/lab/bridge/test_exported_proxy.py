"""Another proxy, as a process of the lab."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

CRASHES = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from ibcm_bridge.export.proxies import PROXIES
from ibcm_bridge.lab.bridge.exported_proxy import exported_proxy
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.files import shipped_policy

folder = Path(sys.argv[1])
LabPki.make(now=datetime.now(UTC)).write(folder / "pki")
with exported_proxy(PROXIES["nginx"], shipped_policy(), folder) as running:
    print(running.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="drives Debian's packages")
@pytest.mark.needs("nginx", "setpriv")
def test_a_proxy_ends_with_a_lab_that_crashes(tmp_path: Path) -> None:
    # The path of a socket of the proxy must be short.
    with tempfile.TemporaryDirectory(prefix="ibcm-") as folder:
        crashed = subprocess.run(
            [sys.executable, "-c", CRASHES, str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"TMPDIR": folder},
        )
        assert crashed.returncode == -signal.SIGKILL, crashed.stderr
        deadline = time.monotonic() + 20
        while _runs(int(crashed.stdout)):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def _runs(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
