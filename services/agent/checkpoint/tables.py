"""The tables of threads and checkpoints in agent.db."""

from services.agent.checkpoint.stock import STOCK_TABLES, import_stock
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
    CREATE TABLE thread_checkpoints (
        seq INTEGER PRIMARY KEY,
        thread_id TEXT NOT NULL,
        checkpoint_ns TEXT NOT NULL,
        checkpoint_id TEXT NOT NULL,
        parent_id TEXT,
        run_id TEXT,
        metadata TEXT NOT NULL,
        type TEXT NOT NULL,
        body BLOB NOT NULL,
        digest BLOB NOT NULL
    );
    CREATE INDEX checkpoints_by_thread ON thread_checkpoints (thread_id, checkpoint_ns, seq, checkpoint_id);
    CREATE TABLE thread_writes (
        thread_id TEXT NOT NULL,
        checkpoint_ns TEXT NOT NULL,
        checkpoint_id TEXT NOT NULL,
        task_id TEXT NOT NULL,
        task_path TEXT NOT NULL,
        body BLOB NOT NULL,
        digest BLOB NOT NULL,
        PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id)
    ) WITHOUT ROWID;
    CREATE TABLE chunks (
        thread_id TEXT NOT NULL,
        digest BLOB NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (thread_id, digest)
    ) WITHOUT ROWID;
        """,
        import_stock,
    ),
    adopts=STOCK_TABLES,
)
"""`seq` is the order of commits, which a clock that was put back does not change; the head is the greatest of it.

One index serves both the head and the search for an id, which reads only the index and finds new ones first: one more
would cost every step a page."""
