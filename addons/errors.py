"""The errors of a bridge that cannot start or continue."""

from __future__ import annotations


class StartError(Exception):
    """The bridge cannot start. The text is for the operator."""


class WorkersError(Exception):
    """The bridge stopped because its worker processes failed. The text is for the operator."""
