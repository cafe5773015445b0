"""The tested versions of mitmproxy. The addons use private parts of it."""

from __future__ import annotations

from mitmproxy import version

TESTED = ("12.2", "12.3")
"""Minor versions, oldest first. pyproject.toml allows these and no others, constraints.txt pins the
newest, and .ci/run runs the tests on each (tests/repository/test_packaging)."""


def why_untested() -> str | None:
    """Return why the bridge does not start with this mitmproxy, or None if it does."""
    if version.VERSION.startswith(tuple(f"{minor}." for minor in TESTED)):
        return None
    tested = " or ".join(f"{minor}.x" for minor in TESTED)
    return (
        f"mitmproxy {version.VERSION} is not a tested version; install {tested}, or pass "
        "--untested-mitmproxy"
    )
