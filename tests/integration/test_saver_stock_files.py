"""Files that LangGraph's stock saver wrote are opened, gone on with, and pruned."""

import operator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, TypedDict

import apsw
import pytest
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from services.agent.checkpoint.saver import Saver
from services.agent.checkpoint.tables import SCHEMA
from shared.errors import StorageUnavailable
from shared.storage.database import Database

CONFIG: Any = {"configurable": {"thread_id": "old"}}


class Chat(TypedDict):
    messages: Annotated[list[str], operator.add]


def graph(saver: Any) -> Any:
    async def ask(state: Chat) -> Chat:
        return {"messages": [f"answer: {interrupt('sure?')}"]}

    async def end(state: Chat) -> Chat:
        return {"messages": ["end"]}

    chat: Any = StateGraph(Chat)
    chat.add_node("ask", ask)
    chat.add_node("end", end)
    for source, target in ((START, "ask"), ("ask", "end"), ("end", END)):
        chat.add_edge(source, target)
    return chat.compile(checkpointer=saver)


async def stock_file(path: Path) -> None:
    """One finished run, and one that waits for an answer."""
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        chat = graph(saver)
        await chat.ainvoke({"messages": ["one"]}, CONFIG)
        await chat.ainvoke(Command(resume="yes"), CONFIG)
        await chat.ainvoke({"messages": ["two"]}, CONFIG)


async def test_a_thread_of_the_stock_saver_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.db"
    await stock_file(path)
    async with AsyncSqliteSaver.from_conn_string(str(path)) as stock:
        before = [found async for found in stock.alist(CONFIG)]
    database = Database(path, SCHEMA)
    database.open()
    saver = Saver(database)
    after = [found async for found in saver.alist(CONFIG)]
    assert [found._replace(pending_writes=sorted(found.pending_writes or [], key=str)) for found in after] == [
        found._replace(pending_writes=sorted(found.pending_writes or [], key=str)) for found in before
    ]
    state = await graph(saver).ainvoke(Command(resume="no"), CONFIG, durability="sync")
    assert state["messages"] == ["one", "answer: yes", "end", "two", "answer: no", "end"]
    await saver.aprune(["old"])
    state = await graph(saver).aget_state(CONFIG)
    assert len(state.values["messages"]) == 6
    database.close()
    again = Database(path, SCHEMA)
    again.open()
    tables = "SELECT count(*) FROM sqlite_schema WHERE name IN ('checkpoints', 'writes')"
    assert again.read_here(lambda connection: connection.execute(tables).get) == 0
    again.close()


async def test_a_stock_file_that_cannot_be_taken_over_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.db"
    await stock_file(path)
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("UPDATE checkpoints SET metadata = 'no json' WHERE rowid = 2")
        dump = list(connection.execute("SELECT * FROM checkpoints"))
    with pytest.raises(StorageUnavailable, match="malformed JSON"):
        Database(path, SCHEMA).open()
    with closing(apsw.Connection(str(path))) as connection:
        assert list(connection.execute("SELECT * FROM checkpoints")) == dump
        assert connection.pragma("application_id") == 0
