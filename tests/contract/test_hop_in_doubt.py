"""A hop whose call breaks off: what is in doubt is asked about, what is not is a hop that failed."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from langgraph.runtime import Runtime

from services.agent.nodes import settle_doubt
from services.agent.nodes.call_capability import CallStep, call_capability
from services.agent.peer_load import PeerLoad
from services.agent.peers import CapabilityPeers
from services.agent.ports import HopTask, Moved, Ports
from services.agent.state import Doubt, RunContext, RunState
from shared.call_context import CallContext, EffectKeys, serving
from shared.capability import Descriptor, Output, Result, TextDelta
from shared.errors import (
    DeadlineExceeded,
    Forbidden,
    IdempotencyMismatch,
    InDoubt,
    LimitExceeded,
    ModelUnavailable,
    PeerUnavailable,
    WaystationError,
)
from shared.pb import agent_v1, capability_v1
from shared.rpc.interceptors.idempotency import REPEAT_KEY
from shared.rpc.status import status_code, to_trailers
from tests.fakes.no_mail import NoMail

RUN = RunContext("run", "thread", "c")
STATE = RunState(
    query="count",
    effort="medium",
    hops=[],
    max_hops=3,
    max_cycles=0,
    current_cycle=0,
    decision={"capability": "counter", "action": "call"},  # type: ignore[typeddict-item]
)


@dataclass
class Directory:
    """Knows one service."""

    address: str = ""
    is_harmless: bool = False

    def services(self) -> Sequence[Descriptor]:
        return []

    def address_of(self, capability: str) -> str:
        return self.address

    def addresses_of(self, capability: str) -> Sequence[str]:
        return [self.address] if self.address else []

    def addresses(self) -> Sequence[str]:
        return self.addresses_of("")

    def is_idempotent(self, capability: str) -> bool:
        return self.is_harmless


@dataclass
class Service(capability_v1.CapabilityServiceServicer):
    """Answers, raises, or breaks off in the middle by taking its server away."""

    failure: WaystationError | None = None
    breaks: bool = False
    server: Any = None
    requests: list[capability_v1.InvokeRequest] = field(default_factory=list)
    repeats: list[bool] = field(default_factory=list)

    async def Invoke(self, request: capability_v1.InvokeRequest, context: Any) -> AsyncIterator[Any]:
        self.requests.append(request)
        self.repeats.append((REPEAT_KEY, "1") in {(key, value) for key, value in context.invocation_metadata()})
        if self.failure:
            await context.abort(status_code(self.failure), self.failure.message, to_trailers(self.failure))
        if self.breaks:
            yield capability_v1.InvokeResponse(text_delta=capability_v1.TextDelta(text="half"))
            asyncio.create_task(self.server.stop(0))  # noqa: RUF006
            await asyncio.Event().wait()
        yield capability_v1.InvokeResponse(result=capability_v1.Result(text="one", is_replayed=len(self.requests) > 1))


@asynccontextmanager
async def calling(service: Service, *, is_idempotent: bool = False) -> AsyncIterator[CapabilityPeers]:
    service.server = grpc.aio.server()
    capability_v1.add_CapabilityServiceServicer_to_server(service, service.server)
    port = service.server.add_insecure_port("127.0.0.1:0")
    await service.server.start()
    peers = CapabilityPeers(Directory(f"127.0.0.1:{port}", is_idempotent), PeerLoad())  # type: ignore[arg-type]
    try:
        yield peers
    finally:
        await peers.close()
        await service.server.stop(0)


async def invoke(peers: CapabilityPeers, **options: Any) -> list[Output]:
    task = HopTask("count", "medium", "thread/task/hop/0", 0, 2, options.pop("timeout_s", 5.0), "call", **options)
    return [output async for output in peers.invoke("counter", task, RUN) if not isinstance(output, Moved)]


async def test_a_call_that_breaks_off_is_in_doubt() -> None:
    async with calling(Service(breaks=True)) as peers:
        with pytest.raises(InDoubt, match="counter broke off") as caught:
            await invoke(peers)
    assert caught.value.metadata == {"capability": "counter", "idempotency_key": "thread/task/hop/0"}


async def test_a_harmless_call_that_breaks_off_has_just_failed() -> None:
    async with calling(Service(breaks=True), is_idempotent=True) as peers:
        with pytest.raises(PeerUnavailable):
            await invoke(peers)


@pytest.mark.parametrize("failure", [DeadlineExceeded("late"), PeerUnavailable("its peer is away", peer="x")])
async def test_what_leaves_the_effect_open_is_in_doubt(failure: WaystationError) -> None:
    async with calling(Service(failure)) as peers:
        with pytest.raises(InDoubt):
            await invoke(peers)


@pytest.mark.parametrize("failure", [Forbidden("no"), ModelUnavailable("away"), LimitExceeded("full")])
async def test_what_the_service_says_of_itself_is_believed(failure: WaystationError) -> None:
    async with calling(Service(failure)) as peers:
        with pytest.raises(type(failure)):
            await invoke(peers)


@pytest.mark.parametrize(("address", "said"), [("127.0.0.1:1", "cannot be reached"), ("", "is not there")])
async def test_what_was_not_sent_is_in_doubt_only_when_it_may_have_been_sent_before(address: str, said: str) -> None:
    peers = CapabilityPeers(Directory(address), PeerLoad(), patience_s=0.2)  # type: ignore[arg-type]
    with pytest.raises(PeerUnavailable, match=said):
        await invoke(peers)
    with pytest.raises(InDoubt, match=said):
        await invoke(peers, may_have_run=True)
    await peers.close()


async def test_a_call_that_may_have_been_made_waits_for_its_service_to_come_back() -> None:
    directory = Directory("")
    async with calling(Service()) as peers:
        address = peers._directory.address_of("counter")
        waiting = CapabilityPeers(directory, PeerLoad())  # type: ignore[arg-type]
        call = asyncio.create_task(invoke(waiting, may_have_run=True))
        await asyncio.sleep(0)  # it looks once, in vain
        directory.address = address
        assert await call == [Result("one")]
        await waiting.close()


async def test_the_decision_to_repeat_travels_with_the_call_and_its_key() -> None:
    service = Service()
    async with calling(service) as peers:
        assert await invoke(peers) == [Result("one")]
        assert await invoke(peers, repeats_in_doubt=True) == [Result("one", is_replayed=True)]
    assert service.repeats == [False, True]
    assert {request.ids.idempotency_key for request in service.requests} == {"thread/task/hop/0"}


@dataclass
class Capabilities:
    """Yields a text and then raises, or a replayed result."""

    failure: WaystationError | None
    moves_to: str = ""
    refused_key: str = ""
    """The only one that the failure is for; empty for any."""
    tasks: list[HopTask] = field(default_factory=list)

    async def invoke(self, capability: str, task: HopTask, run_context: RunContext) -> AsyncIterator[Output | Moved]:
        self.tasks.append(task)
        if self.moves_to:
            yield Moved(self.moves_to)
        yield TextDelta("half")
        if self.failure and self.refused_key in ("", task.idempotency_key):
            raise self.failure
        yield Result("whole", is_replayed=True)


@dataclass
class Events:
    payloads: list[Any] = field(default_factory=list)

    def emit(self, run_id: str, payload: Message) -> "Future[None]":
        self.payloads.append(payload)
        stored: Future[None] = Future()
        stored.set_result(None)
        return stored

    def flush(self, run_id: str) -> None:
        pass

    def emit_text(self, run_id: str, text: str, step: str, hop_index: int) -> None:
        pass


async def step(
    capabilities: Capabilities,
    events: Events,
    open_hops: Mapping[int, str] | None = None,
    open_addresses: Mapping[int, str] | None = None,
    is_harmless: bool = False,
    state: RunState = STATE,
) -> RunState:
    ports = Ports(Any, Directory(is_harmless=is_harmless), capabilities, events, NoMail(), {})  # type: ignore[arg-type]
    runtime = Runtime(
        context=RunContext("run", "thread", "c", open_hops=open_hops or {}, open_addresses=open_addresses or {})
    )
    with serving(CallContext(effect_keys=EffectKeys("thread/task"))):
        return await call_capability(ports, CallStep("call", 5.0))(state, runtime=runtime)


async def test_doubt_is_left_in_the_state_and_ends_no_hop() -> None:
    events = Events()
    state = await step(Capabilities(InDoubt("who knows")), events)
    doubt = {"index": 0, "step": "call", "role": "", "capability": "counter", "key": "thread/task/hop/0"}
    assert state == {"doubts": {"call": doubt | {"message": "who knows"}}}
    assert [type(payload) for payload in events.payloads] == [agent_v1.HopStarted]


async def test_any_other_failure_is_a_hop_that_failed() -> None:
    state = await step(Capabilities(Forbidden("no")), Events())
    assert [hop["error"] for hop in state["hops"]] == ["FORBIDDEN"]


async def test_a_hop_has_the_key_of_its_step_unless_an_earlier_attempt_began_it_under_another() -> None:
    capabilities, events = Capabilities(None), Events()
    for open_hops in ({}, {0: "thread/older/hop/0"}, {1: "thread/later/hop/0"}):
        state = await step(capabilities, events, open_hops)
        assert state["hops"][0]["text"] == "whole"
    assert [(task.idempotency_key, task.may_have_run) for task in capabilities.tasks] == [
        ("thread/task/hop/0", False),
        ("thread/older/hop/0", True),
        ("thread/task/hop/0", False),
    ]
    assert events.payloads[-1].is_replayed


async def test_another_request_under_the_key_of_an_earlier_attempt_is_in_doubt() -> None:
    state = await step(Capabilities(IdempotencyMismatch("other")), Events(), {0: "thread/task/hop/0"})
    doubt = state["doubts"]["call"]
    assert doubt and doubt["key"] == "thread/task/hop/0/anew"


async def test_a_harmless_call_that_asks_for_something_else_by_now_is_made_under_another_key() -> None:
    capabilities = Capabilities(IdempotencyMismatch("other"), refused_key="thread/task/hop/0")
    state = await step(capabilities, Events(), {0: "thread/task/hop/0"}, is_harmless=True)
    assert [task.idempotency_key for task in capabilities.tasks] == ["thread/task/hop/0", "thread/task/hop/0/anew"]
    assert state["hops"][0]["text"] == "whole"


@pytest.mark.parametrize(
    ("open_hops", "is_harmless", "may_have_happened"),
    [({0: "thread/task/hop/0"}, False, True), ({0: "thread/task/hop/0"}, True, False), ({}, False, False)],
)
async def test_a_call_that_is_left_out_after_an_attempt_began_it_says_that_its_effect_may_have_happened(
    open_hops: Mapping[int, str], is_harmless: bool, may_have_happened: bool
) -> None:
    capabilities, state = Capabilities(None), STATE | RunState(skipped_steps={"call": 0})
    [hop] = (await step(capabilities, Events(), open_hops, is_harmless=is_harmless, state=state))["hops"]
    assert hop["error"] == "CANCELLED" and capabilities.tasks == []
    assert hop["message"].startswith("A guardian left this call out.")
    assert ("its effect may have happened" in hop["message"]) is may_have_happened


async def test_a_doubt_about_what_was_edited_is_asked_about_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settle_doubt, "ask", lambda *_: settle_doubt.REPEAT)
    capabilities = Capabilities(IdempotencyMismatch("other"), refused_key="key")
    ports = Ports(Any, Directory(), capabilities, Events(), NoMail(), {})  # type: ignore[arg-type]
    node = settle_doubt.settle_doubt(ports, {"call": CallStep("call", 5.0)})
    doubt = Doubt(index=0, step="call", role="", capability="counter", key="key", message="who knows")
    again = await node(STATE | RunState(doubts={"call": doubt}), runtime=Runtime(context=RUN))
    anew = again["doubts"]["call"]
    assert anew and anew["key"] == "key/anew" and "something else" in anew["message"]
    settled = await node(STATE | again, runtime=Runtime(context=RUN))
    assert settled["hops"][0]["text"] == "whole" and settled["doubts"] == {"call": None}


async def test_a_hop_says_anew_where_its_call_goes_before_it_is_sent() -> None:
    events = Events()
    state = await step(Capabilities(None, moves_to="127.0.0.1:2"), events)
    starts = [payload for payload in events.payloads if isinstance(payload, agent_v1.HopStarted)]
    assert [start.address for start in starts] == ["", "127.0.0.1:2"]
    assert {(start.hop_index, start.idempotency_key) for start in starts} == {(0, "thread/task/hop/0")}
    assert state["hops"][0]["text"] == "whole"


async def test_a_call_that_may_have_been_made_is_made_where_it_went() -> None:
    capabilities, events = Capabilities(None), Events()
    await step(capabilities, events, {0: "thread/older/hop/0"}, {0: "127.0.0.1:9"})
    assert [(task.address, task.may_have_run) for task in capabilities.tasks] == [("127.0.0.1:9", True)]
    assert events.payloads[0].address == "127.0.0.1:9"
