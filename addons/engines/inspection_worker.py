"""One worker process of the pool: `python -m ibcm_bridge.addons.engines.inspection_worker`.

On standard input it reads pickles from the bridge, each preceded by its length: first the
`EngineSetup`, then one `Subject` after another. On standard output it writes one report per line,
and an empty line when the engines are ready. It exits at the end of its input, which is when the
bridge has stopped or died.

Any failure ends the worker: the bridge then has no report and refuses the body.
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
from ibcm_bridge.addons.engines.timing import ScanTimes
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.inspection.engines import ContentEngine
from ibcm_bridge.inspection.parser_warnings import ignore_parser_warnings
from ibcm_bridge.inspection.reports import Report, write_report
from ibcm_bridge.inspection.scan import read_and_scan
from ibcm_bridge.inspection.subject import CleanBody, Subject
from ibcm_bridge.storage.upload_spool import read_object
from ibcm_bridge.storage.upload_table import SpoolError

LENGTH_BYTES = 8
NICENESS = 5
"""The bridge has priority: it serves all clients, a worker only one."""


def main() -> None:
    """Inspect subjects until the input ends."""
    ignore_parser_warnings()
    # A signal may go to the whole process group; requests under way must still finish.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    # If the bridge exits while a report is written, the worker ends too.
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin.buffer, sys.stdout.buffer)


def serve(received: BinaryIO, sent: BinaryIO) -> None:
    """Make the engines, then write a report for each subject."""
    messages = _messages(received)
    setup = next(messages)
    assert isinstance(setup, EngineSetup)
    times = ScanTimes()
    engines = setup.make(scanned=times.add)
    _send(sent, b"\n")
    for subject in messages:
        assert isinstance(subject, Subject)
        result = _inspect(subject, engines)
        _send(sent, write_report(Report(subject.digest(), result, times.taken())))


def _inspect(subject: Subject, engines: Sequence[ContentEngine]) -> CleanBody | Deny:
    try:
        whole = _with_object(subject)
    except SpoolError as error:
        # The client may have cancelled the upload: this worker need not end.
        return Deny(Reason.UPLOAD_UNAVAILABLE, rules.UPLOADS_SPOOL, str(error)[:200])
    return read_and_scan(whole, engines)


def _with_object(subject: Subject) -> Subject:
    """Replace the last fragment of an upload by the whole upload."""
    if subject.stored is None:
        return subject
    if isinstance(subject.stored.spool, str):
        return subject.put_together(read_object(subject.stored))
    # psycopg is an extra, which a policy without `state` does not need.
    from ibcm_bridge.storage.postgresql_stores import read_shared_object  # noqa: PLC0415

    return subject.put_together(read_shared_object(subject.stored))


def framed(message: object) -> bytes:
    """Encode a message for a worker."""
    pickled = pickle.dumps(message)
    return len(pickled).to_bytes(LENGTH_BYTES) + pickled


def _messages(received: BinaryIO) -> Iterator[Any]:
    while len(length := received.read(LENGTH_BYTES)) == LENGTH_BYTES:
        pickled = received.read(int.from_bytes(length))
        if len(pickled) < int.from_bytes(length):
            return
        yield pickle.loads(pickled)  # noqa: S301 - from the bridge, through a pipe of its own


def _send(sent: BinaryIO, line: bytes) -> None:
    sent.write(line)
    sent.flush()


if __name__ == "__main__":
    main()
