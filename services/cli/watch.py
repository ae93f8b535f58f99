"""Watches a run: its events in order, each once, however often the stream breaks."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from services.cli.mesh import calling
from shared.errors import Cancelled, DeadlineExceeded, PeerProtocol, Unavailable, WaystationError
from shared.pb import agent_v1

STREAM_TIMEOUT_S = 3600.0
TERMINAL = (agent_v1.Run.STATE_SUCCEEDED, agent_v1.Run.STATE_FAILED, agent_v1.Run.STATE_CANCELLED)


@dataclass(frozen=True)
class Patience:
    """How long a broken stream is taken up again."""

    total_s: float = 60.0
    """Since the last event or answer; then the error is raised."""
    first_s: float = 0.2
    longest_s: float = 2.0


class RunWatch:
    """Reads a run's events from `after_sequence` on. `on_break` hears of each break once, `on_return` of its end."""

    def __init__(
        self,
        agent: "agent_v1.AgentServiceAsyncStub",
        run_id: str,
        *,
        after_sequence: int = 0,
        patience: Patience | None = None,
        on_break: Callable[[WaystationError], None],
        on_return: Callable[[], None],
    ) -> None:
        self._agent = agent
        self._run_id = run_id
        self._sequence = after_sequence
        self._patience = patience or Patience()
        self._on_break = on_break
        self._on_return = on_return
        self._broken_since: float | None = None

    async def events(self) -> AsyncIterator[agent_v1.RunEvent]:
        """The events, up to the run's last one. Raises what the agent raises, and `Unavailable` out of patience."""
        delay_s = self._patience.first_s
        while True:
            try:
                async for event in self._stream():
                    delay_s = self._patience.first_s
                    yield event
                    if is_last(event):
                        return
                # the stream was closed before the run's end: its server is leaving
                await self._note_break(PeerProtocol("The stream ended before the run did.", peer="agent"), delay_s)
            except DeadlineExceeded:
                continue
            except (Unavailable, Cancelled) as error:
                await self._note_break(error, delay_s)
            delay_s = min(delay_s * 2, self._patience.longest_s)

    async def _stream(self) -> AsyncIterator[agent_v1.RunEvent]:
        request = agent_v1.WatchRunRequest(run_id=self._run_id, after_sequence=self._sequence)
        with calling("agent"):
            async for response in self._agent.WatchRun(request, timeout=STREAM_TIMEOUT_S):
                if self._broken_since is not None:
                    self._broken_since = None
                    self._on_return()
                if response.event.sequence > self._sequence:
                    self._sequence = response.event.sequence
                    yield response.event

    async def _note_break(self, error: WaystationError, delay_s: float) -> None:
        now = time.monotonic()
        if self._broken_since is None:
            self._broken_since = now
            self._on_break(error)
        elif now - self._broken_since > self._patience.total_s:
            raise error
        await asyncio.sleep(delay_s)


def is_last(event: agent_v1.RunEvent) -> bool:
    """Whether it is the run's last event."""
    return event.WhichOneof("payload") == "state_changed" and event.state_changed.run.state in TERMINAL
