"""What goes wrong with a lab, for who started it."""

from __future__ import annotations

from ibcm_bridge.os_errors import ListenError, cannot_write, is_about_writing


class LabError(Exception):
    """The lab cannot be had, and what to do about it, in one sentence."""


def in_one_sentence(error: Exception, place: object, otherwise: str) -> str:
    """What went wrong, with what to do.

    `place` is where the lab writes, for an error that names no file, and `otherwise` what to do
    where it cannot.
    """
    if isinstance(error, OSError):
        return _of_the_system(error, place, otherwise)
    text = str(error)
    if why := why_not_started(text):
        reason = why.partition("; ")[0]
        # The bridge has said what to do about its policy, which here is the lab's own.
        return f"{reason}; free some space, or {otherwise}" if "is full" in reason else why
    return text.strip()


def _of_the_system(error: OSError, place: object, otherwise: str) -> str:
    why = error.strerror or str(error)
    if isinstance(error, ListenError):
        return why
    if is_about_writing(error):
        return cannot_write(error, error.filename or place, otherwise)
    if isinstance(error, ConnectionError):
        return f"{why}: has the lab ended? Start one with: ibcm-bridge lab up"
    if error.filename:
        return f"{error.filename}: {why}"
    # tempfile names no file where there is no folder that it can use.
    return f"{why}; {otherwise}" if isinstance(error, FileNotFoundError) else why


def why_not_started(text: str) -> str:
    """Of what the bridge printed, why it could not start; empty where it does not say."""
    lines = [line for line in text.splitlines() if "cannot start: " in line]
    return lines[0].partition("cannot start: ")[2] if lines else ""
