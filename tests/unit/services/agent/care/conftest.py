"""An agent.db with runs in it, written the way the agent writes it."""

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from services.agent.care.agent_store import SCHEMAS
from services.agent.care.store_care import StoreCare
from services.agent.checkpoint.rows import COLUMNS, CheckpointRow
from services.agent.run_rows import damaged, load_run, opened_event, save_run
from shared.pb import agent_v1
from shared.storage.database import Database
from shared.storage.sealed import seal

Contents = dict[str, tuple[bytes, list[bytes]]]


@pytest.fixture
def care(tmp_path: Path) -> StoreCare:
    """The care of an agent.db that is not there yet."""
    return StoreCare(tmp_path / "agent" / "agent.db", SCHEMAS, keep=3)


def opened(care: StoreCare) -> Database:
    """A new care of the same file opens it, as a restarted agent does."""
    return StoreCare(care.path, SCHEMAS, keep=3).open()


async def add_run(database: Database, run_id: str, events: int, *, is_finished: bool = True, size: int = 100) -> None:
    """Store a run with so many events, each with `size` characters of text, and a checkpoint."""
    run = agent_v1.Run(run_id=run_id, thread_id=f"thread-{run_id}", workflow="auto", query="why?", tenant="t")
    run.state = agent_v1.Run.STATE_SUCCEEDED if is_finished else agent_v1.Run.STATE_RUNNING
    run.last_sequence = events
    body = run_id.encode().ljust(size, b"-")
    checkpoint = CheckpointRow.of((run.thread_id, "", "1", None, run_id, "{}", "nodes"), body)

    def work(connection: apsw.Connection) -> None:
        save_run(connection, run)
        for sequence in range(1, events + 1):
            event = agent_v1.RunEvent(run_id=run_id, sequence=sequence)
            event.text_produced.text = f"{run_id}-{sequence} ".ljust(size, "x")
            connection.execute(
                "INSERT INTO events VALUES (?, ?, ?)", (run_id, sequence, seal(event.SerializeToString()))
            )
        marks = ", ".join("?" * len(checkpoint.columns))
        connection.execute(f"INSERT INTO thread_checkpoints ({COLUMNS}) VALUES ({marks})", checkpoint.columns)

    await database.write(work)


def contents_of(connection: apsw.Connection) -> Contents:
    """Everything the agent would serve of finished runs. Raises what the agent's reads raise."""
    served: Contents = {}
    for (run_id,) in connection.execute("SELECT run_id FROM runs").fetchall():
        run = load_run(connection, str(run_id))
        sql = "SELECT event FROM events WHERE run_id = ? ORDER BY sequence"
        events = [opened_event(sealed) for (sealed,) in connection.execute(sql, (run_id,)).fetchall()]
        if [event.sequence for event in events] != list(range(1, run.last_sequence + 1)):
            raise damaged(f"Run {run_id}")
        served[run.run_id] = (run.SerializeToString(), [event.SerializeToString() for event in events])
    for fields in connection.execute(f"SELECT {COLUMNS} FROM thread_checkpoints").fetchall():
        CheckpointRow(*fields).check()
    return served


Damager = Callable[[bytearray], None]


def damage(path: Path, change: Damager) -> None:
    """Change the bytes of a file that nobody has open."""
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
