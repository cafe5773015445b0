"""How many files and connections this process may have open (POSIX; Windows has no such limit)."""

from __future__ import annotations

import contextlib
import sys

MAX_OPEN_FILES = 65_536
"""More than anything here needs."""

if sys.platform != "win32":
    import resource

    def raise_open_file_limit() -> None:
        """Raise this process's own limit as far as the system allows, up to MAX_OPEN_FILES.

        What is usual to begin with, 1,024, is for programs that use select(2), which nothing here
        does. Each client of a bridge takes two.
        """
        limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MAX_OPEN_FILES if most == resource.RLIM_INFINITY else min(most, MAX_OPEN_FILES)
        # Where a system has another limit behind this one, as macOS has, it stays as it is.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit, wanted), most))

else:

    def raise_open_file_limit() -> None:
        """Nothing to do."""
