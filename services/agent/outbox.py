"""Keeps the control plane's list of runs in step with agent.db, in the background, and never in the way of a hop.

It remembers which runs have news, not the news: those are in agent.db, and are read there when they can be sent. So
what waits is small however long the control plane is away, and a crash loses nothing: at every new contact the control
plane is asked how far it got.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from services.agent.lost_commits import Cursor, MissingCommits, find_missing, find_unknown
from services.agent.outbox_store import MAX_DELETIONS, Batch, OutboxStore
from shared.errors import InvalidInput, WaystationError
from shared.pb import agent_v1

logger = logging.getLogger(__name__)

CHECK_TIMEOUT_S = 1.0
"""So long a start waits for the control plane's word on lost commits; later it is heard in the background."""
RETRY_S = 1.0
GATHER_S = 0.1
"""News that come within this time of a report go into the next one together."""
MAX_NOTED = 20_000
"""Beyond it, run ids are forgotten and found again by comparing."""
MAX_RUNS = 200
"""Runs in one report."""
MAX_LOST = 1_000
MAX_LOGGED = 20

OnMissing = Callable[[Sequence[MissingCommits]], Awaitable[None]]


@dataclass(frozen=True)
class Report:
    """What goes to the control plane in one call."""

    generation: int
    events: Sequence[agent_v1.RunEvent] = ()
    runs: Sequence[agent_v1.Run] = ()
    deleted: Sequence[str] = ()
    lost: Mapping[str, int] = field(default_factory=dict)
    """Runs that lost commits, with the newest event that is left."""


class RunReceiver(Protocol):
    """The control plane."""

    async def cursors(self) -> dict[str, Cursor]:
        """How far the newest runs, and all that have not ended, were reported."""

    async def report(self, report: Report) -> None:
        """Deliver a report."""


class Outbox:
    """Reports runs. Belongs to one event loop."""

    def __init__(self, store: OutboxStore, control: RunReceiver) -> None:
        self._store, self._control = store, control
        self._noted: dict[str, None] = {}
        """Runs with news, the first noted first."""
        self._has_forgotten = False
        self._acknowledged: dict[str, int] = {}
        """The newest event which the control plane has, of the runs reported last."""
        self._unchecked: dict[str, int] | None = None
        """What was in the store when the process started, until it is compared."""
        self._lost: dict[str, int] = {}
        self._news = asyncio.Event()
        self._is_known_down = False
        self._missing_count = 0

    @property
    def counters(self) -> dict[str, float]:
        """What the process counts, by name."""
        return {"outbox.waiting_runs": len(self._noted), "runs.commits_missing": self._missing_count}

    def note(self, run_id: str) -> None:
        """The run has a new event, which is committed."""
        if len(self._noted) < MAX_NOTED:
            self._noted[run_id] = None
        else:
            self._has_forgotten = True
        self._news.set()

    def note_deletions(self) -> None:
        """Runs were deleted."""
        self._news.set()

    async def missing_commits(self, timeout_s: float = CHECK_TIMEOUT_S) -> list[MissingCommits]:
        """The runs that lost commits while the process was away. Call it before the store is written.

        Waits no longer than `timeout_s` for the control plane. When that is silent nothing is missing for now, and
        `run` hands over what is found as soon as it is there.
        """
        self._unchecked = await self._store.newest()
        try:
            async with asyncio.timeout(timeout_s):
                cursors = await self._control.cursors()
        except (WaystationError, TimeoutError) as error:
            logger.info("lost commits are looked for when the control plane is there (%s)", error)
            return []
        missing = await self._compare(cursors, self._unchecked)
        self._unchecked = None
        newest = max((cursor.generation for cursor in cursors.values()), default=0)
        if newest > await self._store.generation():
            logger.error("agent.db is a copy from before a restore; epochs begin anew at generation %d", newest + 1)
            await self._store.raise_generation(newest + 1)
        return missing

    async def run(self, on_missing: OnMissing) -> None:
        """Report for ever. What goes wrong is logged once and tried again."""
        while True:
            try:
                await self._catch_up(on_missing)
                await self._follow()
            except WaystationError as error:
                if not self._is_known_down:
                    logger.warning("runs are not reported to the control plane for now: %s", error)
                self._is_known_down = True
            except Exception:
                logger.exception("runs are not reported to the control plane for now")
            await asyncio.sleep(RETRY_S)

    async def _catch_up(self, on_missing: OnMissing) -> None:
        """Compare with what the control plane has, and note what it lacks."""
        cursors = await self._control.cursors()
        if self._unchecked is not None:
            missing = await self._compare(cursors, self._unchecked)
            if missing:
                await on_missing(missing)
            self._unchecked = None
        generation = await self._store.generation()
        while lost := dict(islice(self._lost.items(), MAX_LOST)):
            await self._control.report(Report(generation, lost=lost))
            for run_id, number in lost.items():
                cursors[run_id] = Cursor(number, generation)
                del self._lost[run_id]
        self._has_forgotten = False
        for run_id, newest in (await self._store.newest()).items():
            cursor = cursors.get(run_id)
            number = cursor.sequence if cursor and cursor.generation == generation else 0
            if newest > number:
                self._acknowledged[run_id] = number
                self._noted[run_id] = None
        self._news.set()
        if self._is_known_down:
            logger.info("runs are reported to the control plane again")
        self._is_known_down = False

    async def _compare(self, cursors: Mapping[str, Cursor], stored: Mapping[str, int]) -> list[MissingCommits]:
        older = await self._store.find([run_id for run_id in cursors if run_id not in stored])
        known, deleted = {**stored, **older}, set(await self._store.deletions())
        missing = find_missing(cursors, known, deleted, await self._store.generation())
        for each in missing[:MAX_LOGGED]:
            logger.error("COMMITS_MISSING: %s", each.error)
        if len(missing) > MAX_LOGGED:
            logger.error("COMMITS_MISSING: so it is with %d runs in all", len(missing))
        self._missing_count = len(missing)
        self._lost = dict.fromkeys(find_unknown(cursors, known, deleted), 0)
        self._lost.update({each.run_id: each.found for each in missing})
        return missing

    async def _follow(self) -> None:
        while not (self._has_forgotten and not self._noted):
            await self._news.wait()
            self._news.clear()
            while await self._send():
                continue
            await asyncio.sleep(GATHER_S)

    async def _send(self) -> bool:
        """Send one report; whether more waits."""
        run_ids = list(self._noted)[:MAX_RUNS]
        for run_id in run_ids:
            del self._noted[run_id]
        try:
            batch = await self._store.batch({run_id: self._acknowledged.get(run_id, 0) for run_id in run_ids})
            deleted = await self._store.deletions(MAX_DELETIONS)
            if batch.runs or deleted:
                report = Report(await self._store.generation(), batch.events, batch.runs, deleted)
                await self._control.report(report)
        except InvalidInput:
            # sent again it would be refused again, and hold up all others; the next new contact tries it once more
            logger.exception("the control plane refuses the report of %s", ", ".join(run_ids))
            return bool(self._noted)
        except BaseException:
            self._noted = {**dict.fromkeys(run_ids), **self._noted}
            raise
        self._acknowledge(batch)
        if deleted:
            await self._store.forget_deletions(deleted)
        return bool(self._noted) or len(deleted) == MAX_DELETIONS

    def _acknowledge(self, batch: Batch) -> None:
        for event in batch.events:
            self._acknowledged[event.run_id] = event.sequence
        while len(self._acknowledged) > MAX_NOTED:
            del self._acknowledged[next(iter(self._acknowledged))]
        self._noted.update(dict.fromkeys(batch.partial))
