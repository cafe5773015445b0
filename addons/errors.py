"""Why the bridge cannot start."""

from __future__ import annotations


class StartError(Exception):
    """The bridge cannot start, and why, for the operator."""
