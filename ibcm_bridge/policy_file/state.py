"""The database that several bridges share: the key `state`."""

from __future__ import annotations

import sys
from pathlib import Path

from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.policy_file.reading import Reading, why
from ibcm_bridge.policy_file.rows.policy import PolicyRow

_WHERE = ("state",)
_ALLOWED = frozenset(
    ("host", "port", "user", "dbname", "passfile", "sslrootcert", "sslcert", "sslkey")
)
_FILES = ("passfile", "sslrootcert", "sslcert", "sslkey")
_SECRETS = frozenset(("password", "sslpassword"))
_FIXED = {
    "target_session_attrs": "the bridge always uses the primary",
    "sslmode": "the certificate of the server is always verified",
}
"""Parameters of libpq that have one value, and why."""


def read_state(reading: Reading, row: PolicyRow) -> StateDatabase | None:
    """Return the database; None without one, or after a problem."""
    if row.state is None:
        return None
    if sys.platform == "win32":
        # asyncio.ProactorEventLoop has no `add_reader`.
        text = "is not possible on Windows: psycopg does not support its event loop; use Linux"
        reading.report(_WHERE, text)
        return None
    _report_local(reading, row)
    parameters = _parse(reading, row.state)
    if parameters is None:
        return None
    if _SECRETS & parameters.keys():
        text = (
            "contains a password, and the policy must not have secrets; write it to a file "
            "(?passfile=FILE), or set PGPASSWORD in the environment"
        )
        reading.report(_WHERE, text)
        return None
    for key in sorted(parameters.keys() - _ALLOWED):
        why_not = _FIXED.get(key) or f"allowed: {', '.join(sorted(_ALLOWED))}"
        reading.report(_WHERE, f"{key} cannot be set; {why_not}")
    for key, word in (("host", "host"), ("dbname", "database")):
        if not parameters.get(key):
            text = f"names no {word}; write postgresql://USER@HOST/DATABASE"
            reading.report(_WHERE, text)
    if not all(port.isdecimal() for port in parameters.get("port", "").split(",") if port):
        reading.report(_WHERE, "the port is not a number")
    for key in _FILES:
        if key in parameters and (key, parameters[key]) != ("sslrootcert", "system"):
            parameters[key] = str(_file(reading, key, parameters[key]))
    # libpq does not use TLS at a UNIX socket, and these have no effect there.
    parameters["sslmode"] = "verify-full"
    parameters.setdefault("sslrootcert", "system")
    return StateDatabase(row.state, tuple(sorted(parameters.items())))


def _report_local(reading: Reading, row: PolicyRow) -> None:
    files = {
        ("messages", "bindings"): row.messages.bindings,
        ("uploads", "spool"): row.uploads.spool,
    }
    for where, name in files.items():
        if name is not None:
            text = "state names the database for it; remove one of the two keys"
            reading.report(where, text)


def _parse(reading: Reading, text: str) -> dict[str, str] | None:
    try:
        import psycopg_pool  # noqa: F401, PLC0415
        from psycopg import ProgrammingError  # noqa: PLC0415
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415
    except ImportError:
        need = "requires psycopg; run: pip install 'ibcm-bridge[postgresql]'"
        reading.report(_WHERE, need)
        return None
    form = "write postgresql://USER@HOST/DATABASE"
    if not text.startswith("postgresql://"):
        reading.report(_WHERE, f"is not the address of a PostgreSQL database; {form}")
        return None
    try:
        found = conninfo_to_dict(text)
    except ProgrammingError:
        # Its text has the address, which may contain a password.
        reading.report(_WHERE, f"is not an address that PostgreSQL's library accepts; {form}")
        return None
    return {key: str(value) for key, value in found.items() if value is not None}


def _file(reading: Reading, key: str, name: str) -> Path:
    path = reading.relative(name)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        reading.report(_WHERE, f"{key}: {path} cannot be read: {why(error)}")
        return path
    if key in ("passfile", "sslkey") and sys.platform != "win32" and mode & 0o077:
        text = f"{key}: other users can read {path}; run: chmod 600 {path}"
        reading.report(_WHERE, text)
    return path
