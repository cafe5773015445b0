"""What goes wrong with a lab, for who started it."""

from __future__ import annotations


class LabError(Exception):
    """The lab cannot be had, and what to do about it, in one sentence."""
