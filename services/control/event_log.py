"""The control plane's own events: a bounded memory of the recent past that any number of readers share.

A reader holds nothing but its cursor, so a slow one costs nothing; it is told when its past is gone.
Cursors grow from one life of the process to the next, so that one from another life is known as such, and stay below
2^53 so that JavaScript can hold them.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal

from services.control.incidents.incident import Incident
from services.control.mode.observability_mode import ModeState
from services.control.registry.registry import Snapshot
from services.control.signal import Signal
from services.control.telemetry.span import SpanRecord
from shared.pb import agent_v1

MAX_EVENTS = 20_000
EVENTS_PER_SECOND_OF_LIFE = 1_000_000
EVENTS_BETWEEN_PAUSES = 64
"""A reader that catches up lets others have their turn."""
ENTRY_BYTES = 1_000
"""What an entry weighs besides its contents, about."""

Payload = SpanRecord | Snapshot | ModeState | Incident | agent_v1.Run | agent_v1.RunEvent
"""A span, the registry, the mode or a run as it is now, an incident, or what happened in a run."""


@dataclass(frozen=True)
class Event:
    """One thing that happened."""

    cursor: int
    payload: Payload


@dataclass(frozen=True)
class Gap:
    """Tells a reader that events between two cursors are not to be had any more."""

    after_cursor: int
    """The reader's last."""
    cursor: int
    """The last one missing; reading goes on after it."""
    cause: Literal["too_old", "another_life"]
    """Whether they were here once, or the reader's cursor is not from this life of the process."""


class EventLog:
    """Numbered events. `now_s` is the wall clock; it is read once, for the number to begin after."""

    def __init__(self, now_s: Callable[[], float], *, max_bytes: int = 32 * 1024 * 1024) -> None:
        self._first = self._last = int(now_s()) * EVENTS_PER_SECOND_OF_LIFE
        self._events: deque[Event] = deque()
        self._max_bytes = max_bytes
        self._bytes = 0
        self._signal = Signal()

    @property
    def last_cursor(self) -> int:
        """The cursor of the newest event."""
        return self._last

    def begin_after(self, cursor: int) -> None:
        """Number events from here on. Only before the first one."""
        self._first = self._last = cursor

    def append(self, payload: Payload) -> None:
        """Add an event and wake the readers; the oldest go when there are too many or they weigh too much."""
        self._last += 1
        self._events.append(Event(self._last, payload))
        self._bytes += _weight(payload)
        while len(self._events) > MAX_EVENTS or (self._bytes > self._max_bytes and len(self._events) > 1):
            self._bytes -= _weight(self._events.popleft().payload)
        self._signal.fire()

    async def read(self, after_cursor: int) -> AsyncIterator[Event | Gap]:
        """Yield the events after a cursor, then new ones until `close`; a `Gap` where some are gone."""
        while not self._signal.is_closed:
            # A cursor of the future is from a life whose control.db is gone: where it was, nobody can say.
            oldest = self._last - len(self._events)
            if not oldest <= after_cursor <= self._last:
                is_own = self._first <= after_cursor <= self._last
                yield Gap(after_cursor, oldest, "too_old" if is_own else "another_life")
                after_cursor = oldest
            elif after_cursor == self._last:
                await self._signal.wait()
            else:
                event = self._events[after_cursor - oldest]
                after_cursor = event.cursor
                yield event
                if after_cursor % EVENTS_BETWEEN_PAUSES == 0:
                    await asyncio.sleep(0)

    def close(self) -> None:
        """End all readers."""
        self._signal.close()


def _weight(payload: Payload) -> int:
    if isinstance(payload, SpanRecord):
        return ENTRY_BYTES + len(payload.body)
    if isinstance(payload, Snapshot):
        return ENTRY_BYTES * (1 + len(payload.instances))
    if isinstance(payload, ModeState | Incident):
        return ENTRY_BYTES
    return ENTRY_BYTES + payload.ByteSize()
