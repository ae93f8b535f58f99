"""A broadcast for waiters that look again after each wake-up, so that none needs a queue of its own."""

import asyncio


class Signal:
    """Wakes all who wait. Check the condition, then `wait` with no await between: no wake-up is lost."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.is_closed = False

    def fire(self) -> None:
        """Wake all waiters of this moment."""
        self._event.set()
        self._event = asyncio.Event()

    def close(self) -> None:
        """Wake all waiters for the last time; later waits return at once."""
        self.is_closed = True
        self._event.set()

    async def wait(self) -> None:
        """Return at the next `fire`, or at once when closed."""
        await self._event.wait()
