"""What the outbox reads from agent.db, and the runs deleted there of which the control plane is yet to hear."""

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from services.agent.checkpoint import ownership
from services.agent.run_rows import opened_event, opened_run
from shared.errors import StorageCorrupt, StorageUnavailable
from shared.pb import agent_v1
from shared.storage.database import Database, Schema

logger = logging.getLogger(__name__)

NEWEST = 10_000
"""So many finished runs, the newest, are kept in step with the control plane."""
MAX_EVENTS = 1_000
MAX_BATCH_BYTES = 2 * 1024 * 1024
MAX_EVENT_BYTES = 16 * 1024
"""A longer event is sent without its payload: the control plane goes by numbers and runs."""
MAX_DELETIONS = 1_000

SCHEMA = Schema(
    "outbox",
    ("CREATE TABLE deletions (number INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE)",),
)


@dataclass
class Batch:
    """The next events of some runs, and those runs after them."""

    events: list[agent_v1.RunEvent] = field(default_factory=list)
    runs: list[agent_v1.Run] = field(default_factory=list)
    partial: set[str] = field(default_factory=set)
    """Runs with more to send."""


def note_deletions(connection: apsw.Connection, run_ids: Sequence[str]) -> None:
    """Remember, in the transaction that deletes runs, that they are not lost; the newest 10,000 are remembered."""
    rows = [(run_id,) for run_id in run_ids]
    connection.executemany("INSERT OR IGNORE INTO deletions (run_id) VALUES (?)", rows)
    connection.execute("DELETE FROM deletions WHERE number <= (SELECT max(number) FROM deletions) - ?", (NEWEST,))


def store_id(folder: Path) -> str:
    """The id of the store in `folder`, made at the first call.

    It is kept beside the database and not in it, so that the loss of the whole database is a loss, not a new store.
    Raises `StorageUnavailable` when it can be neither read nor written.
    """
    path = folder / "store_id"
    try:
        if path.exists() and (found := path.read_text(encoding="ascii").strip()):
            return found
        folder.mkdir(parents=True, exist_ok=True)
        made, partial = uuid.uuid4().hex, path.with_suffix(".partial")
        partial.write_text(made, encoding="ascii")
        partial.replace(path)
    except (OSError, ValueError) as error:
        raise StorageUnavailable(f"{path} cannot be used: {error}.", remedy="Delete it.", path=path) from error
    return made


class OutboxStore:
    """Reads agent.db for the outbox."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest(self) -> dict[str, int]:
        """The newest event number of the newest runs and of all that have not ended, newest run first."""
        number = "(SELECT coalesce(max(sequence), 0) FROM events WHERE events.run_id = runs.run_id)"
        chosen = (
            f"SELECT run_id FROM (SELECT run_id FROM runs ORDER BY create_ns DESC LIMIT {NEWEST})"
            f" UNION SELECT run_id FROM runs WHERE state < {agent_v1.Run.STATE_SUCCEEDED}"
        )
        sql = f"SELECT run_id, {number} FROM runs WHERE run_id IN ({chosen}) ORDER BY create_ns DESC"
        rows: list[Any] = await self._database.read(lambda connection: connection.execute(sql).fetchall())
        return dict(rows)

    async def find(self, run_ids: Sequence[str]) -> dict[str, int]:
        """The newest event number of those among the runs that are in the store."""
        sql = "SELECT coalesce(max(sequence), 0) FROM runs LEFT JOIN events USING (run_id) WHERE runs.run_id = ?"

        def work(connection: apsw.Connection) -> dict[str, int]:
            rows = [(each, connection.execute(f"{sql} GROUP BY run_id", (each,)).get) for each in run_ids]
            return {run_id: number for run_id, number in rows if number is not None}

        return await self._database.read(work)

    async def batch(self, cursors: Mapping[str, int]) -> Batch:
        """The events of each run after a number, up to what one report may hold."""
        return await self._database.read(lambda connection: _batch(connection, cursors))

    async def generation(self) -> int:
        """The store's generation."""
        return await self._database.read(ownership.generation)

    async def raise_generation(self, lowest: int) -> None:
        """Begin a new generation, no smaller than `lowest`."""
        await self._database.write(lambda connection: ownership.raise_generation(connection, lowest))

    async def deletions(self, limit: int = NEWEST) -> list[str]:
        """Runs that were deleted and not reported so, the first ones first."""
        sql = "SELECT run_id FROM deletions ORDER BY number LIMIT ?"
        rows: list[Any] = await self._database.read(lambda connection: connection.execute(sql, (limit,)).fetchall())
        return [run_id for (run_id,) in rows]

    async def forget_deletions(self, run_ids: Sequence[str]) -> None:
        """They were reported."""
        rows = [(run_id,) for run_id in run_ids]
        await self._database.write(
            lambda connection: connection.executemany("DELETE FROM deletions WHERE run_id = ?", rows), can_wait=True
        )


def _batch(connection: apsw.Connection, cursors: Mapping[str, int]) -> Batch:
    batch, size = Batch(), 0
    sql = "SELECT event FROM events WHERE run_id = ? AND sequence > ? ORDER BY sequence LIMIT ?"
    for run_id, cursor in cursors.items():
        room = MAX_EVENTS - len(batch.events)
        if room == 0 or size > MAX_BATCH_BYTES:
            batch.partial.add(run_id)
            continue
        blob = connection.execute("SELECT run FROM runs WHERE run_id = ?", (run_id,)).get
        rows: list[Any] = connection.execute(sql, (run_id, cursor, room)).fetchall()
        if not blob or not rows:
            continue
        try:
            run, events = opened_run(blob), [_shortened(event) for (event,) in rows]
        except StorageCorrupt as error:
            logger.error("run %s is not reported: %s", run_id, error)
            continue
        batch.runs.append(run)
        batch.events += events
        size += run.ByteSize() + sum(event.ByteSize() for event in events)
        if len(events) == room:
            batch.partial.add(run_id)
    return batch


def _shortened(blob: bytes) -> agent_v1.RunEvent:
    event = opened_event(blob)
    kind = event.WhichOneof("payload")
    if kind and len(blob) > MAX_EVENT_BYTES:
        event.ClearField(kind)
    return event
