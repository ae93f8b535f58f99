"""The table of log records in control.db; a step that was released is never edited."""

from shared.storage.database import Schema

SCHEMA = Schema(
    "logs",
    (
        """
    CREATE TABLE logs (
        id INTEGER PRIMARY KEY,
        time_ns INTEGER NOT NULL,
        severity INTEGER NOT NULL,
        severity_text TEXT NOT NULL,
        service TEXT NOT NULL,
        instance_id TEXT NOT NULL,
        logger TEXT NOT NULL,
        message TEXT NOT NULL,
        trace_id TEXT NOT NULL,
        span_id TEXT NOT NULL,
        run_id TEXT,
        thread_id TEXT,
        correlation_id TEXT,
        attributes BLOB NOT NULL,
        size INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX logs_by_time ON logs (time_ns, id);
    CREATE INDEX logs_by_run ON logs (run_id, time_ns, id) WHERE run_id IS NOT NULL;
    CREATE INDEX logs_by_correlation ON logs (correlation_id, time_ns, id) WHERE correlation_id IS NOT NULL;
    CREATE INDEX logs_by_trace ON logs (trace_id, time_ns, id) WHERE trace_id <> '';
    CREATE INDEX logs_by_service ON logs (service, time_ns, id);
    CREATE INDEX logs_by_severity ON logs (time_ns, id) WHERE severity >= 13;
    CREATE INDEX logs_by_size ON logs (size);
        """,
    ),
)
