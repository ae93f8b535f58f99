"""The table of the projection in control.db; a step that was released is never edited."""

from shared.storage.database import Schema

SCHEMA = Schema(
    "runs",
    (
        """
    CREATE TABLE runs (
        run_id TEXT PRIMARY KEY,
        store_id TEXT NOT NULL,
        generation INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        instance_id TEXT NOT NULL,
        state INTEGER NOT NULL,
        create_ns INTEGER NOT NULL,
        thread_id TEXT NOT NULL,
        workflow TEXT NOT NULL,
        tenant TEXT NOT NULL,
        query TEXT NOT NULL,
        answer TEXT NOT NULL,
        run BLOB NOT NULL
    ) STRICT;
    CREATE INDEX runs_by_time ON runs (create_ns DESC, run_id);
    CREATE INDEX runs_by_store ON runs (store_id, create_ns DESC);
    CREATE INDEX runs_by_thread ON runs (thread_id, create_ns);
    CREATE INDEX unfinished_runs ON runs (state) WHERE state < 5;
        """,
        # counts by state touch no row
        "CREATE INDEX runs_by_state ON runs (state, instance_id)",
        # the capabilities that a run has called
        """
    CREATE TABLE run_services (run_id TEXT NOT NULL, service TEXT NOT NULL, PRIMARY KEY (run_id, service))
        STRICT, WITHOUT ROWID;
    CREATE TRIGGER run_services_go AFTER DELETE ON runs
        BEGIN DELETE FROM run_services WHERE run_id = OLD.run_id; END;
        """,
    ),
)
