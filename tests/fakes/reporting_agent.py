"""An agent process reduced to its store and its outbox: `python -m tests.fakes.reporting_agent FOLDER CONTROL_ADDRESS`.

It stores a run `first` with half of its events, ten runs that end, and the other half; it says `reported` when the
control plane has them all, and then waits to be killed.
"""

import asyncio
import sys
from pathlib import Path

import apsw

from services.agent.checkpoint.tables import SCHEMA as CHECKPOINTS
from services.agent.control_peer import ControlPeer
from services.agent.outbox import Outbox, Report
from services.agent.outbox_store import SCHEMA as OUTBOX
from services.agent.outbox_store import OutboxStore, store_id
from services.agent.run_rows import SCHEMA as RUNS
from services.agent.run_rows import save_run
from shared.pb import agent_v1
from shared.storage.database import Database
from shared.storage.sealed import seal

LATER_RUNS = 10
HALF = 20


def open_database(folder: Path) -> Database:
    """The agent's database in `folder`, open."""
    database = Database(folder / "agent.db", RUNS, CHECKPOINTS, OUTBOX)
    database.open()
    return database


class _Witness(ControlPeer):
    def __init__(self, address: str, store: str) -> None:
        super().__init__(address, "agent-killed", store)
        self._reported: dict[str, int] = {}

    async def report(self, report: Report) -> None:
        await super().report(report)
        self._reported.update({event.run_id: event.sequence for event in report.events})
        if self._reported.get("first") == 2 * HALF and len(self._reported) == LATER_RUNS + 1:
            print("reported", flush=True)


async def append(database: Database, run: agent_v1.Run, *sequences: int) -> None:
    """Store a run, and events of it, each in its own transaction."""
    for sequence in sequences:
        sealed = seal(agent_v1.RunEvent(run_id=run.run_id, sequence=sequence).SerializeToString())

        def work(connection: apsw.Connection, row: tuple[str, int, bytes] = (run.run_id, sequence, sealed)) -> None:
            save_run(connection, run)
            connection.execute("INSERT INTO events VALUES (?, ?, ?)", row)

        await database.write(work)


async def _store_runs(database: Database, outbox: Outbox) -> None:
    first = agent_v1.Run(run_id="first", thread_id="t", state=agent_v1.Run.STATE_RUNNING)
    await append(database, first, *range(1, HALF + 1))
    for index in range(LATER_RUNS):
        later = agent_v1.Run(run_id=f"later-{index}", thread_id="t", state=agent_v1.Run.STATE_SUCCEEDED)
        await append(database, later, 1, 2)
        outbox.note(later.run_id)
    await append(database, first, *range(HALF + 1, 2 * HALF + 1))
    outbox.note(first.run_id)


async def _serve(folder: Path, control_address: str) -> None:
    database = open_database(folder)
    outbox = Outbox(OutboxStore(database), _Witness(control_address, store_id(folder)))

    async def ignore(_: object) -> None: ...

    reporting = asyncio.create_task(outbox.run(ignore))
    await _store_runs(database, outbox)
    await reporting


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), sys.argv[2]))
