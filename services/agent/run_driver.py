"""Drives the runs in this process's custody through the graph, and says what became of them."""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from google.protobuf.json_format import ParseDict
from langgraph.checkpoint.base.id import uuid6
from langgraph.errors import GraphDrained
from langgraph.types import Command, Interrupt, StateSnapshot
from opentelemetry import trace

from services.agent.brake import Brake
from services.agent.custody import RunRecord
from services.agent.graph import AUTO, Graph
from services.agent.graph_shape import MIGRATIONS, GraphMigration, GraphShape, find_migration
from services.agent.question import ENTRY
from services.agent.run_error import error_to_proto
from services.agent.run_events import RunEvents
from services.agent.run_store import RunStore
from services.agent.settings import AgentSettings
from services.agent.spans import restore_span, run_epoch_span
from services.agent.state import RunContext, RunState, initial_state, remaining_hops
from services.agent.workflows.catalogue import Catalogue, Workflow
from shared.call_context import CallContext, serving
from shared.capability.wire import effort_name
from shared.errors import (
    Cancelled,
    DeadlineExceeded,
    GraphChanged,
    InternalError,
    StaleEpoch,
    StorageUnavailable,
    ThreadBusy,
    UnknownWorkflow,
    WaystationError,
)
from shared.fault_points import fault_point
from shared.pb import agent_v1, common_v1
from shared.telemetry import attributes

logger = logging.getLogger(__name__)

Cause = Literal["", "crash", "pause", "answer", "request", "fork"]
"""Why a run goes on from its checkpoint; empty when it begins."""

PAUSE = "pause"
SHUTDOWN = "shutdown"
STOP_TIMEOUT_S = 5.0


class LetGo(Exception):
    """The run is not driven any further here, and its state stays as it is."""


@dataclass
class _Live:
    record: RunRecord
    control: Brake = field(default_factory=Brake)
    task: asyncio.Task[None] | None = None
    verdict: WaystationError | None = None
    """What a stopped run ends with; None lets it go."""


class RunDriver:
    """The runs under way. Belongs to one event loop."""

    def __init__(
        self,
        catalogue: Catalogue,
        store: RunStore,
        events: RunEvents,
        settings: AgentSettings,
        migrations: Sequence[GraphMigration] = MIGRATIONS,
    ) -> None:
        self._catalogue, self._store, self._events, self._settings = catalogue, store, events, settings
        self._migrations = migrations
        self._live: dict[str, _Live] = {}
        self._reserved: set[str] = set()
        self._to_pause: set[str] = set()
        self._is_draining = False
        self.is_open = asyncio.Event()
        """Cleared while a run that may have killed the process twice is tried alone: new runs wait."""
        self.is_open.set()

    @property
    def live_count(self) -> int:
        """Runs under way."""
        return len(self._live)

    def epochs(self) -> dict[str, int]:
        """The epoch of each thread that a run under way holds."""
        return {live.record.run.thread_id: live.record.run.epoch for live in self._live.values()}

    def has(self, run_id: str) -> bool:
        """Whether the run is under way here, or about to be."""
        return run_id in self._live or run_id in self._reserved

    @contextmanager
    def reserved(self, run_id: str) -> Iterator[None]:
        """Keep everybody else away from a run that is about to be launched. Raises `ThreadBusy` when it is taken."""
        if self.has(run_id):
            raise ThreadBusy(f"Run {run_id} is being worked on.", remedy="Try again in a moment.", run_id=run_id)
        self._reserved.add(run_id)
        try:
            yield
        finally:
            self._reserved.discard(run_id)
            self._to_pause.discard(run_id)

    def launch(self, record: RunRecord, cause: Cause = "", is_suspect: bool = False) -> None:
        """Set a run going: from its input, or, with a cause, from its last checkpoint."""
        live = self._live[record.run.run_id] = _Live(record)
        self._events.open(record)
        if self._is_draining:
            live.control.request_drain(SHUTDOWN)
        elif record.run.run_id in self._to_pause:
            live.control.request_drain(PAUSE)
        live.task = asyncio.create_task(self._drive(live, cause, is_suspect), name=record.run.run_id)
        # not in a `finally`: a task that is cancelled before its first step runs none
        live.task.add_done_callback(lambda _: self._forget(live))

    def _forget(self, live: _Live) -> None:
        run_id = live.record.run.run_id
        if self._live.get(run_id) is live:
            del self._live[run_id]
            self._events.close(run_id)

    def ask_pause(self, run_id: str) -> None:
        """Stop a run at its next step boundary, also one that is about to be launched."""
        if live := self._live.get(run_id):
            live.control.request_drain(PAUSE)
        elif run_id in self._reserved:
            self._to_pause.add(run_id)

    def withdraw_pause(self, run_id: str) -> bool:
        """Let a run go on that was to stop at its next step boundary; False when it is not under way here."""
        self._to_pause.discard(run_id)
        live = self._live.get(run_id)
        return live is not None and live.control.withdraw(PAUSE)

    async def stop(self, run_id: str, verdict: WaystationError | None) -> bool:
        """Stop a run and what it waits for, and wait until that is stored; False when it is not under way here.

        It ends cancelled when the verdict is `Cancelled`, failed with any other, and is let go without one.
        Raises `DeadlineExceeded` when it does not stop within 5 s.
        """
        live = self._live.get(run_id)
        if not live or not live.task:
            return False
        live.verdict = verdict
        live.task.cancel()
        _, pending = await asyncio.wait([live.task], timeout=STOP_TIMEOUT_S)
        if pending:
            raise DeadlineExceeded(f"Run {run_id} did not stop within {STOP_TIMEOUT_S:g} s.", run_id=run_id)
        return True

    async def ended(self, run_id: str) -> None:
        """Wait until the task of a run that waits or has ended is over: it stores that a moment before.

        Raises `DeadlineExceeded` when it is not over within 5 s.
        """
        if not await self.finished(run_id, STOP_TIMEOUT_S):
            raise DeadlineExceeded(f"Run {run_id} is still busy after {STOP_TIMEOUT_S:g} s.", run_id=run_id)

    async def finished(self, run_id: str, timeout_s: float) -> bool:
        """Wait until the run is no longer under way; False when the time passes first."""
        live = self._live.get(run_id)
        if live and live.task:
            await asyncio.wait([live.task], timeout=timeout_s)
        return run_id not in self._live

    async def drain(self) -> None:
        """Let every run stop at its next step boundary, and those that do not get there in time where they are."""
        self._is_draining = True
        for live in self._live.values():
            live.control.request_drain(SHUTDOWN)
        self.is_open.set()  # who waits there stops at once
        fault_point("during_drain")
        end = time.monotonic() + self._settings.drain_timeout_s
        while tasks := [live.task for live in self._live.values() if live.task]:
            remaining_s = end - time.monotonic()
            if remaining_s > 0:
                await asyncio.wait(tasks, timeout=remaining_s)
                continue
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await asyncio.sleep(0)  # their callbacks forget them

    async def settle(
        self, record: RunRecord, state: agent_v1.Run.State.ValueType, error: WaystationError | None = None
    ) -> agent_v1.Run:
        """Give a run that is not under way a new state; returns the run."""
        run = record.run
        self._events.open(record)
        try:
            run.state = state
            if error:
                run.error.CopyFrom(error_to_proto(error))
            if state not in (agent_v1.Run.STATE_PAUSED, agent_v1.Run.STATE_INPUT_REQUIRED):
                run.end_time.GetCurrentTime()
            # whoever asked may leave meanwhile
            await asyncio.shield(asyncio.wrap_future(self._events.emit_state(run)))
        finally:
            self._events.close(run.run_id)
        return run

    def workflow_of(self, run: agent_v1.Run) -> Workflow:
        """The workflow that the run goes on with. Raises `GraphChanged` when it is gone."""
        try:
            return self._catalogue.get(run.workflow)
        except UnknownWorkflow as error:
            raise GraphChanged(
                f"The workflow changed under the run: {error.message}",
                remedy="Put its document back and restart the agent; nothing of the run is lost.",
                workflow=run.workflow,
            ) from None

    def graph_of(self, run: agent_v1.Run) -> Graph:
        """The graph to read the run's state with."""
        return self._known(run).graph

    def _known(self, run: agent_v1.Run) -> Workflow:
        workflows = self._catalogue.workflows
        return workflows.get(run.workflow, workflows[AUTO])  # all have the same state

    def config(self, run: agent_v1.Run) -> Any:
        """The run's place in its thread, as LangGraph wants it."""
        return {
            "configurable": {"thread_id": run.thread_id, **({"epoch": run.epoch} if run.epoch else {})},
            "metadata": {"run_id": run.run_id},
            "recursion_limit": self._known(run).recursion_limit,
        }

    async def _drive(self, live: _Live, cause: Cause, is_suspect: bool) -> None:
        run = live.record.run
        try:
            if not is_suspect:
                await self.is_open.wait()
            await self._trace(live, cause)
        except (LetGo, asyncio.CancelledError):
            await self._release(run)
        except StaleEpoch as error:
            logger.warning("run %s was taken over: %s", run.run_id, error)
        except WaystationError as error:  # the store failed, not the run; recovery goes on with it
            logger.error("run %s could not be stored and is let go: %s", run.run_id, error)
            await self._release(run)

    async def _release(self, run: agent_v1.Run) -> None:
        try:
            await self._store.release_lease(run.thread_id, run.epoch)
        except WaystationError as error:
            logger.error("run %s keeps its lease until that ends: %s", run.run_id, error)

    async def _trace(self, live: _Live, cause: Cause) -> None:
        run, run_timeout_s = live.record.run, live.record.run.run_timeout.ToTimedelta().total_seconds()
        deadline = time.monotonic() + run_timeout_s
        call_context = CallContext(correlation_id=run.correlation_id, run_id=run.run_id, deadline=deadline)
        open_hops = live.record.open_hops
        run_context = RunContext(
            run.run_id,
            run.thread_id,
            run.correlation_id,
            run.tenant,
            {index: start.idempotency_key for index, start in open_hops.items()},
            {index: start.address for index, start in open_hops.items()},
        )
        with serving(call_context), run_epoch_span(run, live.record.trace_parent, cause) as span:
            run.state = agent_v1.Run.STATE_RUNNING
            run.ClearField("error")
            run.ClearField("questions")
            self._events.emit_state(run)
            await self._run_to_end(live, run_context, run_timeout_s, cause)
            state = agent_v1.Run.State.Name(run.state).removeprefix("STATE_").lower()
            span.set_attribute(attributes.RUN_STATE, state)
            if run.HasField("error"):
                reason = common_v1.ErrorReason.Name(run.error.reason)
                span.set_attribute(attributes.ERROR_REASON, reason.removeprefix("ERROR_REASON_"))
                span.set_status(trace.StatusCode.ERROR, run.error.message)

    async def _run_to_end(self, live: _Live, run_context: RunContext, run_timeout_s: float, cause: Cause) -> None:
        run = live.record.run
        error: WaystationError | None = None
        try:
            async with asyncio.timeout(run_timeout_s):
                self._settle(run, await self._invoke(live, run_context, cause))
        except GraphDrained as drained:
            if drained.reason != PAUSE:
                raise LetGo from None
            snapshot = await self.graph_of(run).aget_state(self.config(run))
            if _is_of(snapshot, run) and "max_hops" in snapshot.values:  # not yet before the first step
                _count(run, cast(RunState, snapshot.values))
            run.state = agent_v1.Run.STATE_PAUSED
        except asyncio.CancelledError:
            if not live.verdict:
                raise
            error = live.verdict
        except TimeoutError:
            error = DeadlineExceeded(f"The run took longer than its {run_timeout_s:g} s.", remedy="Raise run_timeout.")
        except (StaleEpoch, StorageUnavailable):
            raise
        except WaystationError as failure:
            error = failure
        except Exception:
            logger.exception("run %s failed", run.run_id)
            error = InternalError("Something unforeseen happened; the agent's log has it.")
        await self._end(run, error)

    async def _end(self, run: agent_v1.Run, error: WaystationError | None) -> None:
        if error:
            run.error.CopyFrom(error_to_proto(error))
            match error:
                case Cancelled():
                    run.state = agent_v1.Run.STATE_CANCELLED
                case GraphChanged():
                    run.state = agent_v1.Run.STATE_PAUSED  # it can go on under the graph that it knows
                case _:
                    run.state = agent_v1.Run.STATE_FAILED
        if run.state not in (agent_v1.Run.STATE_PAUSED, agent_v1.Run.STATE_INPUT_REQUIRED):
            run.end_time.GetCurrentTime()
        await asyncio.shield(asyncio.wrap_future(self._events.emit_state(run)))

    async def _invoke(self, live: _Live, run_context: RunContext, cause: Cause) -> RunState:
        run = live.record.run
        start: RunState | Command[Any] | None
        workflow = self.workflow_of(run)
        if cause:
            start, asked_entries = await self._resumption(live.record, cause)
            run_context = replace(run_context, asked_entries=asked_entries)
            if start is None and not (snapshot := await workflow.graph.aget_state(self.config(run))).tasks:
                return cast(RunState, snapshot.values)
        else:
            start = _initial(run, workflow)
        result = await workflow.graph.ainvoke(
            start, self.config(run), context=run_context, durability="sync", control=live.control
        )
        return cast(RunState, result)

    async def _resumption(
        self, record: RunRecord, cause: Cause
    ) -> tuple[RunState | Command[Any] | None, Mapping[str, int]]:
        """What to give the graph so that the run goes on, and `RunContext.asked_entries`. Raises `GraphChanged`."""
        run = record.run
        with restore_span(run) as span:
            await self._migrate(run)
            snapshot = await self.graph_of(run).aget_state(self.config(run))
            span.set_attribute(attributes.CHECKPOINT_ID, _checkpoint_id(snapshot))
        is_begun = _is_of(snapshot, run)
        self._events.emit(
            run.run_id,
            agent_v1.RunResumed(
                epoch=run.epoch,
                attempt=max(1, run.attempt_count),
                checkpoint_id=_checkpoint_id(snapshot) if is_begun else "",
                cause=cause,
            ),
        )
        if not is_begun:
            return _initial(run, self.workflow_of(run)), {}
        answers = await self._store.answers(run.run_id) if snapshot.interrupts else {}
        given = {item.id: answers[item.id] for item in snapshot.interrupts if item.id in answers}
        for question_id, answer in given.items():
            answered = agent_v1.QuestionAnswered(question_id=question_id)
            ParseDict(answer, answered.answer)
            self._events.emit(run.run_id, answered)
        asked = {task.id: item.value.get(ENTRY, 0) for task in snapshot.tasks for item in task.interrupts}
        return (Command(resume=given), asked) if given else (None, {})

    async def migration_for(self, run: agent_v1.Run) -> GraphMigration | None:
        """What the run's checkpoint needs to go on under this graph; None for nothing. Raises `GraphChanged`."""
        shape = self.workflow_of(run).shape
        if run.graph_digest in ("", shape.digest):
            return None
        stored = await self._store.shape(run.graph_digest)
        if stored is None:
            raise GraphChanged(
                "The workflow that the run began with is not known any more.",
                remedy="Ask again; the run's history stays.",
                from_digest=run.graph_digest[:12],
            )
        return find_migration(GraphShape.from_json(stored), shape, self._migrations)

    async def _migrate(self, run: agent_v1.Run) -> None:
        migration = await self.migration_for(run)
        saver: Any = self.graph_of(run).checkpointer
        found = await saver.aget_tuple(self.config(run)) if migration else None
        if migration and found:
            checkpoint = {**migration.apply(found.checkpoint), "id": str(uuid6())}
            metadata = {**found.metadata, "source": "update"}
            config = self.config(run)
            config["configurable"] |= {"checkpoint_ns": "", "checkpoint_id": found.checkpoint["id"]}
            await saver.aput(config, checkpoint, metadata, checkpoint["channel_versions"])
        digest = self.workflow_of(run).shape.digest
        if run.graph_digest != digest:
            run.graph_digest = digest
            await asyncio.wrap_future(self._events.emit_state(run))  # so that it is not migrated twice

    def _settle(self, run: agent_v1.Run, state: RunState) -> None:
        _count(run, state)
        interrupts: Sequence[Interrupt] = cast(Any, state).get("__interrupt__", ())
        if interrupts:
            run.state = agent_v1.Run.STATE_INPUT_REQUIRED
            run.questions.extend(_question(item) for item in interrupts)
            for question in run.questions:
                self._events.emit(run.run_id, agent_v1.QuestionAsked(question=question))
            return
        run.state = agent_v1.Run.STATE_SUCCEEDED
        run.answer = state["answer"]
        for hop in state["hops"]:
            if not hop["error"]:
                run.citations.extend(common_v1.Citation(**item) for item in hop["citations"])  # type: ignore[arg-type]


def _is_of(snapshot: StateSnapshot, run: agent_v1.Run) -> bool:
    """Whether it is the run's own state, not that of the thread's run before."""
    return (snapshot.metadata or {}).get("run_id") == run.run_id


def _count(run: agent_v1.Run, state: RunState) -> None:
    run.hop_count, run.remaining_hops = len(state["hops"]), remaining_hops(state)
    run.current_cycle, run.max_cycles = state["current_cycle"], state["max_cycles"]
    run.has_unresolved_review = state["has_unresolved_review"]


def _initial(run: agent_v1.Run, workflow: Workflow) -> RunState:
    granted = min(run.remaining_hops, workflow.max_hops)  # none was used before the first checkpoint
    return initial_state(run.query, effort_name(run.effort), granted, workflow.max_cycles)


def _checkpoint_id(snapshot: StateSnapshot) -> str:
    return str(snapshot.config["configurable"].get("checkpoint_id", ""))


def _question(interrupt: Interrupt) -> agent_v1.Question:
    asked: dict[str, Any] = interrupt.value
    question = agent_v1.Question(question_id=interrupt.id, text=asked["text"], asked_by=asked["asked_by"])
    question.response_schema.update(asked["response_schema"])
    question.create_time.GetCurrentTime()
    return question
