"""A run's events: numbered, stored, then published, so that any reader can leave and come back."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from google.protobuf.message import Message
from opentelemetry import trace

from services.agent.custody import RunRecord
from services.agent.guardian.effects import record_in_trace
from services.agent.run_rows import is_live
from services.agent.run_store import RunStore
from shared.errors import InternalError, WaystationError
from shared.fault_points import fault_point
from shared.pb import agent_v1

logger = logging.getLogger(__name__)

PAGE = 500
MAX_REMEMBERED = 500
"""Events of one run that memory holds, or up to twice as many."""
TEXT_WINDOW_S = 0.04
"""Pieces of text that come within this time of the last event wait for the next one."""

_PAYLOADS = {
    item.message_type.full_name: item.name
    for item in agent_v1.RunEvent.DESCRIPTOR.oneofs_by_name["payload"].fields
    if item.message_type
}


@dataclass
class _PendingText:
    text: str
    step: str
    hop_index: int


@dataclass
class _RunLog:
    run: agent_v1.Run
    """The run as it is now; whoever drives it changes it."""
    epoch: int
    """The epoch under which this process has the run."""
    opened_at: int
    """The number before the first event in `committed`."""
    sequence: int
    """The last number given out."""
    committed: list[agent_v1.RunEvent] = field(default_factory=list)
    """The newest stored events of this life of the process; older ones are read from the store."""
    has_grown: asyncio.Event = field(default_factory=asyncio.Event)
    pending_text: _PendingText | None = None
    last_text_time: float = 0.0
    attempt: int = 1
    error: WaystationError | None = None


class RunEvents:
    """Takes the events of live runs and feeds their watchers. Belongs to one event loop.

    `on_stored` hears of each run that has a new event, after the commit.
    """

    def __init__(self, store: RunStore, on_stored: Callable[[str], None] | None = None) -> None:
        self._store, self._on_stored = store, on_stored
        self._logs: dict[str, _RunLog] = {}
        self._has_opened = asyncio.Event()
        """Set, and replaced, when any run is opened."""

    def open(self, record: RunRecord) -> None:
        """Begin to take events of a run in custody."""
        run = record.run
        last = record.last_sequence
        self._logs[run.run_id] = _RunLog(run, run.epoch, last, last, attempt=record.takeup_count + 1)
        self._has_opened.set()
        self._has_opened = asyncio.Event()

    def is_open(self, run_id: str) -> bool:
        """Whether the run is under way here: nothing may follow the event that it rests or has ended."""
        log = self._logs.get(run_id)
        return log is not None and is_live(log.run)

    def emit(self, run_id: str, payload: Message) -> "Future[None]":
        """Number, store and publish a payload of `RunEvent`; the future is done when it is stored."""
        log = self._logs[run_id]
        self._flush_text(log)
        return self._append(log, payload)

    def emit_state(self, run: agent_v1.Run) -> "Future[None]":
        """Publish the run as it is now, and store it in the same transaction."""
        log = self._logs[run.run_id]
        self._flush_text(log)
        for acted in self._store.fulfilled_acts(run):
            record_in_trace(acted)
            self._append(log, acted)
        run.last_sequence = log.sequence + 1
        run.update_time.GetCurrentTime()
        return self._append(log, agent_v1.RunStateChanged(run=run), run)

    def flush(self, run_id: str) -> None:
        """Number and store the text that still waits for more."""
        self._flush_text(self._logs[run_id])

    def emit_text(self, run_id: str, text: str, step: str, hop_index: int) -> None:
        """Publish a piece of text; small pieces in quick succession become one event."""
        log = self._logs[run_id]
        waiting = log.pending_text
        if waiting and (waiting.step, waiting.hop_index) == (step, hop_index):
            waiting.text += text
        else:
            self._flush_text(log)
            log.pending_text = _PendingText(text, step, hop_index)
        if time.monotonic() - log.last_text_time >= TEXT_WINDOW_S:
            self._flush_text(log)

    def close(self, run_id: str) -> None:
        """Take no more events of the run; its watchers go on from the store."""
        log = self._logs.pop(run_id, None)
        if log:
            log.has_grown.set()

    async def watch(self, run_id: str, after_sequence: int) -> AsyncIterator[agent_v1.RunEvent]:
        """The run's events after a number, stored ones first, until it has ended or waits for somebody.

        While nobody drives it, or its events cannot be stored, this waits until it is taken up. Raises `NotFound`.
        """
        await self._store.get(run_id)
        cursor = after_sequence
        while True:
            log = self._logs.get(run_id)
            grown = log.has_grown if log else None
            events = self._from_memory(log, cursor) if log else None
            if events is None:
                events = await self._store.events(run_id, cursor, PAGE)
            for event in events:
                yield event
                cursor = event.sequence
                fault_point("while_streaming")
            if events:
                if _is_last(events[-1]):
                    return
            elif log is None:
                opened = self._has_opened
                if not is_live(await self._store.get(run_id)):
                    return
                if run_id not in self._logs:
                    await opened.wait()  # recovery has yet to take it up
            elif grown:
                await grown.wait()

    @staticmethod
    def _from_memory(log: _RunLog, cursor: int) -> list[agent_v1.RunEvent] | None:
        """The events after `cursor` when memory has all of them, otherwise None."""
        return log.committed[cursor - log.opened_at :] if cursor >= log.opened_at else None

    def _flush_text(self, log: _RunLog) -> None:
        waiting, log.pending_text = log.pending_text, None
        if waiting:
            log.last_text_time = time.monotonic()
            payload = agent_v1.TextProduced(
                text=waiting.text,
                step=waiting.step,
                hop_index=waiting.hop_index,
                attempt=log.attempt,
                is_answer=waiting.step == "respond",
            )
            self._append(log, payload)

    def _append(self, log: _RunLog, payload: Message, run: agent_v1.Run | None = None) -> "Future[None]":
        if log.error:
            raise log.error  # an event before this one was not stored
        log.sequence += 1
        span = trace.get_current_span().get_span_context()
        event = agent_v1.RunEvent(
            run_id=log.run.run_id,
            sequence=log.sequence,
            correlation_id=log.run.correlation_id,
            trace_id=f"{span.trace_id:032x}" if span.is_valid else "",
            span_id=f"{span.span_id:016x}" if span.is_valid else "",
        )
        event.create_time.GetCurrentTime()
        getattr(event, _PAYLOADS[payload.DESCRIPTOR.full_name]).CopyFrom(payload)
        future = self._store.append(log.run.thread_id, log.epoch, event, run)
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda done: loop.call_soon_threadsafe(self._publish, log, event, done))
        return future

    def _publish(self, log: _RunLog, event: agent_v1.RunEvent, done: "Future[None]") -> None:
        error = done.exception()
        if error is None:
            log.committed.append(event)
            if len(log.committed) > 2 * MAX_REMEMBERED:
                del log.committed[:MAX_REMEMBERED]
                log.opened_at += MAX_REMEMBERED
            if self._on_stored:
                self._on_stored(event.run_id)
        elif log.error is None:
            logger.error("event %d of run %s was not stored: %s", event.sequence, event.run_id, error)
            log.error = error if isinstance(error, WaystationError) else InternalError(f"An event was lost: {error}.")
        # each watcher holds the event it waits for, so a fresh one serves those who come later
        log.has_grown.set()
        log.has_grown = asyncio.Event()


def _is_last(event: agent_v1.RunEvent) -> bool:
    terminal = (agent_v1.Run.STATE_SUCCEEDED, agent_v1.Run.STATE_FAILED, agent_v1.Run.STATE_CANCELLED)
    return event.WhichOneof("payload") == "state_changed" and event.state_changed.run.state in terminal
