"""The tables of messages in agent.db."""

from shared.storage.database import Schema

SCHEMA = Schema(
    "mailbox",
    (
        """
    CREATE TABLE messages (
        run_id TEXT NOT NULL,
        position INTEGER NOT NULL,
        message_id TEXT NOT NULL,
        sender TEXT NOT NULL,
        recipient TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        hop_index INTEGER NOT NULL,
        expire_ns INTEGER NOT NULL,
        state INTEGER NOT NULL,
        dead_reason TEXT NOT NULL,
        is_told INTEGER NOT NULL DEFAULT 0,
        content_digest BLOB NOT NULL,
        message BLOB NOT NULL,
        PRIMARY KEY (run_id, position)
    );
    CREATE UNIQUE INDEX messages_by_id ON messages (run_id, message_id);
    CREATE INDEX untold_messages ON messages (run_id) WHERE is_told = 0;
    CREATE TABLE deliveries (
        run_id TEXT NOT NULL,
        hop_key TEXT NOT NULL,
        position INTEGER NOT NULL,
        PRIMARY KEY (run_id, hop_key)
    ) WITHOUT ROWID;
        """,
    ),
)
"""`position`: the order in the run; `hop_index`: -1 from outside; `is_told`: an event has told of it.

`deliveries` holds up to which position a hop was given its role's messages, so that a repeated hop gets the same ones
and no others: one key with another request would be refused."""
