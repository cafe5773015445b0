"""Which mitmproxy the tests have run on: the addons lean on private parts of it."""

from __future__ import annotations

from mitmproxy import version

TESTED = ("12.2", "12.3")
"""Minor versions, oldest first. pyproject.toml allows these and no others, constraints.txt pins the
newest, and .ci/run runs the tests on each (tests/repository/test_packaging)."""


def why_untested() -> str | None:
    """Why the bridge does not start on this mitmproxy, for the operator; None where it does."""
    if version.VERSION.startswith(tuple(f"{minor}." for minor in TESTED)):
        return None
    tested = " or ".join(f"{minor}.x" for minor in TESTED)
    return (
        f"mitmproxy {version.VERSION} has not been tested with; use {tested}, or say "
        "--untested-mitmproxy"
    )
