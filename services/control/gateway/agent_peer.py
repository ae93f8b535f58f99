"""The agent as the gateway sees it: found in the registry, asked over gRPC."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import grpc

from services.control.registry.registry import Registry
from shared.errors import PeerUnavailable, Unavailable, WaystationError
from shared.pb import agent_v1, control_v1
from shared.rpc.channel import open_channel
from shared.rpc.status import peer_errors

CALL_TIMEOUT_S = 2.0
"""Then the projection answers."""
WATCH_TIMEOUT_S = 24 * 3600.0
"""A run's watcher may stay for a day; then it comes back with its cursor."""
REMEDY = "Start it with `waystation up`, or wait until it is back; spans and services are here meanwhile."

_USABLE = (control_v1.Health.STATE_SERVING, control_v1.Health.STATE_DEGRADED)


class AgentPeer:
    """Asks the agent for a run. One channel is open at a time: to where the agent was seen last."""

    def __init__(self, registry: Registry, fallback_address: str) -> None:
        self._registry = registry
        self._fallback_address = fallback_address
        self._address = ""
        self._channel: grpc.aio.Channel | None = None
        self._watches: set[Any] = set()

    async def get_run(self, run_id: str) -> agent_v1.Run:
        """Raises `NotFound`, what else the agent raises, and `Unavailable` errors when it is down."""
        stub = await self._stub()
        try:
            with peer_errors("agent"):
                return (await stub.GetRun(agent_v1.GetRunRequest(run_id=run_id), timeout=CALL_TIMEOUT_S)).run
        except Unavailable as error:
            raise _with_remedy(error) from error

    async def watch_run(self, run_id: str, after_sequence: int) -> AsyncGenerator[agent_v1.RunEvent, None]:
        """Yield the run's events after a sequence number as they come. Raises as `get_run` does."""
        stub = await self._stub()
        request = agent_v1.WatchRunRequest(run_id=run_id, after_sequence=after_sequence)
        call = stub.WatchRun(request, timeout=WATCH_TIMEOUT_S)
        self._watches.add(call)
        try:
            with peer_errors("agent"):
                async for response in call:
                    yield response.event
        except Unavailable as error:
            raise _with_remedy(error) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task and task.cancelling():
                raise
            # the call was cancelled, not we: the agent is elsewhere now, or this process stops
            raise PeerUnavailable("The watch of the run was ended.", remedy=REMEDY, peer="agent") from None
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

    async def _stub(self) -> "agent_v1.AgentServiceAsyncStub":
        address = self._find()
        if self._channel is None or address != self._address:
            # Watches on the old channel end with it: where it led there is no agent any more.
            await self.close()
            self._address, self._channel = address, open_channel(address)
        return agent_v1.AgentServiceStub(self._channel)

    def _find(self) -> str:
        # the newest first: the life before may have died at another address, and its lease not have lapsed yet
        agents = sorted(
            self._registry.snapshot("agent").instances,
            key=lambda each: each.register_time.ToNanoseconds(),
            reverse=True,
        )
        usable = [agent for agent in agents if agent.health.state in _USABLE]
        return next((agent.address for agent in (*usable, *agents)), self._fallback_address)


def _with_remedy(error: WaystationError) -> WaystationError:
    error.remedy = REMEDY
    return error
