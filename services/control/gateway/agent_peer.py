"""The agent as the gateway sees it: found in the registry, asked over gRPC, its errors named in one place."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc

from services.control.registry.registry import Registry
from shared.errors import DeadlineExceeded, PeerUnavailable
from shared.pb import agent_v1, control_v1
from shared.rpc.channel import open_channel
from shared.rpc.status import peer_errors

CALL_TIMEOUT_S = 2.0
"""For what the projection can answer, too."""
ACT_TIMEOUT_S = 10.0
"""For what only the agent can do."""
WAIT_TIMEOUT_S = 60.0
"""For a start, which may wait for its turn on a thread, and for work on many runs."""
WATCH_TIMEOUT_S = 24 * 3600.0
"""A run's watcher may stay for a day; then it comes back with its cursor."""
REMEDY = "Start it with `waystation up`, or wait until it is back; spans and services are here meanwhile."
LATE_REMEDY = "It may have been done all the same: look, or send it again with the same request_id."

_USABLE = (control_v1.Health.STATE_SERVING, control_v1.Health.STATE_DEGRADED)


class AgentPeer:
    """Asks the agent. One channel is open at a time: to where the agent was seen last."""

    def __init__(self, registry: Registry, fallback_address: str) -> None:
        self._registry = registry
        self._fallback_address = fallback_address
        self._address = ""
        self._channel: grpc.aio.Channel | None = None
        self._watches: set[Any] = set()

    @asynccontextmanager
    async def runs(self) -> AsyncIterator["agent_v1.AgentServiceAsyncStub"]:
        """The agent's calls for runs; each needs a timeout.

        Within the context a failed call raises what the agent raised, or `PeerUnavailable` or `DeadlineExceeded`.
        """
        with _agent_errors():
            yield agent_v1.AgentServiceStub(await self._open())

    @asynccontextmanager
    async def guardian(self) -> AsyncIterator["agent_v1.GuardianServiceAsyncStub"]:
        """The agent's calls for those who intervene; as `runs`."""
        with _agent_errors():
            yield agent_v1.GuardianServiceStub(await self._open())

    async def get_run(self, run_id: str) -> agent_v1.Run:
        """Raises `NotFound`, what else the agent raises, and `Unavailable` errors when it is down."""
        async with self.runs() as agent:
            return (await agent.GetRun(agent_v1.GetRunRequest(run_id=run_id), timeout=CALL_TIMEOUT_S)).run

    async def watch_run(self, run_id: str, after_sequence: int) -> AsyncGenerator[agent_v1.RunEvent, None]:
        """Yield the run's events after a sequence number as they come. Raises as `get_run` does."""
        request = agent_v1.WatchRunRequest(run_id=run_id, after_sequence=after_sequence)
        async with self.runs() as agent:
            call = agent.WatchRun(request, timeout=WATCH_TIMEOUT_S)
            self._watches.add(call)
            try:
                async for response in call:
                    yield response.event
            finally:
                self._watches.discard(call)
                call.cancel()

    def end_watches(self) -> None:
        """Let every watch end with `Unavailable`."""
        for call in tuple(self._watches):
            call.cancel()

    async def close(self) -> None:
        """Close the channel."""
        if self._channel:
            await self._channel.close()

    async def _open(self) -> grpc.aio.Channel:
        address = self._find()
        if self._channel is None or address != self._address:
            # Calls on the old channel end with it: where it led there is no agent any more.
            former, self._address, self._channel = self._channel, address, open_channel(address)
            if former:
                await former.close()
        return self._channel

    def _find(self) -> str:
        # the newest first: the life before may have died at another address, and its lease not have lapsed yet
        agents = sorted(
            self._registry.snapshot("agent").instances,
            key=lambda each: each.register_time.ToNanoseconds(),
            reverse=True,
        )
        usable = [agent for agent in agents if agent.health.state in _USABLE]
        return next((agent.address for agent in (*usable, *agents)), self._fallback_address)


@contextmanager
def _agent_errors() -> Iterator[None]:
    try:
        with peer_errors("agent"):
            yield
    except PeerUnavailable as error:
        error.remedy = REMEDY
        raise
    except DeadlineExceeded as error:
        error.remedy = error.remedy or LATE_REMEDY
        raise
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task and task.cancelling():
            raise
        # the call was cancelled, not we: the agent is elsewhere now, or this process stops
        raise PeerUnavailable("The call to the agent was ended.", remedy=REMEDY, peer="agent") from None
