"""Less than a command needs: files that may not grow, disks that are full, rights that are missing.

All of it is real: what a test sees is what the operating system says.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = sys.platform == "linux" and os.geteuid() == 0
AS_ROOT = pytest.mark.needs("root")
ON_UNIX = pytest.mark.skipif(os.name != "posix", reason="limits, devices and permissions of Unix")


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process grows beyond that many bytes meanwhile (EFBIG)."""
    import resource  # noqa: PLC0415 - Windows has none

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def on_a_disk(folder: Path, options: str) -> list[str]:
    """What stands before a command for which a small disk is mounted there; it goes with it.

    For root. `options` are those of tmpfs, such as "ro" or "size=64k".
    """
    mounts = f'mount -t tmpfs -o {options} tmpfs "$0" && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", mounts, str(folder)]


WITHOUT_LOW_PORTS = ["unshare", "--net", "setpriv", "--bounding-set=-net_bind_service"]
"""Before a command that may not listen on ports below 1024, in a network of its own. For root."""

AS_ANYBODY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if ROOT else []
"""A prefix that applies file permissions to a command, even if root runs the tests."""
