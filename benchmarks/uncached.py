"""Runs a bridge that reads each binding from the shared database, as if it met each client first.

    python -m benchmarks.uncached PYTHON ... -m MODULE ARGUMENT ...

It runs the module in this process, with a cache that keeps nothing.
"""

from __future__ import annotations

import runpy
import sys

from ibcm_bridge.addons.hooks.database.binding_cache import BindingCache


def main() -> None:
    """Run the module."""
    BindingCache.keep = lambda *_: None  # type: ignore[method-assign]
    sys.argv = sys.argv[sys.argv.index("-m") + 1 :]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
