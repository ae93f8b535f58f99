"""A killed agent whose WAL is cut: SQLite finds nothing wrong, and the control plane's numbers do."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httpx
import pytest

from services.agent.control_peer import ControlPeer
from services.agent.lost_commits import MissingCommits
from services.agent.outbox import Outbox
from services.agent.outbox_store import OutboxStore, store_id
from services.agent.run_error import error_to_proto
from services.control.__main__ import Control, serving
from services.control.event_log import Event
from services.control.settings import ControlSettings
from shared.pb import agent_v1
from shared.storage.database import Database
from tests.fakes.reporting_agent import HALF, LATER_RUNS, append, open_database

Harm = Callable[[Path], None]


@dataclass
class Agent:
    """The agent after its restart, as far as it is needed."""

    outbox: Outbox
    store: OutboxStore
    database: Database
    integrity: str

    async def fail(self, missing: Sequence[MissingCommits]) -> None:
        """End the runs that are still known, as `Runs.fail_missing` does."""
        for each in missing:
            if each.found:
                run = agent_v1.Run(run_id=each.run_id, thread_id="t", state=agent_v1.Run.STATE_FAILED)
                run.error.CopyFrom(error_to_proto(each.error))
                await append(self.database, run, each.found + 1)


@asynccontextmanager
async def control_plane(home: Path) -> AsyncIterator[tuple[Control, str, httpx.AsyncClient]]:
    settings = ControlSettings(home=home, port=0, http_port=0, agent_address="127.0.0.1:1")
    async with (
        serving(settings) as (control, grpc_port, http_port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{http_port}", timeout=20) as http,
    ):
        yield control, f"127.0.0.1:{grpc_port}", http


async def run_and_kill(folder: Path, control_address: str) -> None:
    command = (sys.executable, "-m", "tests.fakes.reporting_agent", str(folder), control_address)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    assert await process.stdout.readline() == b"reported\n"
    process.send_signal(signal.SIGKILL)
    await process.wait()


@asynccontextmanager
async def restarted(folder: Path, control_address: str) -> AsyncIterator[Agent]:
    database = open_database(folder)
    control = ControlPeer(control_address, "agent-restarted", store_id(folder))
    store = OutboxStore(database)
    outbox = Outbox(store, control)
    try:
        yield Agent(
            outbox, store, database, await database.read(lambda connection: connection.pragma("integrity_check"))
        )
    finally:
        await control.close()
        database.close()


def cut_wal(folder: Path) -> None:
    """Half of what was committed last is gone."""
    wal = folder / "agent.db-wal"
    os.truncate(wal, wal.stat().st_size // 2)


def remove_database(folder: Path) -> None:
    for path in folder.glob("agent.db*"):
        path.unlink()


async def until_failed(control: Control, run_id: str, after: int) -> agent_v1.Run:
    async with asyncio.timeout(10):
        async for event in control.event_log.read(after):
            run = event.payload if isinstance(event, Event) else None
            if isinstance(run, agent_v1.Run) and run.run_id == run_id and run.state == agent_v1.Run.STATE_FAILED:
                return run
    raise AssertionError("the control plane stopped")


@pytest.fixture(params=[cut_wal, remove_database])
def harm(request: pytest.FixtureRequest) -> Harm:
    return cast(Harm, request.param)


async def test_nothing_is_missing_after_a_plain_kill(tmp_path: Path) -> None:
    async with control_plane(tmp_path) as (_, address, _):
        await run_and_kill(tmp_path / "agent", address)
        async with restarted(tmp_path / "agent", address) as agent:
            assert await agent.outbox.missing_commits() == []


async def test_lost_commits_fail_their_runs_and_are_shown_once(tmp_path: Path, harm: Harm) -> None:
    folder = tmp_path / "agent"
    async with control_plane(tmp_path) as (control, address, http):
        await run_and_kill(folder, address)
        harm(folder)
        cursor = control.event_log.last_cursor
        async with restarted(folder, address) as agent:
            assert agent.integrity == "ok"
            missing = await agent.outbox.missing_commits()
            _check(missing, harm)
            await agent.fail(missing)
            reporting = asyncio.create_task(agent.outbox.run(agent.fail))
            failed = await until_failed(control, "first", cursor)
            reporting.cancel()
        assert failed.error.metadata["expected"] == str(2 * HALF)
        shown = (await http.get("/api/runs", params={"state": "failed"})).json()["runs"]
        assert "first" in {run["run_id"] for run in shown}
        assert {run["error"]["reason"] for run in shown} == {"COMMITS_MISSING"}
        async with restarted(folder, address) as agent:
            assert await agent.outbox.missing_commits() == []


async def test_a_restored_store_is_not_missing_what_came_after_its_backup(tmp_path: Path) -> None:
    folder = tmp_path / "agent"
    async with control_plane(tmp_path) as (_, address, _):
        await run_and_kill(folder, address)
        cut_wal(folder)
        async with restarted(folder, address) as agent:
            await agent.store.raise_generation(0)
            assert await agent.outbox.missing_commits() == []


def _check(missing: list[MissingCommits], harm: Harm) -> None:
    by_run = {each.run_id: each for each in missing}
    assert by_run["first"].expected == 2 * HALF
    if harm is remove_database:
        assert len(by_run) == LATER_RUNS + 1
        assert not any(each.found for each in missing)
    else:
        assert HALF <= by_run["first"].found < 2 * HALF
        assert by_run[f"later-{LATER_RUNS - 1}"].found == 0
