"""Whose turn it is: runs of one thread come one after the other, in the order they were asked for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from shared.errors import ThreadBusy


@dataclass
class _Line:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    length: int = 0


class Turns:
    """Lines of callers, one a thread, each bounded. Belongs to one event loop."""

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._lines: dict[str, _Line] = {}

    @asynccontextmanager
    async def turn(self, thread_id: str) -> AsyncIterator[None]:
        """Wait for the turn of this caller, first come, first served. Raises `ThreadBusy` when the line is full."""
        line = self._lines.setdefault(thread_id, _Line())
        if line.length > self._max_waiting:
            raise ThreadBusy(
                f"{self._max_waiting} requests wait for thread {thread_id} already.",
                remedy="Wait for its runs, or cancel them.",
                thread_id=thread_id,
                limit=self._max_waiting,
            )
        line.length += 1
        try:
            async with line.lock:
                yield
        finally:
            line.length -= 1
            if not line.length:
                del self._lines[thread_id]
