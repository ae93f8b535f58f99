"""Runs and their events in agent.db."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import apsw
from google.protobuf.message import DecodeError

from shared.errors import NotFound, StorageCorrupt
from shared.pb import agent_v1
from shared.storage.database import Database, Schema
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
        query TEXT NOT NULL,
        answer TEXT NOT NULL DEFAULT '',
        run BLOB NOT NULL
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
        """,
    ),
)

FINISHED = frozenset({agent_v1.Run.STATE_SUCCEEDED, agent_v1.Run.STATE_FAILED, agent_v1.Run.STATE_CANCELLED})


def is_finished(run: agent_v1.Run) -> bool:
    """Whether the run has ended for good."""
    return run.state in FINISHED


def opened_run(sealed: bytes) -> agent_v1.Run:
    """The run of a stored value. Raises `StorageCorrupt` when it is not what was written."""
    try:
        return agent_v1.Run.FromString(unseal(sealed, "A run"))
    except DecodeError:
        raise _damaged("A run") from None


def opened_event(sealed: bytes) -> agent_v1.RunEvent:
    """The event of a stored value. Raises `StorageCorrupt` when it is not what was written."""
    try:
        return agent_v1.RunEvent.FromString(unseal(sealed, "An event"))
    except DecodeError:
        raise _damaged("An event") from None


def _damaged(what: str) -> StorageCorrupt:
    return StorageCorrupt(f"{what} is damaged.", remedy="`waystation backup restore` puts the newest backup back.")


@dataclass(frozen=True)
class RunFilter:
    """Which runs to list; empty fields do not narrow."""

    states: Sequence[int] = ()
    thread_id: str = ""
    workflow: str = ""
    tenant: str = ""
    text: str = ""
    before: tuple[int, str] | None = None
    """Only runs older than this (creation time in ns, run id): the end of the page before."""


class RunStore:
    """Reads and writes agent.db. Writes return after their commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, run: agent_v1.Run) -> agent_v1.Run:
        """Store a new run and return it, or return the run that has the same tenant and request id."""

        def work(connection: apsw.Connection) -> agent_v1.Run:
            if run.request_id:
                found = connection.execute(
                    "SELECT run FROM runs WHERE tenant = ? AND request_id = ?", (run.tenant, run.request_id)
                ).get
                if found:
                    return opened_run(found)
            _save(connection, run)
            return run

        return await self._database.write(work)

    async def by_request(self, tenant: str, request_id: str) -> agent_v1.Run | None:
        """The run that was started with this request id, if any."""
        sql = "SELECT run FROM runs WHERE tenant = ? AND request_id = ?"
        blob = await self._database.read(lambda connection: connection.execute(sql, (tenant, request_id)).get)
        return opened_run(blob) if blob else None

    def append(self, event: agent_v1.RunEvent, run: agent_v1.Run | None = None) -> "Future[None]":
        """Store an event, and with it the run as it is from then on."""
        blob = seal(event.SerializeToString())
        saved = None
        if run:
            saved = agent_v1.Run()
            saved.CopyFrom(run)

        def work(connection: apsw.Connection) -> None:
            connection.execute("INSERT INTO events VALUES (?, ?, ?)", (event.run_id, event.sequence, blob))
            if saved:
                _save(connection, saved)

        return self._database.submit(work)

    async def get(self, run_id: str) -> agent_v1.Run:
        """Return a run. Raises `NotFound`."""
        blob = await self._database.read(
            lambda connection: connection.execute("SELECT run FROM runs WHERE run_id = ?", (run_id,)).get
        )
        if blob is None:
            raise NotFound(f"There is no run {run_id!r}.", remedy="`waystation runs list` shows them.", run_id=run_id)
        return opened_run(blob)

    async def page(self, wanted: RunFilter, limit: int) -> list[tuple[int, agent_v1.Run]]:
        """The newest runs that pass the filter, each with its creation time in ns."""
        clauses, values = _clauses(wanted)
        sql = f"SELECT create_ns, run FROM runs{clauses} ORDER BY create_ns DESC, run_id LIMIT ?"
        rows: list[Any] = await self._database.read(
            lambda connection: connection.execute(sql, (*values, limit)).fetchall()
        )
        return [(create_ns, opened_run(blob)) for create_ns, blob in rows]

    async def unfinished(self) -> list[agent_v1.Run]:
        """The runs that have not ended, oldest first."""
        sql = f"SELECT run FROM runs WHERE state < {agent_v1.Run.STATE_SUCCEEDED} ORDER BY create_ns"
        rows: list[Any] = await self._database.read(lambda connection: connection.execute(sql).fetchall())
        return [opened_run(blob) for (blob,) in rows]

    async def thread(self, thread_id: str) -> list[agent_v1.Run]:
        """The runs of a thread, oldest first."""
        sql = "SELECT run FROM runs WHERE thread_id = ? ORDER BY create_ns"
        rows: list[Any] = await self._database.read(lambda connection: connection.execute(sql, (thread_id,)).fetchall())
        return [opened_run(blob) for (blob,) in rows]

    async def events(self, run_id: str, after_sequence: int, limit: int) -> list[agent_v1.RunEvent]:
        """The run's next events after a sequence number. Raises `StorageCorrupt` when one is damaged or not there."""
        sql = "SELECT event FROM events WHERE run_id = ? AND sequence > ? ORDER BY sequence LIMIT ?"
        rows: list[Any] = await self._database.read(
            lambda connection: connection.execute(sql, (run_id, after_sequence, limit)).fetchall()
        )
        events = [opened_event(blob) for (blob,) in rows]
        for expected, event in enumerate(events, after_sequence + 1):
            if (event.run_id, event.sequence) != (run_id, expected):
                raise _damaged(f"Event {expected} of run {run_id}")
        return events

    async def last_sequence(self, run_id: str) -> int:
        """The number of the run's newest event; 0 when it has none."""
        sql = "SELECT coalesce(max(sequence), 0) FROM events WHERE run_id = ?"
        return int(await self._database.read(lambda connection: connection.execute(sql, (run_id,)).get))


def _clauses(wanted: RunFilter) -> tuple[str, list[object]]:
    conditions: list[str] = []
    values: list[object] = []
    for column in ("thread_id", "workflow", "tenant"):
        if value := getattr(wanted, column):
            conditions.append(f"{column} = ?")
            values.append(value)
    if wanted.states:
        conditions.append(f"state IN ({', '.join('?' * len(wanted.states))})")
        values += wanted.states
    if wanted.text:
        conditions.append("(instr(lower(query), lower(?)) OR instr(lower(answer), lower(?)))")
        values += [wanted.text, wanted.text]
    if wanted.before:
        conditions.append("(create_ns < ? OR (create_ns = ? AND run_id > ?))")
        values += [wanted.before[0], wanted.before[0], wanted.before[1]]
    return (" WHERE " + " AND ".join(conditions) if conditions else ""), values


def _save(connection: apsw.Connection, run: agent_v1.Run) -> None:
    connection.execute(
        """
        INSERT INTO runs (run_id, thread_id, workflow, tenant, request_id, state, create_ns, query, answer, run)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (run_id) DO UPDATE SET state = excluded.state, answer = excluded.answer, run = excluded.run
        """,
        (
            run.run_id,
            run.thread_id,
            run.workflow,
            run.tenant,
            run.request_id or None,
            run.state,
            run.create_time.ToNanoseconds(),
            run.query,
            run.answer,
            seal(run.SerializeToString()),
        ),
    )
