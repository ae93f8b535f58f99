"""Runs and their events in agent.db, as the rest of the agent reads and writes them."""

import logging
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import apsw

from services.agent import answers, custody
from services.agent.checkpoint import ownership
from services.agent.checkpoint.rows import head_of, sizes_of
from services.agent.custody import Custodian, RunRecord
from services.agent.guardian import effects
from services.agent.mailbox import rows as mail_rows
from services.agent.mailbox.delivery import place_of
from services.agent.run_rows import damaged, load_run, opened_event, opened_run
from services.agent.state import Hop
from shared.errors import StorageCorrupt
from shared.pb import agent_v1
from shared.storage.database import Database
from shared.storage.sealed import seal

logger = logging.getLogger(__name__)


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
    """Reads and writes agent.db for one custodian. Writes return after their commit."""

    def __init__(self, database: Database, custodian: Custodian) -> None:
        self._database, self._custodian = database, custodian

    async def admit(self, run: agent_v1.Run, trace_parent: str, is_new_thread: bool) -> RunRecord | None:
        """See `custody.admit`."""
        return await self._database.write(
            lambda connection: custody.admit(connection, run, trace_parent, self._custodian, is_new_thread)
        )

    async def take_up(
        self,
        run_id: str,
        states: Collection[agent_v1.Run.State.ValueType],
        goes_on: bool = False,
        keeps_pause: bool = False,
    ) -> RunRecord:
        """See `custody.take_up`."""
        return await self._database.write(
            lambda connection: custody.take_up(connection, run_id, self._custodian, states, goes_on, keeps_pause)
        )

    async def ask_pause(self, run_id: str) -> agent_v1.Run:
        """See `custody.ask_pause`."""
        return await self._database.write(lambda connection: custody.ask_pause(connection, run_id))

    async def keep_answer(self, run_id: str, question_id: str, answer: Any, request_id: str) -> bool:
        """See `answers.keep_answer`."""
        return await self._database.write(
            lambda connection: answers.keep_answer(connection, run_id, question_id, answer, request_id)
        )

    async def answers(self, run_id: str) -> dict[str, Any]:
        """The answers of a run, by question id."""
        return await self._database.read(lambda connection: answers.stored_answers(connection, run_id))

    async def renew_leases(self, epochs: dict[str, int]) -> set[str]:
        """Prolong the leases of threads (thread id to epoch); returns those that somebody else has taken over."""
        until_ns, owner = self._custodian.lease_until_ns(), self._custodian.owner
        return await self._database.write(lambda connection: ownership.renew(connection, owner, epochs, until_ns))

    async def release_lease(self, thread_id: str, epoch: int) -> None:
        """Give a thread up without a change to its run, which anybody may take up from now on."""
        await self._database.write(lambda connection: ownership.release(connection, thread_id, epoch))

    async def end_leases(self) -> None:
        """End the lease of every other owner; only for whoever holds the lock on the data folder."""
        await self._database.write(lambda connection: ownership.end_leases(connection, self._custodian.owner))

    def append(
        self, thread_id: str, epoch: int, event: agent_v1.RunEvent, run: agent_v1.Run | None = None
    ) -> "Future[None]":
        """Store an event, and with it the run as it is from then on. Fails with `StaleEpoch` without custody."""
        sealed = seal(event.SerializeToString())
        saved = None
        if run:
            saved = agent_v1.Run()
            saved.CopyFrom(run)

        def work(connection: apsw.Connection) -> None:
            custody.keep_event(connection, thread_id, epoch, event, sealed)
            if saved:
                custody.keep_run(connection, saved)

        return self._database.submit(work)

    def fulfilled_acts(self, run: agent_v1.Run) -> list[agent_v1.GuardianActed]:
        """The guardian's acts that take effect with the state that the run has by now."""
        return self._database.read_here(lambda connection: effects.fulfilled(connection, run))

    async def find_request(self, tenant: str, request_id: str) -> agent_v1.Run | None:
        """The run that was started with this request id, if any."""
        return self._database.read_here(lambda connection: custody.find_request(connection, tenant, request_id))

    async def get(self, run_id: str) -> agent_v1.Run:
        """Return a run. Raises `NotFound`."""
        return self._database.read_here(lambda connection: load_run(connection, run_id))

    async def page(self, wanted: RunFilter, limit: int) -> tuple[list[agent_v1.Run], tuple[int, str] | None]:
        """The newest runs that pass the filter, and the end of the page (`RunFilter.before`) when others follow."""
        clauses, values = _clauses(wanted)
        sql = f"SELECT create_ns, run_id, run FROM runs{clauses} ORDER BY create_ns DESC, run_id LIMIT ?"
        rows = await self._rows(sql, (*values, limit + 1))
        end = (rows[limit - 1][0], rows[limit - 1][1]) if len(rows) > limit else None
        return [run for _, _, sealed in rows[:limit] if (run := _readable(sealed))], end

    async def live(self) -> list[tuple[agent_v1.Run, bool]]:
        """The runs that some process is to drive, oldest first, and whether they committed nothing since a take-up."""
        sql = f"SELECT run, head FROM runs WHERE state < {agent_v1.Run.STATE_INPUT_REQUIRED} ORDER BY create_ns"
        found = [(run, head) for sealed, head in await self._rows(sql) if (run := _readable(sealed))]
        return [(run, head == await self.head(run.thread_id)) for run, head in found]

    async def head(self, thread_id: str) -> str:
        """The thread's newest checkpoint; "" when it has none."""
        return self._database.read_here(lambda connection: head_of(connection, thread_id, "") or "")

    async def checkpoint_sizes(self, thread_id: str) -> dict[str, int]:
        """Bytes of the thread's checkpoints, by id."""
        return await self._database.read(lambda connection: sizes_of(connection, thread_id))

    async def thread(self, thread_id: str) -> list[agent_v1.Run]:
        """The runs of a thread, oldest first."""
        rows = await self._rows("SELECT run FROM runs WHERE thread_id = ? ORDER BY create_ns", (thread_id,))
        return [run for (sealed,) in rows if (run := _readable(sealed))]

    async def events(self, run_id: str, after_sequence: int, limit: int) -> list[agent_v1.RunEvent]:
        """The run's next events after a sequence number. Raises `StorageCorrupt` when one is damaged or not there."""
        sql = "SELECT event FROM events WHERE run_id = ? AND sequence > ? ORDER BY sequence LIMIT ?"
        events = [opened_event(sealed) for (sealed,) in await self._rows(sql, (run_id, after_sequence, limit))]
        for expected, event in enumerate(events, after_sequence + 1):
            if (event.run_id, event.sequence) != (run_id, expected):
                raise damaged(f"Event {expected} of run {run_id}")
        return events

    async def copy_messages(self, run_id: str, into: str, hops: Sequence[Hop], until_ns: int) -> None:
        """Give a fork the messages of its run as they were with these hops, at a moment."""
        place = place_of(hops)
        await self._database.write(lambda connection: mail_rows.copy(connection, run_id, into, place, until_ns))

    async def keep_shape(self, digest: str, shape: str) -> None:
        """Remember the shape of a graph."""
        sql = "INSERT OR IGNORE INTO graphs VALUES (?, ?)"
        await self._database.write(lambda connection: connection.execute(sql, (digest, shape)).fetchall())

    async def shape(self, digest: str) -> str | None:
        """The shape of a graph that was in use once."""
        sql = "SELECT shape FROM graphs WHERE digest = ?"
        found: str | None = await self._database.read(lambda connection: connection.execute(sql, (digest,)).get)
        return found

    async def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        return await self._database.read(lambda connection: connection.execute(sql, values).fetchall())


def _readable(sealed: bytes) -> agent_v1.Run | None:
    """The run, or None for one that is damaged: the others of a list are not withheld for its sake."""
    try:
        return opened_run(sealed)
    except StorageCorrupt as error:
        logger.error("a run is left out: %s", error)
        return None


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
