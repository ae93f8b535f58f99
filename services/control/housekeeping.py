"""What goes on beside the calls: leases lapse, traces are mended, and what is too old or too much goes."""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine

from services.control.clock import Clock
from services.control.logs.log_store import LogStore
from services.control.registry.registry import Registry
from services.control.runs.projection import RunProjection
from services.control.settings import ControlSettings
from services.control.telemetry.span_store import SpanStore
from shared.errors import WaystationError

logger = logging.getLogger(__name__)

SWEEP_S = 0.5
MEND_S = 1.0
PRUNE_S = 600.0
DAY_NS = 24 * 3600 * 10**9


class Housekeeping:
    """Keeps the stores in order. `agents` gives the live agents, or None while that cannot be said."""

    def __init__(
        self,
        registry: Registry,
        spans: SpanStore,
        runs: RunProjection,
        logs: LogStore,
        agents: Callable[[], Collection[str] | None],
        settings: ControlSettings,
        clock: Clock,
    ) -> None:
        self._registry, self._spans, self._runs, self._logs = registry, spans, runs, logs
        self._agents, self._settings, self._clock = agents, settings, clock

    def works(self) -> list[Coroutine[None, None, None]]:
        """What is to run for the life of the process."""
        return [self._sweep(), self._prune(), self._look_for_orphans(), self._mend_traces()]

    async def mark_lost(self, instance_id: str, silent_s: float) -> None:
        """Show the spans and runs of a process that died as lost; nothing was heard of it for `silent_s` seconds."""
        try:
            await self._spans.mark_lost(instance_id, int((self._clock.wall() - silent_s) * 1e9))
            await self._runs.note_lost(instance_id)
        except WaystationError as error:
            logger.error("spans and runs of %s are not shown as lost: %s", instance_id, error)

    async def _look_for_orphans(self) -> None:
        await asyncio.sleep(self._settings.lease_s)
        try:
            await self._runs.note_lost()
        except WaystationError as error:
            logger.error("runs are not shown as lost: %s", error)

    async def _mend_traces(self) -> None:
        """Close the spans of processes that are not there, and put back those that dead agents did not send."""
        while True:
            await asyncio.sleep(MEND_S)
            agents = self._agents()
            if agents is None:  # who is there will be known when all had the time to register again
                continue
            now_ns = int(self._clock.wall() * 1e9)
            try:
                await self._spans.put_back([*agents], now_ns)
                await self._spans.mark_lost_except(
                    self._registry.instance_ids(), now_ns - int(self._settings.lease_s * 1e9)
                )
            except WaystationError as error:
                logger.error("traces are not mended: %s", error)

    async def _sweep(self) -> None:
        while True:
            self._registry.expire()
            await asyncio.sleep(SWEEP_S)

    async def _prune(self) -> None:
        while True:
            settings, now_ns = self._settings, int(self._clock.wall() * 1e9)
            oldest_ns = now_ns - int(settings.retention_days * DAY_NS)
            try:
                pruned = await self._spans.prune(oldest_ns, settings.max_spans, settings.max_store_bytes)
                if pruned:
                    logger.info("pruned %d spans", pruned)
                await self._runs.prune(settings.max_runs)
                await self._logs.prune(now_ns - int(settings.log_retention_days * DAY_NS))
            except WaystationError as error:
                logger.error("not pruned: %s", error)
            await asyncio.sleep(PRUNE_S)
