"""The projection of runs in control.db: what agents reported last, there to read while they are dead.

Of each run it has the last message and the number of the newest event. An agent sends events after their commit, so
a number that is higher than the agent's own proves that the agent has lost commits.
"""

import base64
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from services.control.runs.report import RunReport
from shared.errors import InvalidInput, NotFound
from shared.pb import agent_v1, common_v1
from shared.storage.database import Database

MAX_CURSORS = 10_000
"""As many runs an agent asks about, and reports again when we do not have them."""
DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 500
_OWNED = (agent_v1.Run.STATE_PENDING, agent_v1.Run.STATE_RUNNING)
"""Paused runs and those that ask need no live process."""
_PUT = """
    REPLACE INTO runs (run_id, store_id, generation, sequence, instance_id, state, create_ns, thread_id, workflow,
        tenant, query, answer, run)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

Owners = Callable[[], Collection[str] | None]
News = agent_v1.Run | agent_v1.RunEvent


@dataclass(frozen=True)
class RunFilter:
    """Which runs to list; empty fields do not narrow."""

    states: Sequence[int] = ()
    thread_id: str = ""
    workflow: str = ""
    tenant: str = ""
    text: str = ""
    service: str = ""
    """A capability that the run has called."""


@dataclass(frozen=True)
class Cursor:
    """How far a run was reported."""

    sequence: int
    generation: int


class RunProjection:
    """Stores what agents report of their runs.

    `owners` gives the instance ids of the live agents, or None while that cannot be said: a run under way whose agent
    is not among them is shown as lost. `on_change` is called in the event loop after a commit with the events that were
    not reported before and the runs of which more than the event number is new.
    """

    def __init__(self, database: Database, owners: Owners, on_change: Callable[[Sequence[News]], None]) -> None:
        self._database, self._owners, self._on_change = database, owners, on_change

    async def apply(self, report: RunReport) -> dict[str, int]:
        """Take a report in and return the event numbers stored, by run id. What is known already changes nothing."""

        def work(connection: apsw.Connection) -> tuple[dict[str, int], list[News]]:
            gone = [(run_id, report.store_id) for run_id in report.deleted]
            connection.executemany("DELETE FROM runs WHERE run_id = ? AND store_id = ?", gone)
            changed = [_go_back(connection, report, *item) for item in (report.lost or {}).items()]
            fresh = _fresh_events(connection, report)
            changed += [_save(connection, report, run) for run in report.runs]
            connection.executemany("INSERT OR IGNORE INTO run_services VALUES (?, ?)", _calls(report))
            numbers = {
                run.run_id: connection.execute("SELECT sequence FROM runs WHERE run_id = ?", (run.run_id,)).get
                for run in report.runs
            }
            return numbers, [*fresh, *(run for run in changed if run)]

        sequences, changed = await self._database.write(work)
        if changed:
            self._on_change(changed)
        return sequences

    async def cursors(self, store_id: str, run_ids: Sequence[str] = ()) -> dict[str, Cursor]:
        """How far the store's runs were reported: those named, or else the newest and all that have not ended."""
        base = "SELECT run_id, sequence, generation FROM runs WHERE store_id = ?"
        newest = f"SELECT * FROM ({base} ORDER BY create_ns DESC LIMIT {MAX_CURSORS})"
        every = f"{newest} UNION {base} AND state < {agent_v1.Run.STATE_SUCCEEDED}"

        def work(connection: apsw.Connection) -> dict[str, Cursor]:
            if run_ids:
                found = [connection.execute(f"{base} AND run_id = ?", (store_id, each)).fetchone() for each in run_ids]
            else:
                found = list(connection.execute(every, (store_id, store_id)))
            return {row[0]: Cursor(row[1], row[2]) for row in found if row}

        return await self._database.read(work)

    async def get(self, run_id: str) -> agent_v1.Run:
        """The run as it was reported last. Raises `NotFound`."""
        shown, values = self._shown()
        query = f"SELECT {shown}, sequence, run FROM runs WHERE run_id = ?"
        row = await self._database.read(lambda connection: connection.execute(query, (*values, run_id)).fetchone())
        if row is None:
            raise NotFound(f"There is no run {run_id!r}.", remedy="`waystation runs list` shows them.", run_id=run_id)
        return _run(*row)

    async def page(self, wanted: RunFilter, page_size: int = 0, page_token: str = "") -> tuple[list[agent_v1.Run], str]:
        """Runs, newest first, and the token of the next page. `page_size` 0 means 50.

        Raises `InvalidInput` for a page size out of range or a token that is not from here.
        """
        if not 0 <= page_size <= MAX_PAGE_SIZE:
            raise InvalidInput(f"page_size must be 0 to {MAX_PAGE_SIZE}.", field="page_size", limit=MAX_PAGE_SIZE)
        size = page_size or DEFAULT_PAGE_SIZE
        shown, owners = self._shown()
        clauses, values = _clauses(wanted, shown, owners)
        if page_token:
            create_ns, run_id = _read_token(page_token)
            clauses.append("(create_ns < ? OR (create_ns = ? AND run_id > ?))")
            values += [create_ns, create_ns, run_id]
        where = f"WHERE {' AND '.join(clauses)}" if clauses else ""
        query = f"SELECT {shown}, sequence, run, create_ns FROM runs {where} ORDER BY create_ns DESC, run_id LIMIT ?"
        arguments = (*owners, *values, size + 1)
        rows: list[Any] = await self._database.read(lambda connection: connection.execute(query, arguments).fetchall())
        runs = [_run(*row[:3]) for row in rows[:size]]
        return runs, _write_token(rows[size - 1][3], runs[-1].run_id) if len(rows) > size else ""

    async def count_by_state(self) -> dict[int, int]:
        """How many runs are listed in each state, as they are shown."""
        shown, values = self._shown()
        query = f"SELECT {shown} AS shown, count(*) FROM runs GROUP BY shown"
        rows: list[Any] = await self._database.read(lambda connection: connection.execute(query, values).fetchall())
        return dict(rows)

    async def note_lost(self, instance_id: str = "") -> None:
        """Tell `on_change` of the runs that are lost now: those of an agent that died, or of any."""
        shown, values = self._shown()
        query = f"SELECT {shown} AS shown, sequence, run FROM runs WHERE state < {agent_v1.Run.STATE_SUCCEEDED}"
        query += f" AND shown = {agent_v1.Run.STATE_LOST} AND ? IN ('', instance_id)"
        arguments = (*values, instance_id)
        rows: list[Any] = await self._database.read(lambda connection: connection.execute(query, arguments).fetchall())
        if rows:
            self._on_change([_run(*row) for row in rows])

    async def prune(self, keep: int) -> int:
        """Delete the oldest runs beyond `keep`; return how many went."""
        query = "DELETE FROM runs WHERE run_id IN (SELECT run_id FROM runs ORDER BY create_ns DESC LIMIT -1 OFFSET ?)"

        def work(connection: apsw.Connection) -> int:
            connection.execute(query, (keep,))
            return connection.changes()

        return await self._database.write(work)

    def _shown(self) -> tuple[str, list[str]]:
        """SQL for the state to show, and its arguments."""
        owners = self._owners()
        if owners is None:
            return "state", []
        owned = ", ".join(str(state) for state in _OWNED)
        dead = f"instance_id NOT IN ({', '.join('?' * len(owners))})"
        return f"CASE WHEN state IN ({owned}) AND {dead} THEN {agent_v1.Run.STATE_LOST} ELSE state END", [*owners]


def _fresh_events(connection: apsw.Connection, report: RunReport) -> list[agent_v1.RunEvent]:
    """The events that no report has brought before."""
    query = "SELECT sequence FROM runs WHERE run_id = ? AND store_id = ?"
    known = {run.run_id: connection.execute(query, (run.run_id, report.store_id)).get or 0 for run in report.runs}
    return [event for event in report.events if event.sequence > known[event.run_id]]


def _calls(report: RunReport) -> list[tuple[str, str]]:
    """The runs, and which capabilities they called."""
    started = [event for event in report.events if event.HasField("hop_started")]
    return [(event.run_id, event.hop_started.capability) for event in started]


def _save(connection: apsw.Connection, report: RunReport, run: agent_v1.Run) -> agent_v1.Run | None:
    """Store a run unless the report is old news; return it when more than its event number is new."""
    number = (report.sequences or {}).get(run.run_id, run.last_sequence)
    query = "SELECT store_id, generation, sequence, run FROM runs WHERE run_id = ?"
    row = connection.execute(query, (run.run_id,)).fetchone()
    if row and row[:2] == (report.store_id, report.generation) and number <= row[2]:
        return None
    _put(connection, report, run, number)
    return None if row and row[3] == run.SerializeToString() else _run(run.state, number, run.SerializeToString())


def _go_back(connection: apsw.Connection, report: RunReport, run_id: str, found: int) -> agent_v1.Run | None:
    """Go back to the event that the store still has; return the run when it failed for want of all of them."""
    query = "SELECT sequence, run FROM runs WHERE run_id = ? AND store_id = ?"
    row = connection.execute(query, (run_id, report.store_id)).fetchone()
    if row is None or row[0] <= found:
        return None
    run = agent_v1.Run.FromString(row[1])
    has_failed = found == 0 and run.state < agent_v1.Run.STATE_SUCCEEDED
    if has_failed:
        run.state = agent_v1.Run.STATE_FAILED
        run.error.reason = common_v1.ERROR_REASON_COMMITS_MISSING
        run.error.message = "The agent's store has lost this run."
        run.error.remedy = "Ask again; look at the disk, or at who put an older copy of agent.db in its place."
        run.error.metadata.update(expected=str(row[0]), found="0")
        run.end_time.GetCurrentTime()
    _put(connection, report, run, found)
    return run if has_failed else None


def _put(connection: apsw.Connection, report: RunReport, run: agent_v1.Run, number: int) -> None:
    connection.execute(
        _PUT,
        (
            run.run_id,
            report.store_id,
            report.generation,
            number,
            report.instance_id,
            run.state,
            run.create_time.ToNanoseconds(),
            run.thread_id,
            run.workflow,
            run.tenant,
            run.query,
            run.answer,
            run.SerializeToString(),
        ),
    )


def _run(state: int, sequence: int, blob: bytes) -> agent_v1.Run:
    run = agent_v1.Run.FromString(blob)
    run.state = state  # type: ignore[assignment]  # SQL knows numbers only
    run.last_sequence = sequence
    return run


def _clauses(wanted: RunFilter, shown: str, owners: Sequence[str]) -> tuple[list[str], list[str | int]]:
    clauses: list[str] = []
    values: list[str | int] = []
    for column in ("thread_id", "workflow", "tenant"):
        if value := getattr(wanted, column):
            clauses.append(f"{column} = ?")
            values.append(value)
    if wanted.states:
        clauses.append(f"{shown} IN ({', '.join('?' * len(wanted.states))})")
        values += [*owners, *wanted.states]
    if wanted.service:
        clauses.append("EXISTS (SELECT 1 FROM run_services WHERE run_services.run_id = runs.run_id AND service = ?)")
        values.append(wanted.service)
    if wanted.text:
        clauses.append("(instr(lower(query), lower(?)) OR instr(lower(answer), lower(?)))")
        values += [wanted.text, wanted.text]
    return clauses, values


def _write_token(create_ns: int, run_id: str) -> str:
    return base64.urlsafe_b64encode(f"{create_ns} {run_id}".encode()).decode()


def _read_token(token: str) -> tuple[int, str]:
    try:
        create_ns, run_id = base64.urlsafe_b64decode(token.encode()).decode().split(" ")
        if not -(2**63) <= int(create_ns) < 2**63:
            raise ValueError
        return int(create_ns), run_id
    except ValueError:
        raise InvalidInput(
            "page_token is not one that this list gave.", remedy="Begin at the first page.", field="page_token"
        ) from None
