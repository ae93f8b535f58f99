"""Custody of runs: one process at a time drives a run, under an epoch that every later write of it must show.

Every function runs inside a transaction of agent.db.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import apsw

from services.agent.checkpoint import ownership
from services.agent.checkpoint.rows import head_of
from services.agent.guardian import effects
from services.agent.mailbox import rows
from services.agent.run_rows import is_finished, is_live, load_run, opened_event, save_run
from shared.errors import AlreadyExists, NotFound, StorageUnavailable, ThreadBusy, WrongState
from shared.pb import agent_v1


@dataclass(frozen=True)
class Custodian:
    """A process that drives runs."""

    owner: str
    lease_s: float

    def lease_until_ns(self) -> int:
        """The end of a lease that begins now."""
        return time.time_ns() + int(self.lease_s * 1e9)


@dataclass(frozen=True)
class RunRecord:
    """A run in custody, with what only its driver needs to know."""

    run: agent_v1.Run
    last_sequence: int
    """The number of its newest event."""
    takeup_count: int = 0
    """How often a process took it up; a piece of text carries it, so that a repeated step replaces its text."""
    trace_parent: str = ""
    """W3C `traceparent` of the request that started it."""
    wants_pause: bool = False
    """A pause was asked for and has not taken effect."""
    head: str = ""
    """The thread's newest checkpoint when it was taken up."""
    open_hops: Mapping[int, agent_v1.HopStarted] = field(default_factory=dict)
    """How the hops that were begun and not ended began last, by index."""


def admit(
    connection: apsw.Connection, run: agent_v1.Run, trace_parent: str, custodian: Custodian, is_new_thread: bool
) -> RunRecord | None:
    """Store a new run and take it into custody; None when its request id is known (`find_request` has that run).

    Raises `NotFound` (thread), `ThreadBusy`, or `AlreadyExists` (the request id belongs to another request).
    """
    if run.request_id and (known := find_request(connection, run.tenant, run.request_id)):
        if (known.query, known.workflow) != (run.query, run.workflow):
            raise AlreadyExists(f"Request id {run.request_id!r} belongs to another request.", run_id=known.run_id)
        return None
    if not is_new_thread:
        _check_thread(connection, run.thread_id)
    run.epoch = _claim(connection, run.thread_id, custodian)
    save_run(connection, run)
    connection.execute("UPDATE runs SET trace_parent = ? WHERE run_id = ?", (trace_parent, run.run_id))
    return RunRecord(run, last_sequence=0, trace_parent=trace_parent)


def find_request(connection: apsw.Connection, tenant: str, request_id: str) -> agent_v1.Run | None:
    """The run that was started with this request id, if any."""
    sql = "SELECT run_id FROM runs WHERE tenant = ? AND request_id = ?"
    run_id = connection.execute(sql, (tenant, request_id)).get
    return load_run(connection, run_id) if run_id else None


def take_up(
    connection: apsw.Connection,
    run_id: str,
    custodian: Custodian,
    states: Collection[agent_v1.Run.State.ValueType],
    goes_on: bool = False,
    keeps_pause: bool = False,
) -> RunRecord:
    """Take an unfinished run into custody, under a new epoch. One that `goes_on` is running from then on.

    A pause that was asked for is forgotten then, unless it is to be kept.

    When its last owner never let it go, that one crashed; the attempt counts unless something was committed since the
    last one. Raises `NotFound`, `WrongState` when the run is in none of `states`, and `ThreadBusy` when somebody else
    has it.
    """
    run = load_run(connection, run_id)
    if run.state not in states:
        raise wrong_state(run)
    sql = "SELECT trace_parent, head, takeup_count, wants_pause FROM runs WHERE run_id = ?"
    trace_parent, old_head, takeup_count, wants_pause = connection.execute(sql, (run_id,)).get
    last_owner = ownership.current(connection, run.thread_id)
    run.epoch = _claim(connection, run.thread_id, custodian)
    head = head_of(connection, run.thread_id, "") or ""
    if last_owner and last_owner.owner not in (ownership.NOBODY, custodian.owner):
        run.attempt_count = run.attempt_count + 1 if head == old_head else 1
    if goes_on:
        run.state = agent_v1.Run.STATE_RUNNING
        wants_pause = wants_pause if keeps_pause else 0
    save_run(connection, run)
    connection.execute(
        "UPDATE runs SET head = ?, takeup_count = takeup_count + 1, wants_pause = ? WHERE run_id = ?",
        (head, wants_pause, run_id),
    )
    last = connection.execute("SELECT coalesce(max(sequence), 0) FROM events WHERE run_id = ?", (run_id,)).get
    return RunRecord(run, last, takeup_count + 1, trace_parent, bool(wants_pause), head, _open_hops(connection, run_id))


def keep_event(
    connection: apsw.Connection, thread_id: str, epoch: int, event: agent_v1.RunEvent, sealed: bytes
) -> None:
    """Store an event.

    Raises `StaleEpoch` when somebody else has taken the thread over, and `StorageUnavailable` when the event before it
    was not stored: numbers have no gaps.
    """
    ownership.check_epoch(connection, thread_id, epoch)
    connection.execute(
        """
        INSERT INTO events SELECT ?1, ?2, ?3
        WHERE ?2 = 1 OR EXISTS (SELECT 1 FROM events WHERE run_id = ?1 AND sequence = ?2 - 1)
        """,
        (event.run_id, event.sequence, sealed),
    )
    if not connection.changes():
        raise StorageUnavailable(
            f"Event {event.sequence} of run {event.run_id} has no place: the one before it was not stored.",
            remedy="The run goes on from its last commit when the store works again.",
            run_id=event.run_id,
        )
    effects.note_event(connection, event)
    if event.HasField("message_sent"):
        rows.note_told(connection, event.run_id, event.message_sent.message.message_id)


def keep_run(connection: apsw.Connection, run: agent_v1.Run) -> None:
    """Store a run as it is now; one that waits or has ended is given out of custody."""
    save_run(connection, run)
    if is_finished(run):
        rows.close(connection, run.run_id, time.time_ns())
    if not is_live(run):
        effects.note_rest(connection, run)
        if run.state != agent_v1.Run.STATE_INPUT_REQUIRED:  # a pause counts when the question is answered
            connection.execute("UPDATE runs SET wants_pause = 0 WHERE run_id = ?", (run.run_id,))
        ownership.release(connection, run.thread_id, run.epoch)


def ask_pause(connection: apsw.Connection, run_id: str) -> agent_v1.Run:
    """Remember that a live run is to stop at its next step boundary, whatever happens before; return the run.

    Raises `NotFound`, or `WrongState` for a run that waits for an answer or has ended.
    """
    run = load_run(connection, run_id)
    if run.state != agent_v1.Run.STATE_PAUSED and not is_live(run):
        raise wrong_state(run)
    if is_live(run):
        connection.execute("UPDATE runs SET wants_pause = 1 WHERE run_id = ?", (run_id,))
    return run


def wrong_state(run: agent_v1.Run) -> WrongState:
    """The error for an action that the run's state does not permit."""
    state = agent_v1.Run.State.Name(run.state).removeprefix("STATE_").lower().replace("_", " ")
    return WrongState(
        f"Run {run.run_id} is {state}.",
        remedy="`waystation runs show` has its history.",
        run_id=run.run_id,
        state=agent_v1.Run.State.Name(run.state),
    )


def _claim(connection: apsw.Connection, thread_id: str, custodian: Custodian) -> int:
    until_ns = custodian.lease_until_ns()
    return ownership.claim(connection, thread_id, custodian.owner, until_ns, time.time_ns())


def _open_hops(connection: apsw.Connection, run_id: str) -> dict[int, agent_v1.HopStarted]:
    rows = connection.execute("SELECT event FROM events WHERE run_id = ? ORDER BY sequence DESC", (run_id,))
    starts: dict[int, agent_v1.HopStarted] = {}  # each hop's newest event; without a key when that is its end
    for (sealed,) in rows:
        event = opened_event(sealed)
        match event.WhichOneof("payload"):
            case "hop_started":
                starts.setdefault(event.hop_started.hop_index, event.hop_started)
            case "hop_ended":
                starts.setdefault(event.hop_ended.hop_index, agent_v1.HopStarted())
            case "decision_made":
                break  # nothing is decided while a hop is under way
    return {index: start for index, start in starts.items() if start.idempotency_key}


def _check_thread(connection: apsw.Connection, thread_id: str) -> None:
    finished = agent_v1.Run.STATE_SUCCEEDED
    sql = "SELECT run_id, state < ? FROM runs WHERE thread_id = ? ORDER BY state >= ? LIMIT 1"
    row = connection.execute(sql, (finished, thread_id, finished)).get
    if not row:
        raise NotFound(f"There is no thread {thread_id!r}.", remedy="Leave it empty to start one.", thread_id=thread_id)
    if row[1]:
        raise ThreadBusy(
            f"Thread {thread_id} is busy with run {row[0]}.", remedy="Wait for it or cancel it.", run_id=row[0]
        )
