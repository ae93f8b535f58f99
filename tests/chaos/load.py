"""Runs that are started while processes die: each is asked for until it is acknowledged, and watched to its end."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import grpc

from shared.pb import agent_v1, common_v1
from tests.chaos.counting import LETTERS
from tests.chaos.processes import Mesh, Process

LIVE = 8
CALL_TIMEOUT_S = 5.0
PAUSE_S = 0.05
LETTERS_FROM_OUTSIDE = 3

QUERIES = {
    "inside": "count inside, item {}",
    "outside": "count outside, item {}",
    "story": "tell the story number {}",
    "code": "code: double a number, {}",
    "fact": "what is the retention of backups? {}",
    "sum": "sum up 2 and {}",
    "letters": LETTERS + ", item {}",
}
"""The kinds of runs; each needs another service."""

SERVICES = ("tally", "outside", "post", "rag", "coding", "tools")
"""What the agent calls."""
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.enable_http_proxy", 0),
)
ENDED = (agent_v1.Run.STATE_SUCCEEDED, agent_v1.Run.STATE_FAILED, agent_v1.Run.STATE_CANCELLED)


@dataclass
class Tracked:
    """A run that the agent has acknowledged, and what was seen of it as it went."""

    run_id: str
    kind: str
    query: str
    events: list[agent_v1.RunEvent] = field(default_factory=list)
    """As they arrived, over all connections."""
    sent: list[str] = field(default_factory=list)
    """The ids of messages to it that the agent has acknowledged."""

    @property
    def run(self) -> agent_v1.Run | None:
        """The run as its newest event shows it."""
        states = [event.state_changed.run for event in self.events if event.HasField("state_changed")]
        return states[-1] if states else None

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self.run is not None and self.run.state in ENDED

    @property
    def asks(self) -> bool:
        """Whether it waits for a person."""
        return self.run is not None and self.run.state == agent_v1.Run.STATE_INPUT_REQUIRED


class Load:
    """Keeps `LIVE` runs under way while it has a quota. Start runs only when `gate` is ready."""

    def __init__(self, mesh: Mesh, kinds: Sequence[str], rng: random.Random, label: str, gate: Process) -> None:
        self._mesh, self._kinds, self._rng, self._label, self._gate = mesh, kinds, rng, label, gate
        self._quota = asyncio.Semaphore(0)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stub: agent_v1.AgentServiceAsyncStub
        self._number = 0
        self._has_started = asyncio.Event()
        self.is_stopping = False
        self.tracked: list[Tracked] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep runs going while the context lasts; at its end no more are started."""
        async with grpc.aio.insecure_channel(self._mesh.address, options=_OPTIONS) as channel:
            self._stub = agent_v1.AgentServiceStub(channel)
            self._tasks = {asyncio.create_task(self._keep_one_going()) for _ in range(LIVE)}
            try:
                yield
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    def permit(self, runs: int) -> None:
        """Let so many more runs be started."""
        self._has_started.clear()
        for _ in range(runs):
            self._quota.release()

    async def wait_for_start(self, timeout_s: float) -> None:
        """Return when a run has been started since runs were last permitted, or after `timeout_s`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._has_started.wait(), timeout_s)

    @property
    def is_idle(self) -> bool:
        """Whether all that was permitted has been done."""
        return self._quota.locked() and all(item.has_ended or item.asks for item in self.tracked)

    async def settle(self, timeout_s: float) -> None:
        """Start nothing more, and wait until every acknowledged run has ended or asks, at most so long."""
        self.is_stopping = True
        end = asyncio.get_running_loop().time() + timeout_s
        while asyncio.get_running_loop().time() < end and not all(item.has_ended or item.asks for item in self.tracked):
            await asyncio.sleep(PAUSE_S)

    async def replay(self, tracked: Tracked) -> list[agent_v1.RunEvent]:
        """The run's events as they are stored now, from the first."""
        request = agent_v1.WatchRunRequest(run_id=tracked.run_id)
        events: list[agent_v1.RunEvent] = []
        try:
            async for message in self._stub.WatchRun(request, timeout=CALL_TIMEOUT_S, wait_for_ready=True):
                events.append(message.event)
                if len(events) >= len(tracked.events) and (tracked.has_ended or tracked.asks):
                    break
        except grpc.aio.AioRpcError:
            pass  # what is missing will be noticed by whoever compares
        return events

    async def _keep_one_going(self) -> None:
        while True:
            await self._quota.acquire()
            await self._gate.ready.wait()
            kind = self._rng.choice(self._kinds)
            await self._wait_until_known(kind)
            if self.is_stopping:
                return
            self._number += 1
            tracked = await self._start(kind, f"{self._label}-{self._number}")
            if tracked:
                self.tracked.append(tracked)
                self._has_started.set()
                if kind == "letters":
                    await asyncio.gather(self._follow(tracked), self._write(tracked))
                else:
                    await self._follow(tracked)

    async def _wait_until_known(self, kind: str) -> None:
        """Return when the agent knows a service that has just been restarted, lest it answer without it."""
        request = agent_v1.RecommendRouteRequest(query=QUERIES[kind].format("one"))
        while self._gate.name in SERVICES and not self.is_stopping:
            with suppress(grpc.aio.AioRpcError):
                found = await self._stub.RecommendRoute(request, timeout=CALL_TIMEOUT_S)
                if self._gate.name in {item.service for item in found.recommendation.candidates}:
                    return
            await asyncio.sleep(PAUSE_S)

    async def _start(self, kind: str, name: str) -> Tracked | None:
        """Ask with one request id until there is an answer; None when it never came and none is wanted any more."""
        query = QUERIES[kind].format(name)
        request = agent_v1.StartRunRequest(query=query, request_id=name)
        while not self.is_stopping:
            try:
                run = (await self._stub.StartRun(request, timeout=CALL_TIMEOUT_S, wait_for_ready=True)).run
                return Tracked(run.run_id, kind, query)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(PAUSE_S)
        return None

    async def _write(self, tracked: Tracked) -> None:
        """Send messages to the run from outside, each until the agent has it or says that the run has ended."""
        for number in range(LETTERS_FROM_OUTSIDE):
            await asyncio.sleep(self._rng.uniform(0.0, 0.1))
            message = common_v1.A2aMessage(message_id=f"outside-{number}", recipient_role="post")
            message.payload.update({"number": number})
            request = agent_v1.SendMessageRequest(run_id=tracked.run_id, message=message)
            while not (tracked.has_ended or self.is_stopping):
                try:
                    await self._stub.SendMessage(request, timeout=CALL_TIMEOUT_S, wait_for_ready=True)
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(PAUSE_S)
                else:
                    tracked.sent.append(message.message_id)
                    break

    async def messages(self, tracked: Tracked) -> list[common_v1.A2aMessage]:
        """The run's messages as they are stored now."""
        request = agent_v1.ListMessagesRequest(run_id=tracked.run_id, page_size=500)
        try:
            found = await self._stub.ListMessages(request, timeout=CALL_TIMEOUT_S, wait_for_ready=True)
        except grpc.aio.AioRpcError:
            return []  # what is missing will be noticed by whoever compares
        return list(found.messages)

    async def _follow(self, tracked: Tracked) -> None:
        while not (tracked.has_ended or tracked.asks):
            after = tracked.events[-1].sequence if tracked.events else 0
            request = agent_v1.WatchRunRequest(run_id=tracked.run_id, after_sequence=after)
            try:
                async for message in self._stub.WatchRun(request, timeout=CALL_TIMEOUT_S, wait_for_ready=True):
                    tracked.events.append(message.event)
                    if tracked.asks:
                        break
            except grpc.aio.AioRpcError:
                pass  # the agent is being killed: go on from the last event
            await asyncio.sleep(PAUSE_S)

    async def cancel_rest(self) -> None:
        """Cancel what has not ended, so that it does not disturb what comes next."""
        for tracked in self.tracked:
            if not tracked.has_ended:
                with suppress(grpc.aio.AioRpcError):  # it has been counted as it was
                    await self._stub.CancelRun(agent_v1.CancelRunRequest(run_id=tracked.run_id), timeout=CALL_TIMEOUT_S)
