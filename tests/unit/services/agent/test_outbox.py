"""The outbox: what reaches the control plane, in which order, and what happens while it is away."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.agent import outbox as outbox_module
from services.agent import outbox_store
from services.agent.checkpoint.tables import SCHEMA as CHECKPOINTS
from services.agent.lost_commits import Cursor, MissingCommits
from services.agent.outbox import Outbox, Report
from services.agent.outbox_store import OutboxStore, note_deletions, store_id
from services.agent.run_rows import SCHEMA as RUNS
from services.agent.run_rows import save_run
from shared.errors import InvalidInput, PeerUnavailable, StorageUnavailable, ThreadBusy, WaystationError
from shared.pb import agent_v1
from shared.storage.database import Database
from shared.storage.sealed import seal

INSERT = "INSERT INTO events VALUES (?, ?, ?)"
SUCCEEDED = agent_v1.Run.STATE_SUCCEEDED


class FakeControl:
    """A control plane with memory and dials."""

    def __init__(self) -> None:
        self.seen: dict[str, Cursor] = {}
        self.reports: list[Report] = []
        self.is_down = False
        self.refused: str = ""
        """A report with this run is refused."""
        self._news = asyncio.Event()

    async def cursors(self) -> dict[str, Cursor]:
        self._check()
        return dict(self.seen)

    async def report(self, report: Report) -> None:
        self._check()
        if any(run.run_id == self.refused for run in report.runs):
            raise InvalidInput("no")
        self.reports.append(report)
        for run_id, number in report.lost.items():
            self.seen[run_id] = Cursor(number, report.generation)
        for event in report.events:
            self.seen[event.run_id] = Cursor(event.sequence, report.generation)
        for run_id in report.deleted:
            self.seen.pop(run_id, None)
        self._news.set()

    def _check(self) -> None:
        if self.is_down:
            self._news.set()
            raise PeerUnavailable("control cannot be reached.")

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not is_so():
                await self._news.wait()
                self._news.clear()

    @property
    def numbers(self) -> dict[str, int]:
        return {run_id: cursor.sequence for run_id, cursor in self.seen.items()}


class Bench:
    """A store to write runs into, and an outbox over it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = OutboxStore(database)
        self.control = FakeControl()
        self.outbox = Outbox(self.store, self.control)
        self.missing: list[MissingCommits] = []
        self.failures: list[WaystationError] = []
        """What the coming attempts to hand over what is missing raise."""

    async def write(self, run_id: str, *sequences: int, state: int = SUCCEEDED, text: str = "x") -> None:
        """Store events of a run, and note it as `RunEvents` does."""
        run = agent_v1.Run(run_id=run_id, thread_id=run_id, state=state)  # type: ignore[arg-type]
        await self.database.write(lambda connection: save_run(connection, run))
        for sequence in sequences:
            event = agent_v1.RunEvent(run_id=run_id, sequence=sequence)
            event.text_produced.text = text
            await self._insert(run_id, sequence, seal(event.SerializeToString()))
        self.outbox.note(run_id)

    async def _insert(self, *row: str | int | bytes) -> None:
        await self.database.write(lambda connection: connection.execute(INSERT, row).fetchall())

    async def on_missing(self, missing: Sequence[MissingCommits]) -> None:
        if self.failures:
            raise self.failures.pop()
        self.missing += missing

    @asynccontextmanager
    async def reporting(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.outbox.run(self.on_missing))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(outbox_module, "RETRY_S", 0.01)
    database = Database(tmp_path / "agent.db", RUNS, CHECKPOINTS, outbox_store.SCHEMA)
    database.open()
    yield Bench(database)
    database.close()


async def test_each_event_is_reported_once_and_with_its_run(bench: Bench) -> None:
    async with bench.reporting():
        await bench.write("r1", 1, 2)
        await bench.control.until(lambda: bench.control.numbers == {"r1": 2})
        await bench.write("r1", 3)
        await bench.control.until(lambda: bench.control.numbers == {"r1": 3})
    sent = [event.sequence for report in bench.control.reports for event in report.events]
    assert sent == [1, 2, 3]
    assert all([run.run_id for run in report.runs] == ["r1"] for report in bench.control.reports)


async def test_what_was_committed_before_the_start_is_reported(bench: Bench) -> None:
    await bench.write("old", 1, 2, 3)
    bench.control.seen["old"] = Cursor(2, 1)
    fresh = Outbox(bench.store, bench.control)
    bench.outbox = fresh
    async with bench.reporting():
        await bench.control.until(lambda: bench.control.numbers == {"old": 3})
    assert [event.sequence for event in bench.control.reports[0].events] == [3]


async def test_nothing_is_lost_while_the_control_plane_is_away(bench: Bench) -> None:
    async with bench.reporting():
        await bench.write("r1", 1)
        await bench.control.until(lambda: bench.control.numbers == {"r1": 1})
        bench.control.is_down = True
        await bench.write("r1", 2)
        await bench.write("r2", 1)
        bench.control.is_down = False
        await bench.control.until(lambda: bench.control.numbers == {"r1": 2, "r2": 1})


async def test_what_exceeds_the_bound_is_found_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "MAX_NOTED", 2)
    bench.control.is_down = True
    async with bench.reporting():
        for index in range(6):
            await bench.write(f"r{index}", 1)
        assert bench.outbox.counters["outbox.waiting_runs"] == 2
        bench.control.is_down = False
        await bench.control.until(lambda: len(bench.control.numbers) == 6)


async def test_a_run_of_many_events_takes_several_reports(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_store, "MAX_EVENTS", 3)
    await bench.write("long", *range(1, 9))
    await bench.write("short", 1)
    async with bench.reporting():
        await bench.control.until(lambda: bench.control.numbers == {"long": 8, "short": 1})
    assert max(len(report.events) for report in bench.control.reports) == 3


async def test_a_large_payload_stays_at_home(bench: Bench) -> None:
    await bench.write("r1", 1, text="x" * outbox_store.MAX_EVENT_BYTES)
    async with bench.reporting():
        await bench.control.until(lambda: bench.control.numbers == {"r1": 1})
    (event,) = bench.control.reports[0].events
    assert event.WhichOneof("payload") is None


async def test_a_refused_run_holds_up_nobody(bench: Bench) -> None:
    bench.control.refused = "bad"
    async with bench.reporting():
        await bench.write("bad", 1)
        while bench.outbox.counters["outbox.waiting_runs"]:
            await bench.store.generation()
        await bench.write("good", 1)
        await bench.control.until(lambda: bench.control.numbers == {"good": 1})


async def test_a_damaged_run_holds_up_nobody(bench: Bench) -> None:
    await bench.write("damaged", 1)
    await bench.database.write(lambda connection: connection.execute("UPDATE runs SET run = x'00ff'"))
    await bench.write("sound", 1)
    async with bench.reporting():
        await bench.control.until(lambda: bench.control.numbers == {"sound": 1})


async def test_deletions_are_reported_and_forgotten(bench: Bench) -> None:
    await bench.write("r1", 1)
    async with bench.reporting():
        await bench.control.until(lambda: bench.control.numbers == {"r1": 1})
        await bench.database.write(lambda connection: note_deletions(connection, ["r1"]))
        bench.outbox.note_deletions()
        await bench.control.until(lambda: bench.control.numbers == {})
        while await bench.store.deletions():
            continue


async def test_lost_commits_are_found_before_anything_is_written(bench: Bench) -> None:
    await bench.write("r1", 1, 2)
    bench.control.seen = {"r1": Cursor(5, 1), "gone": Cursor(3, 1)}
    missing = await bench.outbox.missing_commits()
    assert missing == [MissingCommits("r1", 5, 2), MissingCommits("gone", 3, 0)]
    assert bench.outbox.counters["runs.commits_missing"] == 2
    await bench.write("r1", 3)
    async with bench.reporting():
        await bench.control.until(lambda: bench.control.numbers == {"r1": 3, "gone": 0})
    assert bench.missing == []
    assert await Outbox(bench.store, bench.control).missing_commits() == []


async def test_a_late_control_plane_is_compared_with_what_was_there_at_the_start(bench: Bench) -> None:
    await bench.write("r1", 1, 2)
    bench.control.seen = {"r1": Cursor(5, 1)}
    bench.control.is_down = True
    assert await bench.outbox.missing_commits() == []
    await bench.write("r1", 3, 4, 5, 6)
    bench.control.is_down = False
    async with bench.reporting():
        await bench.control.until(lambda: bench.control.numbers == {"r1": 6})
    assert bench.missing == [MissingCommits("r1", 5, 2)]


async def test_what_is_missing_is_handed_over_again_when_that_failed(bench: Bench) -> None:
    await bench.write("r1", 1)
    bench.control.seen = {"r1": Cursor(5, 1)}
    bench.control.is_down = True
    await bench.outbox.missing_commits()
    bench.control.is_down = False
    bench.failures = [ThreadBusy("not now")]
    async with bench.reporting():
        await bench.control.until(lambda: bench.control.numbers == {"r1": 1})
    assert bench.missing == [MissingCommits("r1", 5, 1)]


async def test_a_silent_control_plane_is_not_waited_for(bench: Bench) -> None:
    async def never() -> dict[str, Cursor]:
        await asyncio.Event().wait()
        return {}

    bench.control.cursors = never  # type: ignore[method-assign]
    async with asyncio.timeout(20):
        assert await bench.outbox.missing_commits(0.05) == []


async def test_a_restored_store_is_reported_anew_and_misses_nothing(bench: Bench) -> None:
    await bench.write("r1", 1, 2)
    bench.control.seen = {"r1": Cursor(5, 1), "gone": Cursor(3, 1)}
    await bench.store.raise_generation(0)
    assert await bench.outbox.missing_commits() == []
    async with bench.reporting():
        await bench.control.until(lambda: bench.control.seen.get("r1") == Cursor(2, 2))
    assert bench.control.seen["gone"] == Cursor(0, 2)


async def test_a_copy_from_before_a_restore_begins_a_new_generation(bench: Bench) -> None:
    await bench.write("r1", 1)
    bench.control.seen = {"r1": Cursor(4, 7)}
    assert await bench.outbox.missing_commits() == [MissingCommits("r1", 4, 1)]
    assert await bench.store.generation() == 8


async def test_only_so_many_deletions_are_remembered(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_store, "NEWEST", 2)
    await bench.database.write(lambda connection: note_deletions(connection, ["a", "b", "c", "b"]))
    assert await bench.store.deletions() == ["b", "c"]


def test_a_store_keeps_its_id(tmp_path: Path) -> None:
    folder = tmp_path / "agent"
    made = store_id(folder)
    assert made and store_id(folder) == made
    (folder / "store_id").write_bytes(b"\xff\xfe")
    with pytest.raises(StorageUnavailable, match="store_id"):
        store_id(folder)
