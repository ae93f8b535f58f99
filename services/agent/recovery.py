"""Takes up every run whose driver is gone, from its last committed step."""

import asyncio
import logging
import time
from collections.abc import Callable

from services.agent.custody import RunRecord
from services.agent.run_driver import RunDriver
from services.agent.run_rows import LIVE
from services.agent.run_store import RunStore
from services.agent.settings import AgentSettings
from shared.errors import Conflict, CrashLoop, WaystationError, WrongState
from shared.fault_points import fault_point
from shared.pb import agent_v1

logger = logging.getLogger(__name__)

POLL_S = 0.05


class Recovery:
    """Sweeps for runs without a driver and keeps the leases of those that have one. Belongs to one event loop.

    `check_store` raises while the store should not be written to.
    """

    def __init__(
        self, driver: RunDriver, store: RunStore, settings: AgentSettings, check_store: Callable[[], None]
    ) -> None:
        self._driver, self._store, self._settings, self._check_store = driver, store, settings, check_store
        self._trial: asyncio.Task[None] | None = None
        self._is_stopped = False

    async def run(self) -> None:
        """Sweep until cancelled. Survives what goes wrong."""
        while True:
            await asyncio.sleep(self._settings.sweep_interval_s)
            try:
                await self._renew()
                await self.sweep()
            except WaystationError as error:
                logger.error("recovery failed and will be tried again: %s", error)
            except Exception:
                logger.exception("recovery failed and will be tried again")

    async def stop(self) -> None:
        """Take nothing up any more; what is under way goes on."""
        self._is_stopped = True
        if self._trial:
            self._trial.cancel()
            await asyncio.gather(self._trial, return_exceptions=True)

    async def sweep(self) -> None:
        """Take up each live run that nobody drives.

        One that was taken up before and has committed nothing since may be what kills the process. While there is
        such a suspect it is driven alone, and everybody else waits.
        """
        if self._is_stopped or self._is_trying:
            return
        found = [(run, is_stuck) for run, is_stuck in await self._store.live() if not self._driver.has(run.run_id)]
        if not found:
            return
        self._check_store()
        suspects = [run.run_id for run, is_stuck in found if is_stuck and run.attempt_count]
        if suspects:
            self._trial = asyncio.create_task(self._try_alone(suspects))
            return
        for run, _ in found:
            await self._resume(run.run_id)

    @property
    def _is_trying(self) -> bool:
        return self._trial is not None and not self._trial.done()

    async def _resume(self, run_id: str, is_suspect: bool = False) -> RunRecord | None:
        """Take the run up and set it going; None when there is nothing to be done, or not now."""
        try:
            with self._driver.reserved(run_id):
                # checks state and ownership again, inside the transaction that takes it
                record = await self._store.take_up(run_id, LIVE)
                fault_point("during_recovery")
                if record.run.attempt_count > self._settings.max_attempts:
                    await self._driver.settle(record, agent_v1.Run.STATE_FAILED, _crash_loop(record.run))
                elif record.wants_pause:
                    await self._driver.settle(record, agent_v1.Run.STATE_PAUSED)
                else:
                    self._driver.launch(record, "crash", is_suspect)
                    return record
        except (Conflict, WrongState):
            pass  # somebody else has it, or it has ended by now
        except WaystationError as error:
            logger.error("run %s could not be taken up and will be tried again: %s", run_id, error)
        return None

    async def _try_alone(self, suspects: list[str]) -> None:
        """Drive suspects one at a time, each until it commits something; new runs wait, and so does the sweep."""
        self._driver.is_open.clear()
        try:
            for run_id in suspects:
                record = await self._resume(run_id, is_suspect=True)
                if record:
                    await self._until_progress(record)
        finally:
            self._driver.is_open.set()

    async def _until_progress(self, record: RunRecord) -> None:
        thread_id = record.run.thread_id
        end = time.monotonic() + self._settings.trial_timeout_s
        while time.monotonic() < end:
            if await self._driver.finished(record.run.run_id, POLL_S):
                return
            if await self._store.head(thread_id) != record.head:
                return
        logger.warning("run %s has committed nothing yet; others go on", record.run.run_id)

    async def _renew(self) -> None:
        epochs = self._driver.epochs()
        if not epochs:
            return
        for thread_id in await self._store.renew_leases(epochs):
            logger.warning("thread %s belongs to somebody else by now", thread_id)


def _crash_loop(run: agent_v1.Run) -> CrashLoop:
    return CrashLoop(
        f"The run was taken up {run.attempt_count - 1} times, and each time its process died before the next commit.",
        remedy="Look at the agent's log; `waystation ask` again when the cause is mended.",
        attempts=run.attempt_count - 1,
    )
