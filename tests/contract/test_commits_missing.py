"""Runs that lost commits: they fail and say so, and what was committed stays."""

import time
from pathlib import Path

from services.agent.care.agent_store import SCHEMAS
from services.agent.lost_commits import MissingCommits
from shared.pb import agent_v1, common_v1
from shared.storage.database import Database
from tests.fakes.agent_mesh import Mesh, mesh


async def begin(made: Mesh) -> str:
    """A run that hangs in its hop."""
    made.service.hang.clear()
    run = await made.start(effort=common_v1.EFFORT_LOW)
    await made.service.was_called.wait()
    return run.run_id


def check_failed(run: agent_v1.Run, expected: str) -> None:
    assert run.state == agent_v1.Run.STATE_FAILED
    assert run.error.reason == common_v1.ERROR_REASON_COMMITS_MISSING
    assert run.error.metadata["expected"] == expected


async def test_a_run_that_lost_commits_is_not_taken_up_but_fails(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run_id = await begin(made)
    kill_owner(tmp_path)
    async with mesh(tmp_path, [MissingCommits(run_id, 99, 4)]) as made:
        seen = await made.watch(run_id)
        check_failed(seen[-1].state_changed.run, "99")
        assert [event.sequence for event in seen] == list(range(1, len(seen) + 1))
        assert "route_recommended" in {event.WhichOneof("payload") for event in seen}
        assert not made.service.calls


async def test_a_run_that_is_under_way_is_stopped_when_the_control_plane_comes_late(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run_id = await begin(made)
        await made.runs.fail_missing([MissingCommits(run_id, 99, 4)])
        check_failed((await made.watch(run_id))[-1].state_changed.run, "99")
        await made.service.is_closed.wait()


async def test_what_has_ended_or_is_unknown_stays_as_it_is(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        ended = await made.finish(effort=common_v1.EFFORT_LOW)
        await made.runs.fail_missing([MissingCommits(ended.run_id, 99, 4), MissingCommits("unknown", 3, 0)])
        assert (await made.watch(ended.run_id))[-1].state_changed.run == ended


def kill_owner(home: Path) -> None:
    """Leave the threads as a process does that was killed: with leases that still run."""
    database = Database(home / "agent.db", *SCHEMAS)
    database.open()
    until = time.time_ns() + 10**10
    held = "UPDATE threads SET owner = 'agent-killed', lease_ns = ?"
    database.submit(lambda connection: connection.execute(held, (until,)).fetchall()).result()
    database.close()
