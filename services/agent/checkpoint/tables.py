"""The tables of threads and checkpoints in agent.db."""

from shared.storage.database import Schema

SCHEMA = Schema(
    "checkpoints",
    (
        """
    CREATE TABLE store (generation INTEGER NOT NULL);
    INSERT INTO store VALUES (1);
    CREATE TABLE threads (
        thread_id TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        lease_ns INTEGER NOT NULL
    ) WITHOUT ROWID;
        """,
    ),
)
