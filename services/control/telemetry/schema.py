"""The schema of control.db, one script a step; a step that was released is never edited."""

from shared.storage.database import Schema

SCHEMA = Schema(
    "telemetry",
    (
        """
    CREATE TABLE spans (
        id INTEGER PRIMARY KEY,
        trace_id TEXT NOT NULL,
        span_id TEXT NOT NULL,
        parent_span_id TEXT NOT NULL,
        name TEXT NOT NULL,
        service TEXT NOT NULL,
        kind TEXT NOT NULL,
        start_ns INTEGER NOT NULL,
        end_ns INTEGER,
        state TEXT NOT NULL,
        status_message TEXT NOT NULL,
        run_id TEXT,
        thread_id TEXT,
        correlation_id TEXT,
        instance_id TEXT NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX spans_by_id ON spans (trace_id, span_id);
    CREATE INDEX spans_by_run ON spans (run_id, start_ns) WHERE run_id IS NOT NULL;
    CREATE INDEX spans_by_thread ON spans (thread_id, start_ns) WHERE thread_id IS NOT NULL;
    CREATE INDEX spans_by_correlation ON spans (correlation_id, start_ns) WHERE correlation_id IS NOT NULL;
    CREATE INDEX spans_by_service ON spans (service, start_ns);
    CREATE INDEX spans_by_start ON spans (start_ns);
    CREATE INDEX spans_running ON spans (instance_id) WHERE state = 'running';
        """,
        """
    CREATE TABLE committed_spans (
        trace_id TEXT NOT NULL,
        span_id TEXT NOT NULL,
        parent_span_id TEXT NOT NULL,
        name TEXT NOT NULL,
        service TEXT NOT NULL,
        kind TEXT NOT NULL,
        start_ns INTEGER NOT NULL,
        end_ns INTEGER NOT NULL,
        state TEXT NOT NULL,
        status_message TEXT NOT NULL,
        run_id TEXT,
        thread_id TEXT,
        correlation_id TEXT,
        instance_id TEXT NOT NULL,
        body BLOB NOT NULL,
        epoch INTEGER NOT NULL,
        noted_ns INTEGER NOT NULL,
        PRIMARY KEY (trace_id, span_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX committed_spans_by_time ON committed_spans (noted_ns);
    CREATE INDEX committed_spans_by_run ON committed_spans (run_id, epoch);
        """,
    ),
)
