"""Error messages of the lab."""

from __future__ import annotations

from ibcm_bridge.os_errors import ListenError, cannot_write, is_about_writing


class LabError(Exception):
    """The lab cannot start or continue. The message is one sentence with a solution."""


def error_message(error: Exception, place: object, otherwise: str) -> str:
    """Return one sentence with the error and a solution.

    `place` is the folder of the lab, for an error without file name. `otherwise` is the solution if
    the lab cannot write there.
    """
    if isinstance(error, OSError):
        return _os_error_message(error, place, otherwise)
    text = str(error)
    if why := start_error(text):
        reason = why.partition("; ")[0]
        # The bridge advises to change its policy, which the lab generates.
        return f"{reason}; free some space, or {otherwise}" if "is full" in reason else why
    return text.strip()


def _os_error_message(error: OSError, place: object, otherwise: str) -> str:
    why = error.strerror or str(error)
    if isinstance(error, ListenError):
        return why
    if is_about_writing(error):
        return cannot_write(error, error.filename or place, otherwise)
    if isinstance(error, ConnectionError):
        return f"{why}; if the lab is not running, start it with: ibcm-bridge lab up"
    if error.filename:
        return f"{error.filename}: {why}"
    # tempfile names no file if it finds no usable folder.
    return f"{why}; {otherwise}" if isinstance(error, FileNotFoundError) else why


def start_error(text: str) -> str:
    """Extract the start error from the output of the bridge; empty if there is none."""
    lines = [line for line in text.splitlines() if "cannot start: " in line]
    return lines[0].partition("cannot start: ")[2] if lines else ""
