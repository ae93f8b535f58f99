"""Checks each registered address from outside: that a process says it serves is not enough."""

import asyncio
from typing import Protocol

from services.control.registry.registry import Registration, Registry

MAX_CHECKS_AT_ONCE = 16


class Probe(Protocol):
    """Asks a registered address how it is, and who."""

    async def __call__(self, registration: Registration, timeout_s: float) -> str:
        """Return why the address does not serve what was registered, or an empty text when it does. Never raises."""
        ...


class HealthCheck:
    """Checks registrations with `probe` and notes the outcome in the registry."""

    def __init__(self, registry: Registry, probe: Probe, *, interval_s: float = 5.0, timeout_s: float = 1.0) -> None:
        self._registry = registry
        self._probe = probe
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(MAX_CHECKS_AT_ONCE)

    async def check(self, registration: Registration) -> None:
        """Check one registration now."""
        async with self._slots:
            failure = await self._probe(registration, self._timeout_s)
        self._registry.note_check(registration, failure)

    async def check_all(self) -> None:
        """Check everything that is registered now."""
        await asyncio.gather(*(self.check(registration) for registration in self._registry.registrations()))

    async def run(self) -> None:
        """Check everything again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            await self.check_all()
