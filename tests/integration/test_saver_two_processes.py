"""Two processes write one thread: what is accepted stays, what is refused says so, and nothing forks."""

import asyncio
import operator
import sys
from pathlib import Path
from typing import Annotated, Any, TypedDict

from services.agent.checkpoint.saver import Saver
from services.agent.checkpoint.tables import SCHEMA
from shared.errors import StaleEpoch
from shared.storage.database import Database

UPDATES = 30
CONFIG: Any = {"configurable": {"thread_id": "shared"}}


class Notes(TypedDict):
    notes: Annotated[list[str], operator.add]


def graph(saver: Saver) -> Any:
    from langgraph.graph import END, START, StateGraph

    async def write_down(state: Notes) -> Notes:
        return {"notes": []}

    notes: Any = StateGraph(Notes)
    notes.add_node("write_down", write_down)
    notes.add_edge(START, "write_down")
    notes.add_edge("write_down", END)
    return notes.compile(checkpointer=saver)


async def write(path: Path, name: str) -> None:
    """Print each update, and whether it was accepted."""
    database = Database(path, SCHEMA)
    database.open()
    compiled = graph(Saver(database))
    await asyncio.to_thread(sys.stdin.readline)  # both begin at once
    for number in range(UPDATES):
        note = f"{name}{number}"
        try:
            await compiled.ainvoke({"notes": [note]}, CONFIG, durability="sync")
            print("accepted", note)
        except StaleEpoch:
            print("refused", note)
    database.close()


async def test_two_processes_on_one_thread_lose_nothing_that_was_accepted(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    database = Database(path, SCHEMA)
    database.open()
    command = [sys.executable, "-m", "tests.integration.test_saver_two_processes", str(path)]
    pipe = asyncio.subprocess.PIPE
    writers = [await asyncio.create_subprocess_exec(*command, name, stdin=pipe, stdout=pipe) for name in "ab"]
    outputs = await asyncio.gather(*(writer.communicate(b"go\n") for writer in writers))
    assert [writer.returncode for writer in writers] == [0, 0]
    outcomes = [line.split() for output, _ in outputs for line in output.decode().splitlines()]
    accepted = {note for outcome, note in outcomes if outcome == "accepted"}
    saver = Saver(database)
    state = await graph(saver).aget_state(CONFIG)
    parents = [found.parent_config async for found in saver.alist(CONFIG)]
    database.close()
    assert len(outcomes) == 2 * UPDATES and accepted
    assert accepted <= set(state.values["notes"])
    assert len(state.values["notes"]) == len(set(state.values["notes"]))
    named = [parent["configurable"]["checkpoint_id"] for parent in parents if parent]
    assert len(named) == len(set(named)) == len(parents) - 1  # one line of checkpoints, no fork


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), sys.argv[2]))
