"""Runs and events as rows of agent.db, sealed with a digest that is checked on reading."""

import apsw
from google.protobuf.message import DecodeError

from shared.errors import NotFound, StorageCorrupt
from shared.pb import agent_v1
from shared.storage.database import Schema
from shared.storage.sealed import seal, unseal

SCHEMA = Schema(
    "runs",
    (
        """
    CREATE TABLE runs (
        run_id TEXT PRIMARY KEY,
        thread_id TEXT NOT NULL,
        workflow TEXT NOT NULL,
        tenant TEXT NOT NULL,
        request_id TEXT,
        state INTEGER NOT NULL,
        create_ns INTEGER NOT NULL,
        end_ns INTEGER,
        query TEXT NOT NULL,
        answer TEXT NOT NULL DEFAULT '',
        run BLOB NOT NULL,
        trace_parent TEXT NOT NULL DEFAULT '',
        head TEXT NOT NULL DEFAULT '',
        takeup_count INTEGER NOT NULL DEFAULT 0,
        wants_pause INTEGER NOT NULL DEFAULT 0
    );
    CREATE UNIQUE INDEX runs_by_request ON runs (tenant, request_id) WHERE request_id IS NOT NULL;
    CREATE INDEX runs_by_time ON runs (create_ns DESC, run_id);
    CREATE INDEX runs_by_thread ON runs (thread_id, create_ns);
    CREATE INDEX unfinished_runs ON runs (state) WHERE state < 5;
    CREATE TABLE events (
        run_id TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        event BLOB NOT NULL,
        PRIMARY KEY (run_id, sequence)
    ) WITHOUT ROWID;
    CREATE TABLE answers (
        run_id TEXT NOT NULL,
        question_id TEXT NOT NULL,
        request_id TEXT NOT NULL,
        answer TEXT NOT NULL,
        PRIMARY KEY (run_id, question_id)
    ) WITHOUT ROWID;
    CREATE TABLE graphs (digest TEXT PRIMARY KEY, shape TEXT NOT NULL) WITHOUT ROWID;
        """,
    ),
)
"""`head`: the newest checkpoint when the run was last taken up; `answers`: to questions; `graphs`: shapes by digest."""

LIVE = (agent_v1.Run.STATE_PENDING, agent_v1.Run.STATE_RUNNING)
WAITING = (agent_v1.Run.STATE_INPUT_REQUIRED, agent_v1.Run.STATE_PAUSED)
FINISHED = (agent_v1.Run.STATE_SUCCEEDED, agent_v1.Run.STATE_FAILED, agent_v1.Run.STATE_CANCELLED)


def is_live(run: agent_v1.Run) -> bool:
    """Whether some process is to drive the run."""
    return run.state in LIVE


def is_finished(run: agent_v1.Run) -> bool:
    """Whether the run has ended for good."""
    return run.state in FINISHED


def load_run(connection: apsw.Connection, run_id: str) -> agent_v1.Run:
    """Return a run. Raises `NotFound`, or `StorageCorrupt`."""
    sealed = connection.execute("SELECT run FROM runs WHERE run_id = ?", (run_id,)).get
    if sealed is None:
        raise NotFound(f"There is no run {run_id!r}.", remedy="`waystation runs list` shows them.", run_id=run_id)
    return opened_run(sealed)


def save_run(connection: apsw.Connection, run: agent_v1.Run) -> None:
    """Store a run as it is now."""
    connection.execute(
        """
        INSERT INTO runs (run_id, thread_id, workflow, tenant, request_id, state, create_ns, end_ns, query, answer, run)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (run_id) DO UPDATE SET
            state = excluded.state, end_ns = excluded.end_ns, answer = excluded.answer, run = excluded.run
        """,
        (
            run.run_id,
            run.thread_id,
            run.workflow,
            run.tenant,
            run.request_id or None,
            run.state,
            run.create_time.ToNanoseconds(),
            run.end_time.ToNanoseconds() if run.HasField("end_time") else None,
            run.query,
            run.answer,
            seal(run.SerializeToString()),
        ),
    )


def opened_run(sealed: bytes) -> agent_v1.Run:
    """The run of a stored value. Raises `StorageCorrupt` when it is not what was written."""
    try:
        return agent_v1.Run.FromString(unseal(sealed, "A run"))
    except DecodeError:
        raise damaged("A run") from None


def opened_event(sealed: bytes) -> agent_v1.RunEvent:
    """The event of a stored value. Raises `StorageCorrupt` when it is not what was written."""
    try:
        return agent_v1.RunEvent.FromString(unseal(sealed, "An event"))
    except DecodeError:
        raise damaged("An event") from None


def damaged(what: str) -> StorageCorrupt:
    """The error for a stored value that is not what was written."""
    return StorageCorrupt(f"{what} is damaged.", remedy="`waystation backup restore` puts the newest backup back.")
