"""How many files and connections this process may have open (POSIX; Windows has no such limit)."""

from __future__ import annotations

import contextlib
import sys

MANY = 65_536
"""More than anything here needs."""

if sys.platform != "win32":
    import resource

    def allow_many() -> None:
        """As many as the system lets this process have without asking anybody, up to MANY.

        What is usual to begin with, 1,024, is for programs that use select(2), which nothing here
        does. Each client of a bridge takes two.
        """
        limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MANY if most == resource.RLIM_INFINITY else min(most, MANY)
        # Where a system has another limit behind this one, as macOS has, it stays as it is.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit, wanted), most))

else:

    def allow_many() -> None:
        """Nothing to do."""
