"""The error of a bridge that cannot start."""

from __future__ import annotations


class StartError(Exception):
    """The bridge cannot start. The text is for the operator."""
