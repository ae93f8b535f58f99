"""The table of the observability mode in control.db; a step that was released is never edited."""

from shared.storage.database import Schema

SCHEMA = Schema(
    "mode",
    (
        """
    CREATE TABLE mode_layers (
        layer TEXT PRIMARY KEY,
        mode TEXT NOT NULL,
        end_s REAL,
        remaining_s REAL
    ) STRICT;
        """,
    ),
)
