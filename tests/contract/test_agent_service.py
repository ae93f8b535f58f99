"""Runs over a real gRPC server: real graph, real stores, real capability services; the chat model is scripted."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.agent.arbitrator import Thresholds
from services.agent.checkpoint import tables
from services.agent.checkpoint.saver import Saver
from services.agent.graph import Limits, build_graph
from services.agent.peers import CapabilityPeers
from services.agent.ports import Ports
from services.agent.run_events import RunEvents
from services.agent.run_store import SCHEMA, RunStore
from services.agent.runs import MAX_QUERY_BYTES, Runs
from services.agent.servicer import AgentServicer, auto_workflow
from services.agent.settings import AgentSettings
from services.agent.state import Candidate, Recommendation
from shared.call_context import CallContext
from shared.capability import Artifact, Citation, Descriptor, Invocation, Output, Result, TextDelta
from shared.capability.servicer import CapabilityServicer
from shared.errors import (
    AlreadyExists,
    Forbidden,
    InvalidInput,
    ModelUnavailable,
    NotBuilt,
    NotFound,
    ThreadBusy,
    UnknownWorkflow,
    WaystationError,
    WrongState,
)
from shared.models.chat import ChatDelta, ChatMessage, ChatUsage, Completion
from shared.pb import agent_v1, capability_v1, common_v1
from shared.rpc.channel import open_channel
from shared.rpc.server import RpcServer
from shared.rpc.status import peer_errors
from shared.storage.database import Database

TERMINAL = (agent_v1.Run.STATE_SUCCEEDED, agent_v1.Run.STATE_FAILED, agent_v1.Run.STATE_CANCELLED)


class FakeService:
    """A capability service with memory and dials."""

    descriptor = Descriptor("coding", "Writes code.", ("python",), ("write a sort",))

    def __init__(self) -> None:
        self.calls: list[Invocation] = []
        self.failure: WaystationError | None = None
        self.hang = asyncio.Event()
        self.hang.set()
        self.was_called = asyncio.Event()
        self.is_closed = asyncio.Event()

    async def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
        self.calls.append(invocation)
        self.was_called.set()
        try:
            if self.failure:
                raise self.failure
            yield TextDelta("It is ")
            await self.hang.wait()
            yield TextDelta("sorted.")
            yield Artifact("a1", "code", "main.py", "text/x-python", "print(1)")
            yield Citation(1, "notes.md", start_line=3, end_line=4)
            yield Result("It is sorted.")
        finally:
            self.is_closed.set()


class ScriptedModel:
    """A chat model: decisions for schema-bound calls, words for the others."""

    def __init__(self) -> None:
        self.decisions: list[dict[str, str]] = []
        self.words = ["Hel", "lo."]
        self.failure: WaystationError | None = None

    async def complete(self, messages: Sequence[ChatMessage], **_: Any) -> Completion:
        if self.failure:
            raise self.failure
        return Completion(json.dumps(self.decisions.pop(0)))

    async def stream(self, messages: Sequence[ChatMessage], **_: Any) -> AsyncIterator[ChatDelta]:
        if self.failure:
            raise self.failure
        for word in self.words:
            yield ChatDelta(word)
        yield ChatDelta(usage=ChatUsage("scripted", 1, len(self.words)))


@dataclass
class FakeRouter:
    top: str = "coding"

    async def recommend(self, query: str) -> Recommendation:
        candidate = Candidate(service="coding", confidence=0.95, matched_tags=["python"], nearest_examples=["write"])
        return Recommendation(top=self.top, confidence=0.95, candidates=[candidate], router="embedding", latency_ms=2.0)


@dataclass
class FakeDirectory:
    address: str = ""

    def services(self) -> Sequence[Descriptor]:
        return [FakeService.descriptor]

    def address_of(self, capability: str) -> str:
        return self.address

    def is_idempotent(self, capability: str) -> bool:
        return False


@dataclass
class Mesh:
    """One agent and one capability service, served."""

    stub: agent_v1.AgentServiceStub
    service: FakeService
    model: ScriptedModel
    router: FakeRouter
    directory: FakeDirectory
    runs: Runs
    seen: list[agent_v1.RunEvent] = field(default_factory=list)

    async def start(self, query: str = "sort it", **fields: Any) -> agent_v1.Run:
        with peer_errors("agent"):
            return (await self.stub.StartRun(agent_v1.StartRunRequest(query=query, **fields), timeout=10)).run

    async def watch(self, run_id: str, after: int = 0) -> list[agent_v1.RunEvent]:
        request = agent_v1.WatchRunRequest(run_id=run_id, after_sequence=after)
        with peer_errors("agent"):
            return [message.event async for message in self.stub.WatchRun(request, timeout=20)]

    async def finish(self, query: str = "sort it", **fields: Any) -> agent_v1.Run:
        self.seen = await self.watch((await self.start(query, **fields)).run_id)
        return self.seen[-1].state_changed.run

    def payloads(self, kind: str) -> list[Any]:
        return [getattr(event, kind) for event in self.seen if event.WhichOneof("payload") == kind]


@asynccontextmanager
async def mesh(home: Path) -> AsyncIterator[Mesh]:
    service, model, router, directory = FakeService(), ScriptedModel(), FakeRouter(), FakeDirectory()
    async with AsyncExitStack() as stack:

        def add_capability(server: grpc.aio.Server) -> None:
            capability_v1.add_CapabilityServiceServicer_to_server(CapabilityServicer(service), server)

        served = await stack.enter_async_context(RpcServer("127.0.0.1", 0, add_capability, ()))
        directory.address = served.address
        database = Database(home / "agent.db", SCHEMA, tables.SCHEMA)
        database.open()
        stack.callback(database.close)
        store = RunStore(database)
        events = RunEvents(store)
        peers = CapabilityPeers(directory)  # type: ignore[arg-type]
        stack.push_async_callback(peers.close)
        ports = Ports(router, directory, peers, events, {"low": model, "medium": model, "high": model})
        graph = build_graph(ports, Limits(Thresholds(0.8, 0.5), 5, 5, 5), Saver(database))
        runs = Runs(graph, store, events, AgentSettings(home=home))

        def add_agent(server: grpc.aio.Server) -> None:
            servicer = AgentServicer(runs, router, auto_workflow("", 3))  # type: ignore[abstract]
            agent_v1.add_AgentServiceServicer_to_server(servicer, server)

        agent = await stack.enter_async_context(RpcServer("127.0.0.1", 0, add_agent, ()))
        channel = await stack.enter_async_context(open_channel(agent.address))
        await runs.recover()
        stack.push_async_callback(runs.drain)
        yield Mesh(agent_v1.AgentServiceStub(channel), service, model, router, directory, runs)


async def test_a_run_is_routed_decided_done_and_answered(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.model.decisions = [
            {"reason": "code", "next": "coding"},
            {"reason": "done", "next": "answer_now"},
        ]
        run = await made.finish()
    assert (run.state, run.answer, run.hop_count) == (agent_v1.Run.STATE_SUCCEEDED, "It is sorted.", 1)
    assert [item.source for item in run.citations] == ["notes.md"]
    kinds = [event.WhichOneof("payload") for event in made.seen]
    assert [kind for kind in kinds if kind != "text_produced"] == [
        "state_changed",
        "route_recommended",
        "decision_made",
        "hop_started",
        "artifact_made",
        "citation_found",
        "hop_ended",
        "decision_made",
        "state_changed",
    ]
    assert "".join(item.text for item in made.payloads("text_produced")) == "It is sorted."
    assert [event.sequence for event in made.seen] == list(range(1, len(made.seen) + 1))
    [call] = made.service.calls
    assert call.run_id == run.run_id
    assert call.idempotency_key.startswith(run.thread_id)


async def test_low_effort_follows_a_confident_router(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        await made.finish(effort=common_v1.EFFORT_LOW)
    sources = [item.decision.source for item in made.payloads("decision_made")]
    assert sources == [agent_v1.Decision.SOURCE_POLICY] * 2


async def test_small_talk_is_answered_without_a_hop(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.router.top = ""
        made.model.decisions = [{"reason": "small talk", "next": "answer_now"}]
        run = await made.finish("hi there")
    assert (run.answer, run.hop_count, made.service.calls) == ("Hello.", 0, [])


async def test_a_failing_service_is_a_typed_hop_error_and_the_run_goes_on(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.service.failure = Forbidden("Not here.")
        made.model.decisions = [
            {"reason": "code", "next": "coding"},
            {"reason": "cannot", "next": "answer_now"},
        ]
        run = await made.finish()
    [ended] = made.payloads("hop_ended")
    assert ended.error.reason == common_v1.ERROR_REASON_FORBIDDEN
    assert run.state == agent_v1.Run.STATE_SUCCEEDED
    assert "Not here." in run.answer and run.answer.endswith("Hello.")


async def test_a_service_that_is_away_does_not_hang_the_run(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.directory.address = "127.0.0.1:1"
        made.model.failure = ModelUnavailable("down")
        run = await made.finish()
    [ended] = made.payloads("hop_ended")
    assert ended.error.reason == common_v1.ERROR_REASON_PEER_UNAVAILABLE
    assert run.state == agent_v1.Run.STATE_FAILED
    assert run.error.reason == common_v1.ERROR_REASON_MODEL_UNAVAILABLE


async def test_hops_are_bounded(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.service.failure = Forbidden("Never.")
        made.model.decisions = [{"reason": "again", "next": "coding"}] * 5
        run = await made.finish()
    assert run.hop_count == 3
    assert made.payloads("decision_made")[-1].decision.source == agent_v1.Decision.SOURCE_POLICY


async def test_a_reader_can_leave_and_come_back_at_any_number(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await made.finish(effort=common_v1.EFFORT_LOW)
        for after in range(len(made.seen)):
            again = await made.watch(run.run_id, after)
            assert [event.sequence for event in again] == list(range(after + 1, len(made.seen) + 1))


async def test_a_repeated_request_id_is_the_same_run(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        first = await made.finish(effort=common_v1.EFFORT_LOW, request_id="r1")
        second = await made.start(effort=common_v1.EFFORT_LOW, request_id="r1")
        assert second.run_id == first.run_id
        assert len(made.service.calls) == 1
        with pytest.raises(AlreadyExists):
            await made.start("another question", request_id="r1")


async def test_a_thread_remembers_and_takes_one_run_at_a_time(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.service.hang.clear()
        first = await made.start(effort=common_v1.EFFORT_LOW)
        await made.service.was_called.wait()
        with pytest.raises(ThreadBusy):
            await made.start("and now?", thread_id=first.thread_id)
        made.service.hang.set()
        await made.watch(first.run_id)
        await made.finish("and now?", thread_id=first.thread_id, effort=common_v1.EFFORT_LOW)
        thread = (await made.stub.GetThread(agent_v1.GetThreadRequest(thread_id=first.thread_id))).thread
    assert [turn.query for turn in thread.turns] == ["sort it", "and now?"]


async def test_cancel_stops_the_hop_and_keeps_the_run(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.service.hang.clear()
        run = await made.start(effort=common_v1.EFFORT_LOW)
        await made.service.was_called.wait()
        await made.stub.CancelRun(agent_v1.CancelRunRequest(run_id=run.run_id, message="enough"))
        await asyncio.wait_for(made.service.is_closed.wait(), 2)
        ended = (await made.watch(run.run_id))[-1].state_changed.run
        assert (ended.state, ended.error.message) == (agent_v1.Run.STATE_CANCELLED, "enough")
        with pytest.raises(WrongState):
            await made.runs.resume(run.run_id)


async def test_a_drained_run_goes_on_from_its_last_commit(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.service.hang.clear()
        run = await made.start(effort=common_v1.EFFORT_LOW)
        await made.service.was_called.wait()
    async with mesh(tmp_path) as made:
        made.seen = await made.watch(run.run_id)
        ended = made.seen[-1].state_changed.run
    assert (ended.state, ended.answer) == (agent_v1.Run.STATE_SUCCEEDED, "It is sorted.")
    assert len(made.payloads("route_recommended")) == 1
    assert [item.cause for item in made.payloads("run_resumed")] == ["crash"]


BAD_QUERIES = [
    "",
    "   ",
    "x" * (MAX_QUERY_BYTES + 1),
    "x" * 1_000_000,
    "bin\x00ary",
    "bell\x07",
    "esc\x1b[31m",
    "\x9bC1",
]


@pytest.mark.parametrize("query", BAD_QUERIES, ids=range(len(BAD_QUERIES)))
async def test_a_bad_query_is_refused_and_no_run_is_made(tmp_path: Path, query: str) -> None:
    async with mesh(tmp_path) as made:
        with pytest.raises(InvalidInput) as caught:
            await made.start(query)
        assert caught.value.metadata["field"] == "query"
        assert not (await made.stub.ListRuns(agent_v1.ListRunsRequest())).runs


async def test_unknown_names_are_answered_with_the_known_ones(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        with pytest.raises(UnknownWorkflow) as unknown:
            await made.start(workflow="waltz")
        assert unknown.value.metadata["known"] == "auto"
        with pytest.raises(NotFound):
            await made.start(thread_id="thread-none")
        with pytest.raises(NotFound):
            await made.watch("run-none")
        with pytest.raises(NotFound), peer_errors("agent"):
            await made.stub.GetRun(agent_v1.GetRunRequest(run_id="run-none"))


async def test_what_is_not_built_says_so(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        with pytest.raises(NotBuilt, match="ForkRun"), peer_errors("agent"):
            await made.stub.ForkRun(agent_v1.ForkRunRequest(run_id="x"))


async def test_runs_are_listed_newest_first_in_pages(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        ids = [(await made.finish(f"question {n}", effort=common_v1.EFFORT_LOW)).run_id for n in range(5)]
        listed, token = [], ""
        while True:
            page = await made.stub.ListRuns(agent_v1.ListRunsRequest(page_size=2, page_token=token))
            listed += [run.run_id for run in page.runs]
            token = page.next_page_token
            if not token:
                break
        found = await made.stub.ListRuns(agent_v1.ListRunsRequest(text="QUESTION 3"))
    assert listed == ids[::-1]
    assert [run.run_id for run in found.runs] == [ids[3]]


async def test_each_step_leaves_a_checkpoint(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await made.finish(effort=common_v1.EFFORT_LOW)
        request = agent_v1.ListCheckpointsRequest(run_id=run.run_id, has_state=True)
        checkpoints = (await made.stub.ListCheckpoints(request)).checkpoints
    assert [list(item.next_nodes) for item in reversed(checkpoints)] == [
        ["__start__"],
        ["recommend_route"],
        ["decide_next"],
        ["call_capability"],
        ["decide_next"],
        ["respond"],
        [],
    ]
    assert checkpoints[0].state["answer"] == "It is sorted."
