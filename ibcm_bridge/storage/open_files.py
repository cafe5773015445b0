"""The limit of open files and connections of this process (POSIX; Windows has no such limit)."""

from __future__ import annotations

import contextlib
import sys

MAX_OPEN_FILES = 262_144
"""More than the bridge ever needs."""

SPARE_FILES = 64
"""Files, pipes and listeners of the bridge itself."""

if sys.platform != "win32":
    import resource

    def raise_open_file_limit() -> None:
        """Raise this process's limit as far as the system allows, up to MAX_OPEN_FILES.

        The usual default, 1,024, is for programs that use select(2), which the bridge does not.
        Each client of the bridge needs two.
        """
        limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MAX_OPEN_FILES if most == resource.RLIM_INFINITY else min(most, MAX_OPEN_FILES)
        # If the system has another, lower limit, like macOS, the limit is not changed.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit, wanted), most))

    def open_files_refusal(connections: int) -> str | None:
        """Return why a bridge cannot have so many connections, for the operator; None if it can.

        Each has one to the client and one to a site system.
        """
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = 2 * connections + SPARE_FILES
        if most == resource.RLIM_INFINITY or needed <= most:
            return None
        return (
            f"{connections} connections need {needed} file descriptors, but the system allows "
            f"{most}; raise its hard limit (LimitNOFILE= in systemd), or write at most "
            f"{max(1, (most - SPARE_FILES) // 2)}"
        )

    def open_file_limit() -> int | None:
        """Return the limit of this process; None if there is none."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return None if limit == resource.RLIM_INFINITY else limit

else:

    def raise_open_file_limit() -> None:
        """Do nothing."""

    def open_files_refusal(_connections: int) -> str | None:
        """Return None."""
        return None

    def open_file_limit() -> int | None:
        """Return None."""
        return None
