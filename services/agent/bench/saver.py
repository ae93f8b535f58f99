"""What checkpoints cost: five-step runs and a long conversation, beside LangGraph's SQLite and in-memory savers."""

import asyncio
import gc
import operator
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph

from services.agent.bench.measure import Measure, compared, quantile
from services.agent.checkpoint.saver import Saver
from services.agent.checkpoint.tables import SCHEMA
from shared.storage.database import Database

ROUNDS = 3
RUNS = 40
CONCURRENT_RUNS = 192
CONCURRENCY = 64
STEPS = 5
UPDATE_BYTES = 200
TURNS = 200
TURN_BYTES = 3_000
EDGE_TURNS = 20
"""How many turns at each end of the conversation are compared."""

Opened = Callable[[Path], AbstractAsyncContextManager[BaseCheckpointSaver[Any]]]


async def measure() -> list[Measure]:
    """Run every saver in turn, several rounds, with full syncs and the same graphs; nothing else runs in between."""
    gc.collect()
    gc.freeze()  # as the agent does once it is built
    single: dict[str, list[float]] = {name: [] for name in SAVERS}
    rates: dict[str, list[float]] = {name: [] for name in SAVERS}
    for _ in range(ROUNDS):
        for name, opened in SAVERS.items():
            with tempfile.TemporaryDirectory(prefix="waystation-bench-") as folder:
                async with opened(Path(folder)) as saver:
                    times, rate = await _runs(saver)
            single[name] += times
            rates[name].append(rate)
    turns = {name: await _conversation(SAVERS[name]) for name in ("ours", "stock")}
    p50 = {name: quantile(times, 0.5) for name, times in single.items()}
    rate_of = {name: quantile(found, 0.5) for name, found in rates.items()}
    many, alone = ROUNDS * CONCURRENT_RUNS, ROUNDS * RUNS
    stock, memory = "stock SQLite saver", "in-memory saver"
    per_s = f"saver.runs_per_s_{CONCURRENCY}"
    return [
        compared(per_s, rate_of["ours"], "runs/s", stock, rate_of["stock"], many),
        compared(f"{per_s}_of_memory", rate_of["ours"], "runs/s", memory, rate_of["memory"], many),
        compared("saver.run_p50", p50["ours"], "ms", stock, p50["stock"], alone),
        Measure("saver.run_p95", quantile(single["ours"], 0.95), "ms", n=alone),
        *_conversation_measures(turns["ours"], turns["stock"], stock),
    ]


class _Steps(TypedDict):
    text: str


class _Chat(TypedDict):
    messages: Annotated[list[dict[str, str]], operator.add]


async def _runs(saver: BaseCheckpointSaver[Any]) -> tuple[list[float], float]:
    """Five-step runs: the time of each in ms, one after the other, and before that runs/s with many at once."""
    graph = _steps_graph().compile(checkpointer=saver)

    async def one(thread_id: str) -> float:
        started = time.perf_counter()
        await graph.ainvoke({"text": ""}, {"configurable": {"thread_id": thread_id}}, durability="sync")
        return (time.perf_counter() - started) * 1e3

    gate = asyncio.Semaphore(CONCURRENCY)

    async def gated(number: int) -> None:
        async with gate:
            await one(f"many-{number}")

    await one("warm-up")
    started = time.perf_counter()
    await asyncio.gather(*(gated(number) for number in range(CONCURRENT_RUNS)))
    rate = CONCURRENT_RUNS / (time.perf_counter() - started)
    # after them, since a log that has reached its size costs less to sync than one that grows
    return [await one(f"single-{number}") for number in range(RUNS)], rate


def _steps_graph() -> Any:
    async def step(state: _Steps) -> _Steps:
        return {"text": chr(ord(state["text"][:1] or "a") + 1) * UPDATE_BYTES}

    graph: Any = StateGraph(_Steps)
    names = [f"step{number}" for number in range(STEPS)]
    for name in names:
        graph.add_node(name, step)
    for source, target in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(source, target)
    return graph


async def _conversation(opened: Opened) -> tuple[list[float], float]:
    """One thread with many turns: the time of each in ms, and the megabytes on disk once the file is closed."""

    async def reply(state: _Chat) -> _Chat:
        number = len(state["messages"])
        return {"messages": [{"role": "assistant", "content": f"{number:06}".ljust(TURN_BYTES // 2, "r")}]}

    chat: Any = StateGraph(_Chat)
    chat.add_node("reply", reply)
    chat.add_edge(START, "reply")
    with tempfile.TemporaryDirectory(prefix="waystation-bench-") as folder:
        async with opened(Path(folder)) as saver:
            graph = chat.compile(checkpointer=saver)
            times = []
            for number in range(TURNS):
                started = time.perf_counter()
                question = {"role": "user", "content": f"{number:06}".ljust(TURN_BYTES // 2, "q")}
                config = {"configurable": {"thread_id": "long"}}
                await graph.ainvoke({"messages": [question]}, config, durability="sync")
                times.append((time.perf_counter() - started) * 1e3)
        return times, _size_of(Path(folder))


def _size_of(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.iterdir()) / 1e6


def _conversation_measures(
    ours: tuple[list[float], float], stock: tuple[list[float], float], peer: str
) -> list[Measure]:
    def edge(times: list[float], is_last: bool) -> float:
        return quantile(times[-EDGE_TURNS:] if is_last else times[:EDGE_TURNS], 0.5)

    (our_times, our_size), (stock_times, stock_size) = ours, stock
    return [
        compared(f"saver.size_of_{TURNS}_turns", our_size, "MB", peer, stock_size, TURNS),
        *(
            compared(name, edge(our_times, is_last), "ms", peer, edge(stock_times, is_last), EDGE_TURNS)
            for name, is_last in (("saver.turn_p50_first", False), ("saver.turn_p50_last", True))
        ),
    ]


@asynccontextmanager
async def _ours(folder: Path) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    database = Database(folder / "agent.db", SCHEMA)
    database.open()
    try:
        yield Saver(database)
    finally:
        database.close()


@asynccontextmanager
async def stock_saver(folder: Path) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    """LangGraph's SQLite saver with full syncs."""
    async with AsyncSqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
        await saver.setup()
        await saver.conn.execute("PRAGMA synchronous = FULL")
        yield saver


@asynccontextmanager
async def _in_memory(folder: Path) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    yield InMemorySaver()


SAVERS: dict[str, Opened] = {"memory": _in_memory, "stock": stock_saver, "ours": _ours}
