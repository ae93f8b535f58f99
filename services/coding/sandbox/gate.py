"""Lets a bounded number in at once, and a bounded number wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.errors import LimitExceeded


class Gate:
    """First come, first served; who would wait behind `max_waiting` others is turned away."""

    def __init__(self, max_running: int, max_waiting: int) -> None:
        self._slots = asyncio.Semaphore(max_running)
        self._max_waiting = max_waiting
        self._waiting = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Holds a slot; waits for one. Raises LimitExceeded when too many wait already."""
        if self._slots.locked() and self._waiting >= self._max_waiting:
            raise LimitExceeded(
                f"{self._waiting} programs wait for a sandbox already.",
                remedy="Try again in a few seconds, or raise the coding service's max_sandboxes.",
                limit=self._max_waiting,
            )
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()
