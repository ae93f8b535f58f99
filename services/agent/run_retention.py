"""Deletes finished runs by age and count, with their events and the checkpoints that nothing needs any more."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from services.agent.checkpoint import retention
from services.agent.mailbox import rows
from services.agent.outbox_store import note_deletions
from services.agent.run_rows import FINISHED
from shared.storage.database import Database

BATCH = 200
"""Runs deleted in one transaction, so that other writes get their turn."""


@dataclass(frozen=True)
class Pruned:
    """What was deleted, or would be."""

    runs: int
    freed_bytes: int
    """Room in the file for what comes; 0 when nothing was deleted."""


class RunRetention:
    """Prunes agent.db; `on_deleted` hears when runs are gone."""

    def __init__(self, database: Database, on_deleted: Callable[[], None] = lambda: None) -> None:
        self._database, self._on_deleted = database, on_deleted

    async def prune(self, older_than_s: float, keep: int, is_dry_run: bool = False) -> Pruned:
        """Delete runs that ended longer ago than `older_than_s`, but none of the newest `keep` finished ones.

        A thread keeps its newest checkpoint as long as it has a run.
        """
        run_ids = await self._database.read(lambda connection: _prunable(connection, older_than_s, keep))
        if is_dry_run or not run_ids:
            return Pruned(len(run_ids), 0)
        before = await self._database.read(retention.size)
        keys = await self._database.read(lambda connection: retention.checkpoints_of_runs(connection, run_ids))
        for start in range(0, len(keys), BATCH):
            part = keys[start : start + BATCH]
            await self._database.write(
                lambda connection, part=part: retention.delete_checkpoints(connection, part, keep_heads=True)  # type: ignore[misc]
            )
        # the runs go last: whatever ends this early, the next prune finds them again
        for start in range(0, len(run_ids), BATCH):
            batch = run_ids[start : start + BATCH]
            await self._database.write(lambda connection, batch=batch: _delete(connection, batch))  # type: ignore[misc]
        self._on_deleted()
        after = await self._database.read(retention.size)
        return Pruned(len(run_ids), max(0, before.used_bytes - after.used_bytes))


def _prunable(connection: apsw.Connection, older_than_s: float, keep: int) -> list[str]:
    sql = f"""
        SELECT run_id FROM (
            SELECT run_id, end_ns FROM runs WHERE state IN ({", ".join(map(str, FINISHED))})
            ORDER BY create_ns DESC, run_id LIMIT -1 OFFSET ?
        ) WHERE end_ns < ?
    """
    rows: Any = connection.execute(sql, (keep, time.time_ns() - int(older_than_s * 1e9)))
    return [run_id for (run_id,) in rows]


def _delete(connection: apsw.Connection, run_ids: Sequence[str]) -> None:
    threads = set()
    for run_id in run_ids:
        threads.add(connection.execute("SELECT thread_id FROM runs WHERE run_id = ?", (run_id,)).get)
        for table in ("events", "answers", "runs"):
            connection.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))
    rows.delete(connection, run_ids)
    note_deletions(connection, run_ids)
    for thread_id in threads:
        if thread_id and not connection.execute("SELECT 1 FROM runs WHERE thread_id = ? LIMIT 1", (thread_id,)).get:
            retention.delete_thread(connection, thread_id)
            connection.execute("DELETE FROM threads WHERE thread_id = ?", (thread_id,))
