"""One worker process of the pool: `python -m ibcm_bridge.addons.engines.inspection_worker`.

Standard input gives it pickles of the bridge's own, each after its length: first what its engines
are made of, then one `Subject` after another. Standard output takes one report a line, an empty one
for the engines. It ends when its input does, which is when the bridge has stopped or died.

Whatever goes wrong in it is said by ending: the bridge then has no report, and refuses.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from ibcm_bridge.addons.engines.content_engines import EngineSetup
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.inspection.engines import ContentEngine
from ibcm_bridge.inspection.readers import read_and_scan
from ibcm_bridge.inspection.reports import Report, write_report
from ibcm_bridge.inspection.subject import CleanBody, Subject
from ibcm_bridge.storage.upload_spool import SpoolError, read_object

LENGTH_BYTES = 8
NICENESS = 5
"""The bridge itself comes first: it serves everybody, a worker one client."""


def main() -> None:
    """Look until there is nothing more to look at."""
    # Who stops the bridge may signal all its processes at once; it still lets requests finish.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    # The bridge going away in the middle of an answer is the end, too.
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin.buffer, sys.stdout.buffer)


def serve(received: BinaryIO, sent: BinaryIO) -> None:
    """Make the engines, then report on each subject."""
    messages = _messages(received)
    setup = next(messages)
    assert isinstance(setup, EngineSetup)
    engines = setup.make()
    _say(sent, b"\n")
    for subject in messages:
        assert isinstance(subject, Subject)
        _say(sent, write_report(Report(subject.digest(), _seen(subject, engines))))


def _seen(subject: Subject, engines: Sequence[ContentEngine]) -> CleanBody | Deny:
    try:
        whole = _with_object(subject)
    except SpoolError:
        # Its client may have cancelled it: no reason to end, nor to start another worker.
        return Deny(Reason.UPLOAD_UNAVAILABLE, rules.UPLOADS_SPOOL, "the whole cannot be read")
    return read_and_scan(whole, engines)


def _with_object(subject: Subject) -> Subject:
    """The whole of an upload in the place of its last fragment."""
    if subject.stored is None:
        return subject
    return subject.put_together(read_object(subject.stored))


def framed(message: object) -> bytes:
    """A message as the worker reads it."""
    pickled = pickle.dumps(message)
    return len(pickled).to_bytes(LENGTH_BYTES) + pickled


def _messages(received: BinaryIO) -> Iterator[Any]:
    while len(length := received.read(LENGTH_BYTES)) == LENGTH_BYTES:
        pickled = received.read(int.from_bytes(length))
        if len(pickled) < int.from_bytes(length):
            return
        yield pickle.loads(pickled)  # noqa: S301 - from the bridge, through a pipe of its own


def _say(sent: BinaryIO, line: bytes) -> None:
    sent.write(line)
    sent.flush()


if __name__ == "__main__":
    main()
