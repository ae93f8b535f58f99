"""The table of incidents in control.db; a step that was released is never edited."""

from shared.storage.database import Schema

SCHEMA = Schema(
    "incidents",
    (
        """
    CREATE TABLE incidents (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        time_ns INTEGER NOT NULL,
        message TEXT NOT NULL,
        service TEXT NOT NULL,
        instance_id TEXT NOT NULL,
        run_id TEXT NOT NULL,
        gap_ms REAL
    ) STRICT;
        """,
    ),
)
