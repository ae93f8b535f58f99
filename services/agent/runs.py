"""What can be done with runs: start, watch, pause, resume, answer, cancel, fork, edit, prune. Knows no gRPC."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.agent.custody import wrong_state
from services.agent.lost_commits import MissingCommits
from services.agent.recovery import Recovery
from services.agent.run_driver import Cause, RunDriver
from services.agent.run_events import RunEvents
from services.agent.run_request import RunRequest, check_request, granted_hops
from services.agent.run_retention import Pruned, RunRetention
from services.agent.run_rows import LIVE, WAITING, is_finished, is_live
from services.agent.run_store import RunFilter, RunStore
from services.agent.settings import AgentSettings
from services.agent.state_edit import checked_updates, within
from services.agent.threads.turns import Turns
from services.agent.threads.view import thread_to_proto
from services.agent.workflows.catalogue import Catalogue
from shared.capability.wire import EFFORTS
from shared.errors import (
    AlreadyExists,
    Cancelled,
    Draining,
    InvalidInput,
    LimitExceeded,
    NotFound,
    StaleEpoch,
    ThreadBusy,
    WaystationError,
)
from shared.pb import agent_v1

logger = logging.getLogger(__name__)

PRUNE_INTERVAL_S = 3600.0
QUEUE_POLL_S = 0.5

Snapshot = Any
"""LangGraph's `StateSnapshot`."""


class Runs:
    """All runs of this agent. Belongs to one event loop.

    `admit` raises when the store should take no new run; `expect` hears each query before its run is stored.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        store: RunStore,
        events: RunEvents,
        retention: RunRetention,
        settings: AgentSettings,
        admit: Callable[[], None] = lambda: None,
        expect: Callable[[str], None] = lambda query: None,
    ) -> None:
        self.catalogue, self._store, self._events, self._retention = catalogue, store, events, retention
        self._settings, self._check_store, self._expect = settings, admit, expect
        self._driver = RunDriver(catalogue, store, events, settings)
        self.recovery = Recovery(self._driver, store, settings, admit)
        self._turns = Turns(settings.max_queued_runs)
        self._is_draining = False

    @property
    def live_count(self) -> int:
        """Runs under way."""
        return self._driver.live_count

    async def recover(self, missing: Sequence[MissingCommits] = ()) -> None:
        """Make ready: take up what an earlier life of the process left, but for runs that lost commits meanwhile.

        Only for whoever holds the lock on the data folder: the leases of all others end.
        """
        for workflow in self.catalogue.workflows.values():
            await self._store.keep_shape(workflow.shape.digest, workflow.shape.to_json())
        await self._store.end_leases()
        await self.fail_missing(missing)
        await self.recovery.sweep()

    async def start(self, request: RunRequest, correlation_id: str) -> tuple[agent_v1.Run, bool]:
        """Store a run and set it going; the flag says that the request id was known.

        When the settings say so, it waits for its turn on the thread as long as the caller does. A caller that has a
        budget of hops cannot give the run more than it has. Raises
        `InvalidInput`, `UnknownWorkflow`, `NotFound` (thread), `ThreadBusy`, `LimitExceeded`, `Draining`,
        `StorageUnavailable`, or `AlreadyExists` (the request id belongs to another request). Nothing is stored then.
        """
        check_request(request)
        self._expect(request.query)
        if request.thread_id and self._settings.thread_policy == "queue":
            async with self._turns.turn(request.thread_id):
                return await self._begin_when_free(request, correlation_id)
        return await self._begin(self._new_run(request, correlation_id), is_new_thread=not request.thread_id)

    async def _begin_when_free(self, request: RunRequest, correlation_id: str) -> tuple[agent_v1.Run, bool]:
        while True:
            try:
                return await self._begin(self._new_run(request, correlation_id), is_new_thread=False)
            except ThreadBusy as busy:
                # a run that is paused, or waits for an answer, is not under way here, and nobody tells when it ends
                if not busy.metadata.get("run_id") or not self._driver.has(busy.metadata["run_id"]):
                    await asyncio.sleep(QUEUE_POLL_S)
                else:
                    await self._driver.finished(busy.metadata["run_id"], QUEUE_POLL_S)

    async def _begin(self, run: agent_v1.Run, is_new_thread: bool, cause: Cause = "") -> tuple[agent_v1.Run, bool]:
        self._check_room()
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        with self._driver.reserved(run.run_id):
            record = await self._store.admit(run, carrier.get("traceparent", ""), is_new_thread)
            if record:
                snapshot = agent_v1.Run()
                snapshot.CopyFrom(record.run)
                self._driver.launch(record, cause)
                return snapshot, False
        known = await self._store.find_request(run.tenant, run.request_id)
        if not known:
            raise NotFound(f"The run of request {run.request_id!r} was deleted.", remedy="Use another request id.")
        return known, True

    def _check_room(self) -> None:
        if self._is_draining:
            raise Draining("The agent is draining.", remedy="Try again when it is back.")
        limit = self._settings.max_live_runs
        if self._driver.live_count >= limit:
            raise LimitExceeded(f"{limit} runs are under way.", remedy="Try again in a moment.", limit=limit)
        self._check_store()

    def _new_run(self, request: RunRequest, correlation_id: str) -> agent_v1.Run:
        workflow = self.catalogue.get(request.workflow)
        span = trace.get_current_span().get_span_context()
        run = agent_v1.Run(
            run_id=f"run-{uuid.uuid4().hex}",
            thread_id=request.thread_id or f"thread-{uuid.uuid4().hex}",
            workflow=request.workflow,
            query=request.query,
            state=agent_v1.Run.STATE_PENDING,
            effort=EFFORTS[request.effort or workflow.effort or "medium"],
            tenant=request.tenant,
            request_id=request.request_id,
            correlation_id=correlation_id,
            trace_id=f"{span.trace_id:032x}" if span.is_valid else "",
            remaining_hops=granted_hops(workflow.max_hops),
            max_cycles=workflow.max_cycles,
            graph_digest=workflow.shape.digest,
        )
        run.create_time.GetCurrentTime()
        run.update_time.CopyFrom(run.create_time)
        timeout_s = request.run_timeout_s or workflow.timeout_s or self._settings.run_timeout_s
        run.run_timeout.FromTimedelta(timedelta(seconds=timeout_s))
        return run

    async def pause(self, run_id: str) -> agent_v1.Run:
        """Stop a run at its next step boundary; asked for durably before this returns.

        Raises `NotFound`, or `WrongState` for a run that waits for an answer or has ended.
        """
        await self._store.ask_pause(run_id)
        self._driver.ask_pause(run_id)
        return await self._store.get(run_id)

    async def withdraw_pause(self, run_id: str) -> bool:
        """Let a run go on whose pause was taken back, durably; False when it has stopped by now.

        Raises `DeadlineExceeded` when it does not stop within 5 s either.
        """
        if self._driver.withdraw_pause(run_id):
            return True
        await self._driver.ended(run_id)
        return False

    async def resume(self, run_id: str) -> agent_v1.Run:
        """Go on with a run that is paused, or that nobody drives. One that is under way is returned as it is.

        Raises `NotFound`, `ThreadBusy`, `GraphChanged`, `Draining`, `LimitExceeded`, or `WrongState` for a run that
        waits for an answer or has ended.
        """
        run = await self._store.get(run_id)
        if is_live(run) and self._driver.has(run_id):
            return run
        if run.state not in (*LIVE, agent_v1.Run.STATE_PAUSED):
            raise wrong_state(run)
        await self._driver.migration_for(run)
        return await self._continue(run_id, "request" if is_live(run) else "pause")

    async def answer(self, run_id: str, question_id: str, answer: Any, request_id: str) -> agent_v1.Run:
        """Answer an open question; when it was the last one, the run goes on.

        Raises `NotFound`, `WrongState` (the question is not open), or `InvalidInput` (the answer does not fit).
        """
        self._check_room()
        is_new = await self._store.keep_answer(run_id, question_id, answer, request_id)
        run = await self._store.get(run_id)
        return await self._continue(run_id, "answer") if is_new and is_live(run) else run

    async def _continue(self, run_id: str, cause: Cause) -> agent_v1.Run:
        self._check_room()
        await self._driver.ended(run_id)
        if self._driver.has(run_id):  # another request, or recovery, was faster
            return await self._store.get(run_id)
        with self._driver.reserved(run_id):
            states = (*LIVE, agent_v1.Run.STATE_PAUSED)
            record = await self._store.take_up(run_id, states, goes_on=True, keeps_pause=cause == "answer")
            if record.wants_pause:
                self._driver.ask_pause(run_id)
            snapshot = agent_v1.Run()
            snapshot.CopyFrom(record.run)
            self._driver.launch(record, cause)
        return snapshot

    async def cancel(self, run_id: str, message: str) -> agent_v1.Run:
        """Stop a run and what it waits for. Raises `NotFound`, or `WrongState` when it has ended otherwise."""
        run = await self._store.get(run_id)
        verdict = Cancelled(message or "cancelled by request")
        if is_finished(run):
            if run.state == agent_v1.Run.STATE_CANCELLED:
                return run
            raise wrong_state(run)
        await self._driver.stop(run_id, verdict)
        run = await self._store.get(run_id)
        if not is_finished(run):
            with self._driver.reserved(run_id):
                record = await self._store.take_up(run_id, (*LIVE, *WAITING))
                run = await self._driver.settle(record, agent_v1.Run.STATE_CANCELLED, verdict)
        if run.state != agent_v1.Run.STATE_CANCELLED:
            raise wrong_state(run)
        return run

    async def fail_missing(self, missing: Sequence[MissingCommits]) -> None:
        """End the unfinished runs among those that lost commits, reason COMMITS_MISSING; what is left of them stays."""
        for each in missing:
            try:
                await self._driver.stop(each.run_id, each.error)
                if each.found:
                    await self._fail(each)
            except WaystationError as error:
                logger.error("run %s lost commits and could not be failed: %s", each.run_id, error)

    async def _fail(self, missing: MissingCommits) -> None:
        if not is_finished(await self._store.get(missing.run_id)):
            with self._driver.reserved(missing.run_id):
                record = await self._store.take_up(missing.run_id, (*LIVE, *WAITING))
                await self._driver.settle(record, agent_v1.Run.STATE_FAILED, missing.error)

    async def fork(
        self, run_id: str, checkpoint_id: str, updates: Mapping[str, Any], request_id: str, correlation_id: str
    ) -> agent_v1.Run:
        """Start a new run, in a new thread, from a checkpoint of this one.

        Raises `NotFound` (run, checkpoint), `InvalidInput` and `Forbidden` (updates), `GraphChanged`, and what `start`
        raises.
        """
        source = await self._store.get(run_id)
        self._check_room()
        await self._driver.migration_for(source)
        found = await self._checkpoint(source, checkpoint_id)
        present = found.checkpoint["channel_values"]
        checked = checked_updates(updates, present, self._driver.workflow_of(source).max_hops) if updates else None
        values = {**present, **(checked or {})}
        timeout_s = source.run_timeout.ToTimedelta().total_seconds()
        request = RunRequest(
            values.get("query", source.query), source.workflow, request_id=request_id, run_timeout_s=timeout_s
        )
        check_request(request)
        run = self._new_run(request, correlation_id)
        run.effort, run.tenant, run.graph_digest = source.effort, source.tenant, source.graph_digest
        known = await self._store.find_request(run.tenant, request_id) if request_id else None
        if known and (known.query, known.workflow) != (run.query, run.workflow):
            raise AlreadyExists(f"Request id {request_id!r} belongs to another request.", run_id=known.run_id)
        if known:
            return known
        if run.remaining_hops < self._driver.workflow_of(source).max_hops:
            checked = within(run.remaining_hops, present, checked)
        await self._plant(run, found, checked)
        made_ns = int(datetime.fromisoformat(found.checkpoint["ts"]).timestamp() * 1e9)
        await self._store.copy_messages(run_id, run.run_id, present.get("hops", ()), made_ns)
        begun, _ = await self._begin(run, is_new_thread=True, cause="fork")
        return begun

    async def _plant(self, run: agent_v1.Run, found: Any, updates: Any) -> None:
        """Make the checkpoint the first one of the run's thread."""
        saver: Any = self.catalogue.saver
        config: Any = {"configurable": {"thread_id": run.thread_id, "checkpoint_ns": ""}}
        metadata = {**found.metadata, "source": "fork", "run_id": run.run_id, "parents": {}}
        await saver.aput(config, found.checkpoint, metadata, found.checkpoint["channel_versions"])
        if updates:
            await self._driver.graph_of(run).aupdate_state(self._driver.config(run), updates)

    async def update_state(self, run_id: str, updates: Mapping[str, Any], checkpoint_id: str) -> Snapshot:
        """Change fields of a waiting run's state; returns the new snapshot. The run is paused from then on.

        Raises `NotFound`, `WrongState` (the run is under way or has ended), `StaleEpoch` (another checkpoint is the
        newest by now), `InvalidInput` and `Forbidden`.
        """
        run = await self._store.get(run_id)
        if run.state not in WAITING:
            raise wrong_state(run)
        graph = self._driver.graph_of(run)
        await self._driver.ended(run_id)
        with self._driver.reserved(run_id):
            record = await self._store.take_up(run_id, WAITING)
            config, former = self._driver.config(record.run), record.run.state
            try:
                present: Any = (await graph.aget_state(config)).values
                checked = checked_updates(updates, present, self._driver.workflow_of(run).max_hops)
                head = await self._store.head(record.run.thread_id)
                if checkpoint_id and checkpoint_id != head:
                    raise StaleEpoch(
                        f"Checkpoint {checkpoint_id} is not the newest of run {run_id} any more.",
                        remedy=f"Look at {head} and decide again.",
                        checkpoint_id=head,
                    )
                await graph.aupdate_state(config, checked)
            except BaseException:
                await self._driver.settle(record, former)
                raise
            record.run.ClearField("questions")
            await self._driver.settle(record, agent_v1.Run.STATE_PAUSED)
        return await graph.aget_state(config)

    async def prune(self, older_than_s: float, keep: int, is_dry_run: bool) -> Pruned:
        """See `RunRetention.prune`. Raises `InvalidInput`."""
        if older_than_s < 0 or keep < 0:
            raise InvalidInput("older_than and keep cannot be below 0.", field="older_than")
        return await self._retention.prune(older_than_s, keep, is_dry_run)

    async def keep_pruned(self) -> None:
        """Prune by the settings, now and every hour, until cancelled."""
        while True:
            try:
                age_s = self._settings.retention_days * 86_400
                await self._retention.prune(age_s, keep=0)
                await self._retention.prune(0, self._settings.retention_runs)
            except WaystationError as error:
                logger.error("old runs could not be deleted: %s", error)
            except Exception:
                logger.exception("old runs could not be deleted")
            await asyncio.sleep(PRUNE_INTERVAL_S)

    async def get(self, run_id: str) -> agent_v1.Run:
        """Return a run. Raises `NotFound`."""
        return await self._store.get(run_id)

    async def page(self, wanted: RunFilter, limit: int) -> tuple[list[agent_v1.Run], tuple[int, str] | None]:
        """See `RunStore.page`."""
        return await self._store.page(wanted, limit)

    async def thread(self, thread_id: str) -> agent_v1.Thread:
        """A thread with its turns. Raises `NotFound`."""
        runs = await self._store.thread(thread_id)
        if not runs:
            raise NotFound(f"There is no thread {thread_id!r}.", thread_id=thread_id)
        saver: Any = self.catalogue.saver
        found = await saver.aget_tuple({"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}})
        conversation = found.checkpoint["channel_values"].get("conversation", []) if found else []
        return thread_to_proto(runs, conversation, self._settings.context_budget_tokens)

    def watch(self, run_id: str, after_sequence: int) -> AsyncIterator[agent_v1.RunEvent]:
        """See `RunEvents.watch`."""
        return self._events.watch(run_id, after_sequence)

    async def checkpoints(self, run_id: str) -> AsyncIterator[tuple[Snapshot, int]]:
        """The run's state snapshots with their sizes in bytes, newest first. Raises `NotFound`."""
        run = await self._store.get(run_id)
        sizes = await self._store.checkpoint_sizes(run.thread_id)
        async for snapshot in self._driver.graph_of(run).aget_state_history(self._driver.config(run)):
            if (snapshot.metadata or {}).get("run_id") == run_id:
                yield snapshot, sizes.get(snapshot.config["configurable"]["checkpoint_id"], 0)

    async def _checkpoint(self, run: agent_v1.Run, checkpoint_id: str) -> Any:
        saver: Any = self.catalogue.saver
        place = {"thread_id": run.thread_id, "checkpoint_ns": "", "checkpoint_id": checkpoint_id}
        found = await saver.aget_tuple({"configurable": place}) if checkpoint_id else None
        if not found or found.metadata.get("run_id") != run.run_id:
            raise NotFound(
                f"Run {run.run_id} has no checkpoint {checkpoint_id!r}.",
                remedy="`waystation runs history` lists them.",
                checkpoint_id=checkpoint_id,
            )
        return found

    async def drain(self) -> None:
        """Take no new runs; those under way stop at their next step and go on from there at the next start."""
        self._is_draining = True
        await self.recovery.stop()
        await self._driver.drain()
