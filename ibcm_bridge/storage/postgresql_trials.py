"""Each use of the database that bridges make, tried in a transaction that is rolled back.

A missing right ends one trial, and the others go on. Any other error is of the whole database.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from ibcm_bridge.storage.postgresql_statements import BINDINGS, IMPORT, UPLOADS

_NAME = "ibcm-bridge check"
"""The client GUID of a binding and the name of an upload, which nobody else can see."""

_PIECE = os.urandom(131_072)
"""More than the pages of a table usually have left: a disk that is full is noticed."""

_BYTES = {"name": _NAME, "first": 0, "end": 1}


@dataclass(frozen=True, slots=True)
class Trial:
    """One use of the database."""

    failure: str
    """What a bridge cannot do if the trial fails."""
    statements: tuple[tuple[str, Any], ...]
    """The statements of a bridge, with values."""
    of_command: bool = False
    """Only a command of the operator needs it."""


TRIALS = (
    Trial(
        "cannot add a binding",
        ((BINDINGS.add, (_NAME, "", "", "", "", "", b"")),),
    ),
    Trial(
        "cannot read a binding",
        ((BINDINGS.find, (_NAME,)),),
    ),
    Trial(
        "cannot change a binding",
        (
            (BINDINGS.find_to_change, (_NAME,)),
            (BINDINGS.change, (_NAME, "", "", "", "", "", b"")),
        ),
    ),
    Trial(
        "cannot remove a binding",
        ((BINDINGS.forget, (_NAME,)),),
    ),
    Trial(
        "cannot begin an upload",
        ((UPLOADS.add, (_NAME, _NAME, _NAME, _NAME, _NAME, 0.0)),),
    ),
    Trial(
        "cannot read an upload",
        ((UPLOADS.find, (_NAME, _NAME)), (UPLOADS.totals, ())),
    ),
    Trial(
        "cannot continue an upload",
        (
            (UPLOADS.find_to_change, (_NAME, _NAME)),
            (UPLOADS.grown, (1, 1, 0.0, _NAME)),
            (UPLOADS.acknowledged, (1, 0.0, _NAME)),
        ),
    ),
    Trial(
        "cannot store the bytes of an upload",
        ((UPLOADS.keep, (_NAME, 0, _PIECE)),),
    ),
    Trial(
        "cannot read the bytes of an upload",
        ((UPLOADS.overlapping, _BYTES), (UPLOADS.last, (_NAME, 0))),
    ),
    Trial(
        "cannot remove an upload",
        ((UPLOADS.forget, (_NAME,)),),
    ),
    Trial(
        "cannot remove the bytes of an upload",
        ((UPLOADS.forget_bytes, (_NAME,)),),
    ),
    Trial(
        "`ibcm-bridge identity import` cannot be used",
        ((IMPORT.create, ()),),
        of_command=True,
    ),
)
"""In order: each has the rows of those before it."""


def failed_trials(
    connection: psycopg.Connection, renew: Callable[[], None]
) -> Iterator[tuple[Trial, psycopg.Error]]:
    """Yield each trial that fails. Within a transaction that the caller rolls back.

    `renew` begins the time limit of a trial. Raise psycopg.Error if the connection has ended.
    """
    failed = False
    for trial in TRIALS:
        renew()
        try:
            with connection.transaction():
                for statement, values in trial.statements:
                    connection.execute(statement, values)
        except psycopg.Error as error:
            if connection.closed:
                raise
            if failed and isinstance(error, psycopg.errors.ForeignKeyViolation):
                # Bytes of an upload that could not be begun.
                continue
            yield trial, error
            if not isinstance(error, psycopg.errors.InsufficientPrivilege):
                return
            failed = True
