"""What agent.db holds, as far as its care must know: how far each run is, and whether its rows agree."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import apsw

from services.agent.checkpoint.ownership import generation
from services.agent.mailbox import rows
from services.agent.run_rows import FINISHED, is_finished, opened_event, opened_run
from shared.errors import StorageCorrupt
from shared.storage.backup import Facts
from shared.storage.integrity import Damage

UNFINISHED = f"state < {min(FINISHED)}"


@dataclass(frozen=True)
class LostRun:
    """A run of which events are gone."""

    run_id: str
    known_sequence: int
    """The newest event that is known to have been committed."""
    kept_sequence: int
    """The newest event that is still there; 0 when the run is gone."""

    @property
    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def newest_sequences(connection: apsw.Connection) -> dict[str, int]:
    """The number of each run's newest event, by run id; 0 for a run without events."""
    sql = "SELECT run_id, (SELECT coalesce(max(sequence), 0) FROM events WHERE events.run_id = runs.run_id) FROM runs"
    return {str(run_id): int(sequence) for run_id, sequence in _rows(connection, sql)}


def seen_sequences(connection: apsw.Connection) -> dict[str, int]:
    """As `newest_sequences`, and also for runs of which nothing but events is there. Reads all events."""
    events = {
        run_id: int(newest)
        for run_id, newest in _rows(connection, "SELECT run_id, max(sequence) FROM events GROUP BY 1")
    }
    return newest_sequences(connection) | events


def unfinished_sequences(connection: apsw.Connection) -> dict[str, int]:
    """The number of the newest event of each run that has not ended, by run id."""
    sql = "SELECT run_id, (SELECT coalesce(max(sequence), 0) FROM events WHERE events.run_id = runs.run_id) FROM runs"
    return {str(run_id): int(sequence) for run_id, sequence in _rows(connection, f"{sql} WHERE {UNFINISHED}")}


def progress(connection: apsw.Connection) -> tuple[int, dict[str, int]]:
    """Something that changes whenever a run begins, goes on or ends."""
    newest: Any = connection.execute("SELECT coalesce(max(rowid), 0) FROM runs").get
    return int(newest), unfinished_sequences(connection)


def deleted_runs(connection: apsw.Connection) -> set[str]:
    """The ids of runs that were deleted on purpose, as far as that is remembered."""
    return {str(run_id) for (run_id,) in _rows(connection, "SELECT run_id FROM deletions")}


def lost_runs(
    known: Iterable[Mapping[str, int]], kept: Mapping[str, int], deleted: Collection[str] = ()
) -> list[LostRun]:
    """The runs that were further, according to any of `known`, than they are in `kept`; deleted ones do not count."""
    newest: dict[str, int] = {}
    for sequences in known:
        for run_id, sequence in sequences.items():
            newest[run_id] = max(sequence, newest.get(run_id, 0))
    lost = [LostRun(run_id, sequence, kept.get(run_id, 0)) for run_id, sequence in newest.items()]
    return sorted(
        (run for run in lost if run.known_sequence > kept.get(run.run_id, -1) and run.run_id not in deleted),
        key=lambda run: run.run_id,
    )


def describe(connection: apsw.Connection) -> Facts:
    """The facts in the manifest of a backup."""
    return {
        "generation": generation(connection),
        "runs": _count(connection, "runs"),
        "events": _count(connection, "events"),
        "unfinished": unfinished_sequences(connection),
    }


def check_runs(connection: apsw.Connection) -> Iterator[Damage]:
    """Yield the runs whose row or events are damaged, or not all there."""
    yield from _check(connection, "", "")


def check_unfinished(connection: apsw.Connection) -> Iterator[Damage]:
    """As `check_runs`, of the runs that have not ended."""
    chosen = f"WHERE {UNFINISHED}"
    yield from _check(connection, chosen, f"WHERE run_id IN (SELECT run_id FROM runs {chosen})")


def is_worth_keeping(connection: apsw.Connection, run_id: str) -> bool:
    """Whether a damaged run has ended and has its row and its newest event: reading the others says what is wrong."""
    sealed = connection.execute("SELECT run FROM runs WHERE run_id = ?", (run_id,)).get
    try:
        run = opened_run(sealed) if sealed else None
    except StorageCorrupt:
        return False
    newest: Any = connection.execute("SELECT max(sequence) FROM events WHERE run_id = ?", (run_id,)).get
    return run is not None and run.run_id == run_id and is_finished(run) and (newest or 0) >= run.last_sequence


def drop_runs(connection: apsw.Connection, run_ids: Iterable[str]) -> None:
    """Delete runs, their events and messages."""
    run_ids = list(run_ids)
    rows.delete(connection, run_ids)
    for run_id in run_ids:
        connection.execute("DELETE FROM events WHERE run_id = ?", (run_id,))
        connection.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))


def finished_runs(connection: apsw.Connection) -> set[str]:
    """The ids of the runs that have ended."""
    return {str(run_id) for (run_id,) in _rows(connection, f"SELECT run_id FROM runs WHERE NOT {UNFINISHED}")}


def _check(connection: apsw.Connection, which_runs: str, which_events: str) -> Iterator[Damage]:
    last_sequences: dict[str, int] = {}
    for run_id, state, blob in _rows(connection, f"SELECT run_id, state, run FROM runs {which_runs}"):
        try:
            run = opened_run(blob)
        except StorageCorrupt as error:
            yield Damage("run", run_id, error.message)
            continue
        if (run.run_id, run.state) != (run_id, state):
            yield Damage("run", run_id, "its row and its message differ")
        last_sequences[run_id] = run.last_sequence
    sql = f"SELECT run_id, sequence, event FROM events {which_events} ORDER BY run_id, sequence"
    yield from _check_events(_rows(connection, sql), last_sequences)


def _check_events(events: Iterator[Any], last_sequences: dict[str, int]) -> Iterator[Damage]:
    expected: dict[str, int] = {}
    damaged: set[str] = set()
    for run_id, sequence, blob in events:
        try:
            event = opened_event(blob)
            is_whole = (event.run_id, event.sequence) == (run_id, sequence)
        except StorageCorrupt:
            is_whole = False
        if run_id not in damaged and (not is_whole or sequence != expected.get(run_id, 1)):
            damaged.add(run_id)
            what = "is missing" if is_whole else "is damaged"
            yield Damage("run", run_id, f"event {expected.get(run_id, 1)} {what}")
        expected[run_id] = sequence + 1
    for run_id in expected.keys() - last_sequences.keys() - damaged:
        yield Damage("run", run_id, "its row is missing")
    for run_id, last_sequence in last_sequences.items():
        if run_id not in damaged and last_sequence >= expected.get(run_id, 1):
            yield Damage("run", run_id, f"event {expected.get(run_id, 1)} is missing")


def _count(connection: apsw.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").get)


def _rows(connection: apsw.Connection, sql: str) -> Iterator[Any]:
    return iter(connection.execute(sql))
