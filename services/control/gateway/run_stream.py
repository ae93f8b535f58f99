"""`/api/runs/{id}/events`: the agent's numbered events of one run, through the agent's deaths."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing

from sse_starlette import ServerSentEvent

from services.control.gateway.agent_peer import AgentPeer
from services.control.gateway.mapping import TERMINAL, error_view, is_last_event
from services.control.gateway.run_event_views import run_event_view
from services.control.gateway.stream_views import End, Reset
from services.control.gateway.streams import sse
from shared.errors import DeadlineExceeded, NotFound, Unavailable, WaystationError
from shared.pb import agent_v1

logger = logging.getLogger(__name__)

RETRY_S = 0.5
"""How often an agent that is away, and a run that waits for somebody, is asked again."""
SETTLE_S = 1.5
"""A number beyond the newest event that is known may be right for so long: what agents report comes a moment later."""
CHECK_S = 0.05


class RunStream:
    """Follows one run for one reader who has its events up to `after`.

    `newest` tells the number of the run's newest event as far as it is known; that may be a moment behind.
    """

    def __init__(
        self,
        agent: AgentPeer,
        run: agent_v1.Run,
        after: int,
        newest: Callable[[], Awaitable[int]],
        stopping: asyncio.Event,
    ) -> None:
        self._agent, self._run, self._cursor = agent, run, after
        self._newest, self._stopping = newest, stopping

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        """The run's events, then `end`.

        A stream from the agent that closes or breaks is not a run that finished: only the run's last event says so.
        While the agent is away, and while the run waits for somebody, this waits too.
        """
        is_checked = self._cursor <= self._run.last_sequence
        is_over = self._run.state in TERMINAL and is_checked and self._cursor == self._run.last_sequence
        while not is_over and not self._stopping.is_set():
            try:
                if not is_checked:
                    if reset := await self._check():
                        yield reset
                        is_over = self._run.state in TERMINAL
                    is_checked = True
                    continue
                async with aclosing(self._watch()) as events:
                    async for event in events:
                        yield sse(event.WhichOneof("payload") or "unknown", run_event_view(event), event.sequence)
                        is_over = is_last_event(event)
                is_over = is_over or await self._has_ended()
            except (DeadlineExceeded, Unavailable) as error:
                logger.debug("run %s is followed again in a moment: %s", self._run.run_id, error)
            except WaystationError as error:
                yield sse("end", _failed(error))
                return
            if not is_over:
                await self._pause(RETRY_S)
        yield sse("end", End(reason="finished" if is_over else "shutting_down"))

    async def _check(self) -> ServerSentEvent | None:
        """Go on after the run's newest event when the reader's number proves to be beyond it, and say so.

        Such a number is from before the run lost commits, or from another run.
        """
        if self._run.state not in TERMINAL:
            due = asyncio.get_running_loop().time() + SETTLE_S
            while (newest := await self._newest()) < self._cursor:
                if asyncio.get_running_loop().time() > due:
                    break
                await self._pause(CHECK_S)
            else:
                return None
        else:
            newest = self._run.last_sequence
        told = Reset(after=str(self._cursor), until=str(newest), cause="another_life", missed=None)
        self._cursor = newest
        return sse("reset", told, newest)

    async def _watch(self) -> AsyncGenerator[agent_v1.RunEvent, None]:
        async with aclosing(self._agent.watch_run(self._run.run_id, self._cursor)) as events:
            async for event in events:
                if event.sequence > self._cursor:
                    self._cursor = event.sequence
                    yield event

    async def _has_ended(self) -> bool:
        """Whether the reader has had the run's last event before."""
        run = await self._agent.get_run(self._run.run_id)
        return run.state in TERMINAL and self._cursor >= run.last_sequence

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


def _failed(error: WaystationError) -> End:
    return End(reason="gone" if isinstance(error, NotFound) else "interrupted", error=error_view(error))
