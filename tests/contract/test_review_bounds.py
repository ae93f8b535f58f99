"""Reviewed runs whose agent is killed again and again: two reviews at most, and exactly two when one was not enough.

`WAYSTATION_REVIEW_RUNS=1000` makes it the figure of docs/workflows.md.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

from services.agent.run_rows import FINISHED
from shared.call_context import CallContext
from shared.capability import Invocation, Output
from shared.pb import agent_v1
from tests.contract.test_workflows import Mill
from tests.fakes.agent_mesh import Mesh, mesh

RUNS = int(os.environ.get("WAYSTATION_REVIEW_RUNS", "60"))
BATCH = 30
KILLS = 3
SEED = 20261121


class Fate:
    """What the reviews of each run say, drawn once for each run; None for a review that fails."""

    def __init__(self) -> None:
        self._draw = random.Random(SEED)
        self.verdicts: dict[str, list[bool | None]] = {}

    def of(self, run_id: str) -> list[bool | None]:
        if run_id not in self.verdicts:
            self.verdicts[run_id] = [self._draw.choice((True, False, None)) for _ in range(2)]
        return self.verdicts[run_id]


class Fateful(Mill):
    """A mill that reviews each run by its fate, and takes its time."""

    def __init__(self, fate: Fate, draw: random.Random) -> None:
        super().__init__()
        self._fate, self._draw = fate, draw

    async def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
        for _ in range(self._draw.randrange(20)):
            await asyncio.sleep(0)
        mill = Mill([self._fate.of(invocation.run_id)[1 if invocation.hop_index == 4 else 0]])
        async for output in mill.invoke(invocation, call):
            yield output


async def start(made: Mesh, count: int) -> set[str]:
    return {(await made.start(f"question {number}", workflow="review")).run_id for number in range(count)}


async def finish(made: Mesh, run_ids: set[str], wanted: int) -> None:
    """Wait until so many of the runs have ended."""
    async with asyncio.timeout(90):
        while sum([(await made.runs.get(run_id)).state in FINISHED for run_id in run_ids]) < wanted:
            await asyncio.sleep(0.01)


async def test_reviews_and_hops_keep_their_bounds_through_kills(tmp_path: Path) -> None:
    fate, draw, kills, resumed = Fate(), random.Random(SEED), 0, 0
    for number, begin in enumerate(range(0, RUNS, BATCH)):
        size, home, run_ids = min(BATCH, RUNS - begin), tmp_path / str(number), set[str]()
        home.mkdir()
        for life in range(KILLS):
            mill = Fateful(fate, draw)
            async with mesh(home, service=mill, is_idempotent=True, dies=True, owner=f"agent-{life}") as made:
                run_ids = run_ids or await start(made, size)
                await finish(made, run_ids, draw.randrange(size))
            kills += 1
        async with mesh(home, service=Fateful(fate, draw), is_idempotent=True, owner="agent-last") as made:
            await finish(made, run_ids, size)
            for run_id in run_ids:
                resumed += judge(await made.watch(run_id), fate.of(run_id))
    print(f"{RUNS} runs, {kills} kills, {resumed} take-ups")
    assert resumed > 0


def judge(events: list[agent_v1.RunEvent], verdicts: list[bool | None]) -> int:
    """Whether one run was what its fate wanted; returns how often it was taken up."""
    run = events[-1].state_changed.run
    roles = {event.hop_started.hop_index: event.hop_started.role for event in events if event.HasField("hop_started")}
    reviews = 1 if verdicts[0] is True else 2
    wanted = ["rag", "coder", "reviewer", "coder", "reviewer"][: 3 if reviews == 1 else 5]
    assert [roles[index] for index in sorted(roles)] == wanted
    assert (run.state, run.hop_count, run.current_cycle) == (agent_v1.Run.STATE_SUCCEEDED, len(wanted), reviews)
    assert run.has_unresolved_review == (verdicts[reviews - 1] is not True)
    assert run.answer
    return sum(event.HasField("run_resumed") for event in events)
