"""What many finished runs cost: opening their file, looking for runs to take up, listing a page."""

import asyncio
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from langgraph.checkpoint.base import empty_checkpoint

from services.agent.bench.measure import Measure, quantile
from services.agent.care.agent_store import store_care
from services.agent.care.upkeep import cared_for
from services.agent.checkpoint.saver import Saver
from services.agent.custody import Custodian
from services.agent.run_request import RunRequest
from services.agent.run_store import RunFilter, RunStore
from services.agent.state import initial_state
from shared.errors import InternalError
from shared.pb import agent_v1
from shared.storage.database import Database

RUNS = 10_000
EVENTS = 9
CHECKPOINTS = 6
AT_ONCE = 200
PAGE = 50
PAGES = 100


async def measure() -> list[Measure]:
    """Fill a store with finished runs of one hop each, then open it as a starting agent does."""
    with tempfile.TemporaryDirectory(prefix="waystation-bench-") as folder:
        care = store_care(Path(folder), backup_count=1)
        async with cared_for(care, backup_interval_s=0) as database:
            for start in range(0, RUNS, AT_ONCE):
                await asyncio.gather(*(_finished_run(database, start + number) for number in range(AT_ONCE)))
        size = sum(path.stat().st_size for path in _files(folder)) / 1e6
        started = time.perf_counter()
        async with cared_for(care, backup_interval_s=0) as database:
            store = RunStore(database, Custodian("bench-2", 15))
            await store.end_leases()
            await store.live()
            start_up_s = time.perf_counter() - started
            pages = [await _page_ms(store) for _ in range(PAGES)]
    return [
        Measure("store.start_up_10000_runs", start_up_s, "s", n=1),
        Measure("store.page_p50", quantile(pages, 0.5), "ms", n=PAGES),
        Measure("store.page_p95", quantile(pages, 0.95), "ms", n=PAGES),
        Measure("store.size_10000_runs", size, "MB", n=1),
    ]


def _files(folder: str) -> list[Path]:
    return [path for path in (Path(folder) / "agent").iterdir() if path.is_file()]


async def _finished_run(database: Database, number: int) -> None:
    store, saver = RunStore(database, Custodian("bench-1", 15)), Saver(database)
    request = RunRequest(f"What is in document number {number}, and who wrote it?")
    run = agent_v1.Run(
        run_id=f"run-{uuid.uuid4().hex}",
        thread_id=f"thread-{uuid.uuid4().hex}",
        workflow=request.workflow,
        query=request.query,
        tenant=request.tenant,
        state=agent_v1.Run.STATE_PENDING,
    )
    run.create_time.GetCurrentTime()
    record = await store.admit(run, "", is_new_thread=True)
    assert record
    place: Any = {"configurable": {"thread_id": run.thread_id, "checkpoint_ns": "", "epoch": record.run.epoch}}
    for step in range(CHECKPOINTS):
        state = {**initial_state(run.query, "medium", 3), "answer": "An answer of the usual length. " * 10}
        checkpoint = {**empty_checkpoint(), "channel_values": state, "channel_versions": dict.fromkeys(state, step + 1)}
        metadata: Any = {"source": "loop" if step else "input", "step": step - 1, "run_id": run.run_id}
        place = await saver.aput(place, checkpoint, metadata, checkpoint["channel_versions"])  # type: ignore[arg-type]
        place["configurable"]["epoch"] = record.run.epoch
    for sequence in range(1, EVENTS + 1):
        event = agent_v1.RunEvent(run_id=run.run_id, sequence=sequence)
        event.text_produced.text = "Some words of an answer that streams. " * 3
        ended = None
        if sequence == EVENTS:
            run.state, ended = agent_v1.Run.STATE_SUCCEEDED, run
            run.answer = "An answer of the usual length. " * 10
            run.last_sequence = sequence
            run.end_time.GetCurrentTime()
            event.state_changed.run.CopyFrom(run)
        await asyncio.wrap_future(store.append(run.thread_id, record.run.epoch, event, ended))


async def _page_ms(store: RunStore) -> float:
    started = time.perf_counter()
    found, _ = await store.page(RunFilter(), PAGE)
    elapsed_ms = (time.perf_counter() - started) * 1e3
    if len(found) != PAGE:
        raise InternalError(f"The page has {len(found)} runs, not {PAGE}.")
    return elapsed_ms
