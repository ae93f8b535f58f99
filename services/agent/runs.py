"""Runs: start, drive, watch, cancel, and take up again after a crash. Knows no gRPC."""

import asyncio
import logging
import time
import unicodedata
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from opentelemetry import trace

from services.agent.graph import AUTO, Graph, recursion_limit
from services.agent.lost_commits import MissingCommits
from services.agent.nodes.call_capability import error_to_proto
from services.agent.run_events import RunEvents
from services.agent.run_store import RunFilter, RunStore, is_finished
from services.agent.settings import AgentSettings
from services.agent.spans import run_attributes, tracer
from services.agent.state import RunContext, RunState, initial_state
from shared.call_context import CallContext, serving
from shared.capability.service import Effort
from shared.capability.wire import EFFORTS, effort_name
from shared.errors import (
    AlreadyExists,
    CrashLoop,
    DeadlineExceeded,
    Draining,
    InternalError,
    InvalidInput,
    LimitExceeded,
    NotFound,
    ThreadBusy,
    UnknownWorkflow,
    WaystationError,
    WrongState,
)
from shared.fault_points import fault_point
from shared.pb import agent_v1, common_v1
from shared.telemetry import attributes

logger = logging.getLogger(__name__)

MAX_QUERY_BYTES = 32_768
MAX_ID_CHARS = 128
PERMITTED_CONTROLS = frozenset("\t\n\r")


@dataclass(frozen=True)
class RunRequest:
    """What a caller wants."""

    query: str
    workflow: str = AUTO
    thread_id: str = ""
    effort: Effort = "medium"
    tenant: str = "default"
    request_id: str = ""
    run_timeout_s: float | None = None


class Runs:
    """All runs of this agent. Belongs to one event loop."""

    def __init__(self, graph: Graph, store: RunStore, events: RunEvents, settings: AgentSettings) -> None:
        self._graph, self._store, self._events, self._settings = graph, store, events, settings
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._busy_threads: dict[str, str] = {}
        self._cancelled: dict[str, str] = {}
        self._failures: dict[str, WaystationError] = {}
        """Why a run that is under way is to fail."""
        self._is_draining = False

    @property
    def live_count(self) -> int:
        """Runs under way."""
        return len(self._tasks)

    async def start(self, request: RunRequest, correlation_id: str) -> tuple[agent_v1.Run, bool]:
        """Store a run and set it going; the flag says that the request id was known.

        Raises `InvalidInput`, `UnknownWorkflow`, `NotFound` (thread), `ThreadBusy`, `LimitExceeded`, `Draining` or
        `AlreadyExists` (the request id belongs to another request). Nothing is stored then.
        """
        check_request(request)
        if self._is_draining:
            raise Draining("The agent is draining.", remedy="Try again when it is back.")
        if request.thread_id and not await self._store.thread(request.thread_id):
            raise NotFound(f"There is no thread {request.thread_id!r}.", remedy="Leave it empty to start one.")
        run = self._new_run(request, correlation_id)
        stored = await self._admit(run)
        if stored.run_id != run.run_id:
            if (stored.query, stored.workflow) != (run.query, run.workflow):
                raise AlreadyExists(f"Request id {run.request_id!r} belongs to another request.", run_id=stored.run_id)
            return stored, True
        self._launch(run, last_sequence=0)
        snapshot = agent_v1.Run()
        snapshot.CopyFrom(run)
        return snapshot, False

    async def _admit(self, run: agent_v1.Run) -> agent_v1.Run:
        holder = self._busy_threads.get(run.thread_id)
        known = None
        if holder or len(self._tasks) >= self._settings.max_live_runs:
            known = await self._known_request(run)
        if known:
            return known
        if holder:
            raise ThreadBusy(
                f"Thread {run.thread_id} is busy with run {holder}.", remedy="Wait for it or cancel it.", run_id=holder
            )
        if len(self._tasks) >= self._settings.max_live_runs:
            limit = self._settings.max_live_runs
            raise LimitExceeded(f"{limit} runs are under way.", remedy="Try again in a moment.", limit=limit)
        self._busy_threads[run.thread_id] = run.run_id
        stored = run
        try:
            stored = await self._store.add(run)
        except BaseException:
            self._busy_threads.pop(run.thread_id, None)
            raise
        if stored.run_id != run.run_id:
            self._busy_threads.pop(run.thread_id, None)
        return stored

    async def _known_request(self, run: agent_v1.Run) -> agent_v1.Run | None:
        if not run.request_id:
            return None
        return await self._store.by_request(run.tenant, run.request_id)

    def _new_run(self, request: RunRequest, correlation_id: str) -> agent_v1.Run:
        span = trace.get_current_span().get_span_context()
        run = agent_v1.Run(
            run_id=f"run-{uuid.uuid4().hex}",
            thread_id=request.thread_id or f"thread-{uuid.uuid4().hex}",
            workflow=request.workflow,
            query=request.query,
            state=agent_v1.Run.STATE_PENDING,
            effort=EFFORTS[request.effort],
            tenant=request.tenant,
            request_id=request.request_id,
            correlation_id=correlation_id,
            trace_id=f"{span.trace_id:032x}" if span.is_valid else "",
            remaining_hops=self._settings.max_hops,
        )
        run.create_time.GetCurrentTime()
        run.update_time.CopyFrom(run.create_time)
        run.run_timeout.FromTimedelta(timedelta(seconds=request.run_timeout_s or self._settings.run_timeout_s))
        return run

    async def fail_missing(self, missing: Sequence[MissingCommits]) -> None:
        """End the unfinished runs among those that lost commits, reason COMMITS_MISSING; what is left of them stays."""
        for each in missing:
            task = self._tasks.get(each.run_id)
            if task:
                self._failures[each.run_id] = each.error
                task.cancel()
                await asyncio.wait([task])
            elif each.found:
                run = await self._store.get(each.run_id)
                if not is_finished(run):
                    await self._end_failed(run, each.error)

    async def _end_failed(self, run: agent_v1.Run, error: WaystationError) -> None:
        self._events.open(run, await self._store.last_sequence(run.run_id))
        try:
            run.state = agent_v1.Run.STATE_FAILED
            run.error.CopyFrom(error_to_proto(error))
            run.end_time.GetCurrentTime()
            await asyncio.wrap_future(self._events.emit_state(run))
        finally:
            self._events.close(run.run_id)

    async def recover(self) -> int:
        """Take up every unfinished run from its last committed step; returns how many."""
        runs = await self._store.unfinished()
        for run in runs:
            run.attempt_count += 1
            self._busy_threads[run.thread_id] = run.run_id
            fault_point("during_recovery")
            self._launch(run, await self._store.last_sequence(run.run_id), is_resumed=True)
        return len(runs)

    async def cancel(self, run_id: str, message: str) -> agent_v1.Run:
        """Stop a run and what it waits for. Raises `NotFound`, or `WrongState` when it has ended otherwise."""
        run = await self._store.get(run_id)
        if is_finished(run):
            if run.state == agent_v1.Run.STATE_CANCELLED:
                return run
            state = agent_v1.Run.State.Name(run.state)
            raise WrongState(f"Run {run_id} has ended already.", state=state)
        task = self._tasks.get(run_id)
        if task:
            self._cancelled[run_id] = message or "cancelled by request"
            task.cancel()
            await asyncio.wait([task])
        return await self._store.get(run_id)

    async def resume(self, run_id: str) -> agent_v1.Run:
        """Return a run that is under way; raises `NotFound`, or `WrongState` for one that has ended."""
        run = await self._store.get(run_id)
        if is_finished(run):
            state = agent_v1.Run.State.Name(run.state)
            raise WrongState(f"Run {run_id} has ended; there is nothing to resume.", state=state)
        return run

    async def get(self, run_id: str) -> agent_v1.Run:
        """Return a run. Raises `NotFound`."""
        return await self._store.get(run_id)

    async def page(self, wanted: RunFilter, limit: int) -> list[tuple[int, agent_v1.Run]]:
        """The newest runs that pass the filter."""
        return await self._store.page(wanted, limit)

    async def thread(self, thread_id: str) -> Sequence[agent_v1.Run]:
        """The runs of a thread, oldest first. Raises `NotFound`."""
        runs = await self._store.thread(thread_id)
        if not runs:
            raise NotFound(f"There is no thread {thread_id!r}.", thread_id=thread_id)
        return runs

    def watch(self, run_id: str, after_sequence: int) -> AsyncIterator[agent_v1.RunEvent]:
        """See `RunEvents.watch`."""
        return self._events.watch(run_id, after_sequence)

    async def checkpoints(self, run_id: str) -> AsyncIterator[Any]:
        """The run's LangGraph state snapshots, newest first. Raises `NotFound`."""
        run = await self._store.get(run_id)
        async for snapshot in self._graph.aget_state_history(_config(run, self._settings.max_hops)):
            if (snapshot.metadata or {}).get("run_id") == run_id:
                yield snapshot

    async def drain(self) -> None:
        """Take no new runs and let go of those under way; they go on from their last commit at the next start."""
        self._is_draining = True
        for task in self._tasks.values():
            task.cancel()
        fault_point("during_drain")
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _launch(self, run: agent_v1.Run, last_sequence: int, is_resumed: bool = False) -> None:
        self._events.open(run, last_sequence)
        task = asyncio.create_task(self._drive(run, is_resumed), name=run.run_id)
        self._tasks[run.run_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(run.run_id, None))

    async def _drive(self, run: agent_v1.Run, is_resumed: bool) -> None:
        run_timeout_s = run.run_timeout.ToTimedelta().total_seconds()
        call_context = CallContext(correlation_id=run.correlation_id, deadline=time.monotonic() + run_timeout_s)
        run_context = RunContext(run.run_id, run.thread_id, run.correlation_id, run.tenant)
        try:
            with serving(call_context), tracer.start_as_current_span(attributes.SPAN_RUN) as span:
                span.set_attributes(run_attributes(run_context))
                span.set_attributes({attributes.WORKFLOW: run.workflow, attributes.EFFORT: effort_name(run.effort)})
                run.trace_id = run.trace_id or f"{span.get_span_context().trace_id:032x}"
                run.state = agent_v1.Run.STATE_RUNNING
                self._events.emit_state(run)
                await self._run_to_end(run, run_context, run_timeout_s, is_resumed)
                if run.HasField("error"):
                    reason = common_v1.ErrorReason.Name(run.error.reason)
                    span.set_attribute(attributes.ERROR_REASON, reason.removeprefix("ERROR_REASON_"))
                    span.set_status(trace.StatusCode.ERROR, run.error.message)
        finally:
            self._busy_threads.pop(run.thread_id, None)
            self._events.close(run.run_id)

    async def _run_to_end(
        self, run: agent_v1.Run, run_context: RunContext, run_timeout_s: float, is_resumed: bool
    ) -> None:
        error: WaystationError | None = None
        try:
            async with asyncio.timeout(run_timeout_s):
                state = await self._invoke(run, run_context, is_resumed)
            _settle(run, state)
        except asyncio.CancelledError:
            error = self._failures.pop(run.run_id, None)
            if not error:
                if run.run_id not in self._cancelled:
                    raise  # a drain: the run stays unfinished and goes on at the next start
                run.state = agent_v1.Run.STATE_CANCELLED
        except TimeoutError:
            error = DeadlineExceeded(f"The run took longer than its {run_timeout_s:g} s.", remedy="Raise run_timeout.")
        except WaystationError as failure:
            error = failure
        except Exception:
            logger.exception("run %s failed", run.run_id)
            error = InternalError("Something unforeseen happened; the agent's log has it.")
        if error:
            run.state = agent_v1.Run.STATE_FAILED
            run.error.CopyFrom(error_to_proto(error))
        if message := self._cancelled.pop(run.run_id, ""):
            run.error.message = message
        run.end_time.GetCurrentTime()
        await asyncio.shield(asyncio.wrap_future(self._events.emit_state(run)))

    async def _invoke(self, run: agent_v1.Run, run_context: RunContext, is_resumed: bool) -> RunState:
        config = _config(run, self._settings.max_hops)
        start: RunState | None = initial_state(run.query, effort_name(run.effort), self._settings.max_hops)
        if is_resumed:
            if run.attempt_count > self._settings.max_attempts:
                raise CrashLoop(
                    f"The run was taken up {run.attempt_count - 1} times and its process died each time.",
                    remedy="Look at the agent's log; `waystation ask` again when the cause is mended.",
                    attempts=run.attempt_count,
                )
            snapshot = await self._graph.aget_state(config)
            if (snapshot.metadata or {}).get("run_id") == run.run_id:
                start = None
            resumed = agent_v1.RunResumed(attempt=run.attempt_count, cause="crash")
            if start is None:
                resumed.checkpoint_id = str(snapshot.config["configurable"].get("checkpoint_id", ""))
                if not snapshot.tasks:  # `next` leaves out tasks whose writes no checkpoint holds yet
                    return cast(RunState, snapshot.values)
            self._events.emit(run.run_id, resumed)
        return cast(RunState, await self._graph.ainvoke(start, config, context=run_context, durability="sync"))


def check_request(request: RunRequest) -> None:
    """Raise `InvalidInput` or `UnknownWorkflow`, naming the field and its limit."""
    size = len(request.query.encode("utf-8", errors="surrogatepass"))
    if not request.query.strip() or size > MAX_QUERY_BYTES:
        raise InvalidInput(
            f"The query has {size} bytes{'' if request.query.strip() else ' and no text'}; "
            f"1 to {MAX_QUERY_BYTES} bytes of text are possible.",
            field="query",
            limit=f"{MAX_QUERY_BYTES} bytes",
        )
    for position, character in enumerate(request.query):
        if unicodedata.category(character) in ("Cc", "Cs") and character not in PERMITTED_CONTROLS:
            raise InvalidInput(
                f"The query has the control character U+{ord(character):04X} at position {position}.",
                remedy="Send text; tab and newlines are fine.",
                field="query",
            )
    if request.workflow != AUTO:
        raise UnknownWorkflow(f"There is no workflow {request.workflow!r}.", remedy=f"Known: {AUTO}.", known=AUTO)
    for name in ("thread_id", "tenant", "request_id"):
        if len(getattr(request, name)) > MAX_ID_CHARS:
            raise InvalidInput(f"{name} is longer than {MAX_ID_CHARS} characters.", field=name, limit=MAX_ID_CHARS)
    if request.run_timeout_s is not None and request.run_timeout_s <= 0:
        raise InvalidInput("run_timeout must be longer than nothing.", field="run_timeout")


def _config(run: agent_v1.Run, max_hops: int) -> Any:
    return {
        "configurable": {"thread_id": run.thread_id},
        "metadata": {"run_id": run.run_id},
        "recursion_limit": recursion_limit(max_hops),
    }


def _settle(run: agent_v1.Run, state: RunState) -> None:
    run.state = agent_v1.Run.STATE_SUCCEEDED
    run.answer = state["answer"]
    run.hop_count = len(state["hops"])
    run.remaining_hops = state["remaining_hops"]
    for hop in state["hops"]:
        if not hop["error"]:
            run.citations.extend(common_v1.Citation(**item) for item in hop["citations"])  # type: ignore[arg-type]
