"""The projection: what a report changes, what it does not, and what is lost."""

from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest

from services.control.runs.projection import Cursor, RunFilter, RunProjection
from services.control.runs.report import RunReport
from services.control.runs.schema import SCHEMA
from shared.errors import InvalidInput, NotFound
from shared.pb import agent_v1, common_v1
from shared.storage.database import Database

RUNNING, SUCCEEDED, LOST = agent_v1.Run.STATE_RUNNING, agent_v1.Run.STATE_SUCCEEDED, agent_v1.Run.STATE_LOST


class Projection(RunProjection):
    """A projection whose live agents the test names, and which remembers what it told."""

    def __init__(self, database: Database) -> None:
        self.owners: Collection[str] | None = None
        self.told: list[agent_v1.Run] = []
        super().__init__(database, lambda: self.owners, self.told.extend)


@pytest.fixture
async def projection(tmp_path: Path) -> AsyncIterator[Projection]:
    database = Database(tmp_path / "control.db", SCHEMA, synchronous="NORMAL")
    database.open()
    yield Projection(database)
    database.close()


def run(
    run_id: str = "r1", state: "agent_v1.Run.State.ValueType" = RUNNING, created: int = 1, **more: str
) -> agent_v1.Run:
    made = agent_v1.Run(run_id=run_id, state=state, query="Why?", **more)  # type: ignore[arg-type]
    made.create_time.FromSeconds(created)
    return made


def report(*runs: agent_v1.Run, last: int = 1, generation: int = 1, store: str = "s", **more: object) -> RunReport:
    sequences = {each.run_id: last for each in runs}
    return RunReport("agent-1", store, generation, runs, sequences, **more)  # type: ignore[arg-type]


async def test_a_report_that_comes_again_or_late_changes_nothing(projection: Projection) -> None:
    await projection.apply(report(run(state=SUCCEEDED), last=9))
    for old in (report(run(state=SUCCEEDED), last=9), report(run(), last=4)):
        assert await projection.apply(old) == {"r1": 9}
    found = await projection.get("r1")
    assert (found.state, found.last_sequence) == (SUCCEEDED, 9)
    assert len(projection.told) == 1


async def test_under_another_generation_lower_numbers_are_taken(projection: Projection) -> None:
    await projection.apply(report(run(state=SUCCEEDED), last=9))
    assert await projection.apply(report(run(), last=4, generation=2)) == {"r1": 4}
    assert await projection.cursors("s") == {"r1": Cursor(4, 2)}
    assert (await projection.get("r1")).state == RUNNING


async def test_only_a_change_of_the_run_is_told(projection: Projection) -> None:
    for last in (1, 2, 3):
        await projection.apply(report(run(), last=last))
    await projection.apply(report(run(state=SUCCEEDED), last=4))
    assert [(each.state, each.last_sequence) for each in projection.told] == [(RUNNING, 1), (SUCCEEDED, 4)]


async def test_cursors_belong_to_a_store(projection: Projection) -> None:
    await projection.apply(report(run("mine"), last=3))
    await projection.apply(report(run("theirs"), last=5, store="other"))
    assert await projection.cursors("s") == {"mine": Cursor(3, 1)}
    assert await projection.cursors("s", ["theirs", "mine", "nobody's"]) == {"mine": Cursor(3, 1)}


async def test_lost_commits_take_the_number_back(projection: Projection) -> None:
    await projection.apply(report(run("known"), run("gone"), run("ended", SUCCEEDED), last=9))
    await projection.apply(RunReport("agent-2", "s", 1, lost={"known": 5, "gone": 0, "ended": 0, "never heard of": 0}))
    cursors = await projection.cursors("s")
    assert {run_id: cursor.sequence for run_id, cursor in cursors.items()} == {"known": 5, "gone": 0, "ended": 0}
    gone = await projection.get("gone")
    assert (gone.state, gone.error.reason) == (agent_v1.Run.STATE_FAILED, common_v1.ERROR_REASON_COMMITS_MISSING)
    assert dict(gone.error.metadata) == {"expected": "9", "found": "0"}
    assert (await projection.get("ended")).state == SUCCEEDED
    # the agent's own word on the run, which it goes on to number after what it still has
    assert await projection.apply(report(run("known", agent_v1.Run.STATE_FAILED), last=6)) == {"known": 6}
    assert projection.told[-1].state == agent_v1.Run.STATE_FAILED


async def test_another_store_takes_nothing_back_and_deletes_nothing(projection: Projection) -> None:
    await projection.apply(report(run(), last=9))
    await projection.apply(report(store="other", lost={"r1": 0}, deleted=["r1"]))
    assert (await projection.get("r1")).last_sequence == 9


async def test_deleted_runs_are_gone(projection: Projection) -> None:
    await projection.apply(report(run("r1"), run("r2")))
    await projection.apply(report(deleted=["r1"]))
    with pytest.raises(NotFound):
        await projection.get("r1")
    assert await projection.cursors("s") == {"r2": Cursor(1, 1)}


async def test_only_what_needs_a_live_agent_is_lost(projection: Projection) -> None:
    paused = run("paused", agent_v1.Run.STATE_PAUSED)
    await projection.apply(report(run("running"), paused, run("ended", SUCCEEDED)))
    projection.owners = ["agent-1"]
    assert (await projection.get("running")).state == RUNNING
    projection.owners = ["agent-2"]
    states = {each.run_id: each.state for each in (await projection.page(RunFilter()))[0]}
    assert states == {"running": LOST, "paused": agent_v1.Run.STATE_PAUSED, "ended": SUCCEEDED}
    assert [each.run_id for each in (await projection.page(RunFilter([LOST])))[0]] == ["running"]
    assert (await projection.page(RunFilter([RUNNING])))[0] == []
    projection.told.clear()
    await projection.note_lost("agent-9")
    assert projection.told == []
    await projection.note_lost("agent-1")
    assert [(each.run_id, each.state) for each in projection.told] == [("running", LOST)]


async def test_pages_are_newest_first_and_filtered(projection: Projection) -> None:
    runs = [run(f"r{index}", created=index // 2 + 1, tenant="t" if index % 2 else "u") for index in range(5)]
    await projection.apply(report(*runs))
    seen, token = [], ""
    for _ in range(3):
        page, token = await projection.page(RunFilter(), 2, token)
        seen += [each.run_id for each in page]
    assert (seen, token) == (["r4", "r2", "r3", "r0", "r1"], "")
    assert {each.run_id for each in (await projection.page(RunFilter(tenant="t")))[0]} == {"r1", "r3"}
    assert len((await projection.page(RunFilter(text="WHY")))[0]) == 5
    assert (await projection.page(RunFilter(text="%")))[0] == []


@pytest.mark.parametrize("token", ["x", "bm8=", "MSAyIDM=", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5IHg="])
async def test_a_foreign_page_token_is_refused(projection: Projection, token: str) -> None:
    with pytest.raises(InvalidInput, match="page_token"):
        await projection.page(RunFilter(), 2, token)


async def test_the_oldest_runs_go_first(projection: Projection) -> None:
    await projection.apply(report(*(run(f"r{index}", created=index + 1) for index in range(5))))
    assert await projection.prune(2) == 3
    assert [each.run_id for each in (await projection.page(RunFilter()))[0]] == ["r4", "r3"]
