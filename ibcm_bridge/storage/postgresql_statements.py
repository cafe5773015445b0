"""All statements for PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass

from ibcm_bridge.storage.statements import BindingStatements, UploadStatements

CHANNEL = "ibcm_bridge_bindings"
"""Notifications: the client GUID of a binding that was changed or removed; empty: all."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE ibcm_bridge.version (version integer NOT NULL)",
        "INSERT INTO ibcm_bridge.version VALUES (0)",
        # The order of client GUIDs must not depend on the language of the database.
        """
        CREATE TABLE ibcm_bridge.bindings (
            guid text COLLATE "C" NOT NULL PRIMARY KEY,
            source text NOT NULL,
            since text NOT NULL,
            key text NOT NULL,
            certificate text NOT NULL,
            name text NOT NULL,
            signing_key bytea NOT NULL
        )
        """,
        # By the database, so that a change by psql is noticed, too.
        f"""
        CREATE FUNCTION ibcm_bridge.notify_binding() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('{CHANNEL}', CASE WHEN TG_OP = 'TRUNCATE' THEN '' ELSE OLD.guid END);
            RETURN NULL;
        END $$
        """,
        """
        CREATE TRIGGER changed AFTER UPDATE OR DELETE ON ibcm_bridge.bindings
        FOR EACH ROW EXECUTE FUNCTION ibcm_bridge.notify_binding()
        """,
        """
        CREATE TRIGGER emptied AFTER TRUNCATE ON ibcm_bridge.bindings
        FOR EACH STATEMENT EXECUTE FUNCTION ibcm_bridge.notify_binding()
        """,
    ),
    (
        """
        CREATE TABLE ibcm_bridge.sessions (
            site_system text NOT NULL,
            id text NOT NULL,
            key text NOT NULL,
            path text NOT NULL,
            name text NOT NULL UNIQUE,
            total bigint,
            length bigint NOT NULL,
            acknowledged bigint NOT NULL,
            used double precision NOT NULL,
            PRIMARY KEY (site_system, id)
        )
        """,
        # [MC-BUP] section 2.2.1.2: a session id is a GUID, and unique whatever its case.
        "CREATE UNIQUE INDEX ON ibcm_bridge.sessions (site_system, lower(id))",
        "CREATE INDEX ON ibcm_bridge.sessions (key, used)",
        """
        CREATE TABLE ibcm_bridge.fragments (
            name text NOT NULL REFERENCES ibcm_bridge.sessions (name) ON DELETE CASCADE,
            first bigint NOT NULL,
            bytes bytea NOT NULL,
            PRIMARY KEY (name, first)
        )
        """,
        # Client data is random or compressed: an attempt to compress it again only takes time.
        "ALTER TABLE ibcm_bridge.fragments ALTER COLUMN bytes SET STORAGE EXTERNAL",
    ),
)
"""The statements to each version of the schema, in order. One that was released never changes.

Older bridges run meanwhile. For a table that a migration has changed, they wait 1.5 s for its end.
"""

COMPATIBLE_SINCE = 1
"""The oldest version whose programs can use the schema after all migrations, and store in it what
newer ones need. A migration that only adds leaves it as it is: a new column has a default.
"""

_COLUMNS = "guid, source, since, key, certificate, name, signing_key"
_FIND = f"SELECT {_COLUMNS} FROM ibcm_bridge.bindings WHERE guid = %s"

READ, READ_SEPARATOR = "ibcm_bridge_read", ","
PREPARE_READ = (
    f"PREPARE {READ} (text) AS SELECT {_COLUMNS} FROM ibcm_bridge.bindings "
    f"WHERE guid = ANY(string_to_array($1, '{READ_SEPARATOR}'))"
)
"""The bindings of the client GUIDs in a parameter."""

BINDINGS = BindingStatements(
    find=_FIND,
    find_to_change=f"{_FIND} FOR UPDATE",
    page_after=(
        f"SELECT {_COLUMNS} FROM ibcm_bridge.bindings WHERE guid > %s ORDER BY guid LIMIT %s"
    ),
    add=(
        f"INSERT INTO ibcm_bridge.bindings ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s) "
        "ON CONFLICT DO NOTHING"
    ),
    change=(
        f"INSERT INTO ibcm_bridge.bindings ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s) "
        "ON CONFLICT (guid) DO UPDATE SET source = EXCLUDED.source, since = EXCLUDED.since, "
        "key = EXCLUDED.key, certificate = EXCLUDED.certificate, name = EXCLUDED.name, "
        "signing_key = EXCLUDED.signing_key"
    ),
    forget="DELETE FROM ibcm_bridge.bindings WHERE guid = %s",
)


@dataclass(frozen=True, slots=True)
class ImportStatements:
    """The statements of an import of bindings (`postgresql_import`)."""

    create: str
    copy: str
    analyze: str
    """For a good plan: nothing else counts the rows of a temporary table."""
    add: str
    """Add the rows with an unbound client GUID, and remove them from the temporary table."""
    stored: str
    """A page of the stored rows of the client GUIDs that are left."""
    change: str
    """Replace the stored rows of these client GUIDs."""
    drop: str
    """Remove these client GUIDs from the temporary table."""

    def page(self, *, lock: bool) -> str:
        """`stored`; with `lock`, no other transaction changes these rows meanwhile."""
        return f"{self.stored} FOR UPDATE OF stored" if lock else self.stored


_STORED_COLUMNS = ", ".join(f"stored.{column}" for column in _COLUMNS.split(", "))

IMPORT = ImportStatements(
    create=(
        "CREATE TEMPORARY TABLE imported (LIKE ibcm_bridge.bindings INCLUDING INDEXES) "
        "ON COMMIT DROP"
    ),
    copy=f"COPY pg_temp.imported ({_COLUMNS}) FROM STDIN",
    analyze="ANALYZE pg_temp.imported",
    # In order, so that two imports do not wait for each other.
    add=(
        f"WITH added AS (INSERT INTO ibcm_bridge.bindings ({_COLUMNS}) "
        f"SELECT {_COLUMNS} FROM pg_temp.imported ORDER BY guid "
        "ON CONFLICT DO NOTHING RETURNING guid) "
        "DELETE FROM pg_temp.imported USING added WHERE imported.guid = added.guid"
    ),
    # Both tables from there: a merge would read one from its first row again for each page.
    stored=(
        f"SELECT {_STORED_COLUMNS} FROM ibcm_bridge.bindings AS stored "
        "JOIN pg_temp.imported USING (guid) "
        "WHERE imported.guid > %(after)s AND stored.guid > %(after)s ORDER BY guid LIMIT %(limit)s"
    ),
    change=(
        "UPDATE ibcm_bridge.bindings AS stored SET source = imported.source, "
        "since = imported.since, key = imported.key, certificate = imported.certificate, "
        "name = imported.name, signing_key = imported.signing_key "
        "FROM pg_temp.imported WHERE stored.guid = imported.guid AND imported.guid = ANY(%s)"
    ),
    drop="DELETE FROM pg_temp.imported WHERE guid = ANY(%s)",
)

COUNT_BINDINGS = "SELECT count(*) FROM ibcm_bridge.bindings"

_SESSION = "site_system, id, key, path, name, total, length, acknowledged, used"
_FIND_SESSION = f"SELECT {_SESSION} FROM ibcm_bridge.sessions WHERE site_system = %s AND"

UPLOADS = UploadStatements(
    find=f"{_FIND_SESSION} id = %s",
    find_to_change=f"{_FIND_SESSION} id = %s FOR UPDATE",
    known=f"{_FIND_SESSION} lower(id) = lower(%s)",
    length="SELECT length FROM ibcm_bridge.sessions WHERE name = %s FOR UPDATE",
    add=(
        f"INSERT INTO ibcm_bridge.sessions ({_SESSION}) "
        "VALUES (%s, %s, %s, %s, %s, NULL, 0, 0, %s) ON CONFLICT DO NOTHING"
    ),
    grown="UPDATE ibcm_bridge.sessions SET total = %s, length = %s, used = %s WHERE name = %s",
    acknowledged=("UPDATE ibcm_bridge.sessions SET acknowledged = %s, used = %s WHERE name = %s"),
    forget="DELETE FROM ibcm_bridge.sessions WHERE name = %s",
    forget_bytes="DELETE FROM ibcm_bridge.fragments WHERE name = %s",
    abandoned=("SELECT name FROM ibcm_bridge.sessions WHERE used < %s FOR UPDATE SKIP LOCKED"),
    of_client=(
        "SELECT name FROM ibcm_bridge.sessions WHERE key = %s ORDER BY used DESC "
        "FOR UPDATE SKIP LOCKED"
    ),
    others=(
        "SELECT name, length FROM ibcm_bridge.sessions WHERE key = %s AND name != %s "
        "ORDER BY used FOR UPDATE SKIP LOCKED"
    ),
    counts="SELECT key, count(*) FROM ibcm_bridge.sessions GROUP BY key",
    sizes="SELECT key, sum(length)::bigint FROM ibcm_bridge.sessions GROUP BY key",
    totals="SELECT count(*), coalesce(sum(length), 0)::bigint FROM ibcm_bridge.sessions",
    keep=(
        "INSERT INTO ibcm_bridge.fragments (name, first, bytes) VALUES (%s, %s, %s) "
        "ON CONFLICT (name, first) DO UPDATE SET bytes = EXCLUDED.bytes"
    ),
    overlapping="""
        SELECT first, bytes FROM ibcm_bridge.fragments
        WHERE name = %(name)s AND first < %(end)s AND first + length(bytes) > %(first)s
            AND first >= (
                SELECT coalesce(max(first), 0) FROM ibcm_bridge.fragments
                WHERE name = %(name)s AND first <= %(first)s
            )
        ORDER BY first
    """,
    last="SELECT first, bytes FROM ibcm_bridge.fragments WHERE name = %s AND first > %s",
    # "ibcswept". Released at the end of the transaction.
    begin_sweep="SELECT 1 WHERE pg_try_advisory_xact_lock(7593434786574365812)",
    give_back=None,
)
