"""What the mesh costs: the trivial run, its throughput, and one hop, beside bare LangGraph with its own saver."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

from services.agent.bench.measure import Measure, compared, quantile
from services.agent.bench.saver import stock_saver
from services.agent.bench.stack import running_stack
from shared.errors import InternalError
from shared.pb import agent_v1, common_v1

RUNS = 100
CONCURRENT_RUNS = 256
CONCURRENCY = 64
WARM_UP = 10
SCRIPT = (
    {"match": "Result 1", "schema_name": "decision", "reply": {"reason": "done", "next": "answer_now"}},
    {"match": "", "schema_name": "decision", "reply": {"reason": "echo", "next": "echo"}},
)


async def measure() -> list[Measure]:
    """Run real processes and bare LangGraph in turn. The router embeds every query; no query comes twice."""
    async with running_stack(SCRIPT) as stub:
        for number in range(WARM_UP):
            await run_once(stub, f"repeat after me: warm-up {number}")
        single = [await run_once(stub, f"repeat after me: number {number}") for number in range(RUNS)]
        started = time.perf_counter()
        await run_many(stub, "repeat after me: concurrent", CONCURRENT_RUNS)
        rate = CONCURRENT_RUNS / (time.perf_counter() - started)
        low = common_v1.EFFORT_LOW
        hops = [await _hop_ms(stub, f"repeat after me: hop {number}", low) for number in range(RUNS)]
    peer_single, peer_rate = await _bare_langgraph()
    peer = "langgraph, 5 empty steps, stock saver"
    return [
        compared("mesh.trivial_run_p50", quantile(single, 0.5), "ms", peer, peer_single, RUNS),
        Measure("mesh.trivial_run_p95", quantile(single, 0.95), "ms", n=RUNS),
        compared(f"mesh.runs_per_s_{CONCURRENCY}", rate, "runs/s", peer, peer_rate, CONCURRENT_RUNS),
        Measure("mesh.hop_p50", quantile(hops, 0.5), "ms", n=RUNS),
        Measure("mesh.hop_p95", quantile(hops, 0.95), "ms", n=RUNS),
    ]


async def run_once(stub: "agent_v1.AgentServiceAsyncStub", query: str) -> float:
    """One run with scripted decisions, from the request to its last event, in ms."""
    started = time.perf_counter()
    run = (await stub.StartRun(agent_v1.StartRunRequest(query=query), timeout=60)).run
    async for message in stub.WatchRun(agent_v1.WatchRunRequest(run_id=run.run_id), timeout=60):
        ended = message.event.state_changed.run
    elapsed = (time.perf_counter() - started) * 1e3
    if ended.state != agent_v1.Run.STATE_SUCCEEDED or ended.hop_count != 1:
        raise InternalError(f"The run did not do its hop: {ended.error.message}")
    return elapsed


async def run_many(stub: "agent_v1.AgentServiceAsyncStub", query: str, count: int) -> None:
    """So many runs, 64 at once."""
    gate = asyncio.Semaphore(CONCURRENCY)

    async def one(number: int) -> None:
        async with gate:
            await run_once(stub, f"{query} {number}")

    await asyncio.gather(*(one(number) for number in range(count)))


async def _hop_ms(stub: "agent_v1.AgentServiceAsyncStub", query: str, effort: common_v1.Effort.ValueType) -> float:
    """From the decision to hop to the decision after it: two commits and the call, no model, no work."""
    run = (await stub.StartRun(agent_v1.StartRunRequest(query=query, effort=effort), timeout=60)).run
    decided = [
        message.event.create_time.ToNanoseconds()
        async for message in stub.WatchRun(agent_v1.WatchRunRequest(run_id=run.run_id), timeout=60)
        if message.event.WhichOneof("payload") == "decision_made"
    ]
    return (decided[1] - decided[0]) / 1e6


class _Steps(TypedDict):
    count: int


async def _bare_langgraph() -> tuple[float, float]:
    """LangGraph in this process: five empty steps on the stock saver; p50 in ms, and runs/s with many at once."""

    async def step(state: _Steps) -> _Steps:
        return {"count": state["count"] + 1}

    graph: Any = StateGraph(_Steps)
    names = [f"step{number}" for number in range(5)]
    for name in names:
        graph.add_node(name, step)
    for source, target in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(source, target)
    with tempfile.TemporaryDirectory(prefix="waystation-bench-") as folder:
        async with stock_saver(Path(folder)) as saver:
            compiled = graph.compile(checkpointer=saver)

            async def one(number: int) -> float:
                started = time.perf_counter()
                config = {"configurable": {"thread_id": str(number)}}
                await compiled.ainvoke({"count": 0}, config, durability="sync")
                return (time.perf_counter() - started) * 1e3

            single = [await one(number) for number in range(RUNS)]
            gate = asyncio.Semaphore(CONCURRENCY)

            async def gated(number: int) -> None:
                async with gate:
                    await one(number)

            started = time.perf_counter()
            await asyncio.gather(*(gated(RUNS + number) for number in range(CONCURRENT_RUNS)))
            return quantile(single, 0.5), CONCURRENT_RUNS / (time.perf_counter() - started)
