"""One key, one effect: the ledger behind a real server and in a real file, with handlers that fail, hang and die."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import grpc
import pytest

from shared.call_context import CallContext
from shared.capability import (
    Artifact,
    Citation,
    Commit,
    Descriptor,
    Invocation,
    Output,
    Result,
    TextDelta,
    ToolCall,
    ToolResult,
    Usage,
    Yield,
)
from shared.capability.serve import idempotency
from shared.capability.servicer import CapabilityServicer
from shared.capability.wire import output_from_proto
from shared.errors import (
    DeadlineExceeded,
    Forbidden,
    IdempotencyMismatch,
    InDoubt,
    InternalError,
    InvalidInput,
    ModelUnavailable,
    StorageUnavailable,
)
from shared.pb import capability_v1, common_v1
from shared.rpc.channel import open_channel
from shared.rpc.interceptors.idempotency import MAX_CALL_KEY_CHARS, REPEAT_KEY
from shared.rpc.server import RpcServer
from shared.rpc.status import peer_errors
from shared.storage.database import Database, Schema
from shared.storage.ledger import SCHEMA, Ledger

COUNTER = Schema("counter", ("CREATE TABLE counts (task TEXT)",))
Work = Callable[[Invocation, CallContext], AsyncIterator[Yield]]


class Counting:
    """A capability that counts how often it ran; `work` is what a call does."""

    def __init__(self, work: Work, is_idempotent: bool = False, is_transactional: bool = False) -> None:
        self.descriptor = Descriptor(
            "count", "Counts.", ("count",), is_idempotent=is_idempotent, is_transactional=is_transactional
        )
        self.runs = 0
        self._work = work

    async def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Yield]:
        self.runs += 1
        async for output in self._work(invocation, call):
            yield output


class Caller:
    """Calls with one key, unless told otherwise, and returns what came, or raises it."""

    def __init__(self, stub: "capability_v1.CapabilityServiceAsyncStub", database: Database) -> None:
        self._stub, self.database = stub, database

    async def invoke(
        self,
        task: str = "go",
        key: str = "t/1/0",
        *,
        repeats: bool = False,
        correlation_id: str = "",
        timeout: float = 5,
    ) -> list[Output | None]:
        request = capability_v1.InvokeRequest(task=task, ids=common_v1.CallIds(thread_id="t", idempotency_key=key))
        request.ids.correlation_id = correlation_id
        metadata = ((REPEAT_KEY, "1"),) if repeats else ()
        with peer_errors("count"):
            call = self._stub.Invoke(request, timeout=timeout, metadata=metadata)
            return [output_from_proto(message) async for message in call]

    async def count(self) -> object:
        return await self.database.read(lambda connection: connection.execute("SELECT count(*) FROM counts").get)


@asynccontextmanager
async def served(capability: Counting, folder: Path) -> AsyncIterator[Caller]:
    database = Database(folder / "ledger.db", SCHEMA, COUNTER)
    database.open()

    def add(server: grpc.aio.Server) -> None:
        capability_v1.add_CapabilityServiceServicer_to_server(CapabilityServicer(capability), server)

    interceptor = idempotency(Ledger(database), capability.descriptor)
    try:
        async with RpcServer("127.0.0.1", 0, add, (), (interceptor,)) as server:
            async with open_channel(server.address) as channel:
                yield Caller(capability_v1.CapabilityServiceStub(channel), database)
    finally:
        database.close()


async def answer(invocation: Invocation, call: CallContext) -> AsyncIterator[Yield]:
    yield Result(invocation.task)


async def everything(invocation: Invocation, call: CallContext) -> AsyncIterator[Yield]:
    for output in ALL:
        yield output


ALL: list[Output] = [
    TextDelta("It "),
    TextDelta("is "),
    ToolCall("1", "echo", {"deep": {"list": [1.0, "two"]}}),
    ToolResult("1", "echo", "two"),
    TextDelta("so."),
    Artifact("a1", "code", "main.py", "text/x-python", "print(1)"),
    Citation(1, "notes.md", start_line=3, end_line=4),
    Usage("m", 10, 20),
    Result("It is so."),
]
ALL_REPLAYED = [TextDelta("It is "), *ALL[2:-1], Result("It is so.", is_replayed=True)]
KINDS = pytest.mark.parametrize("kind", [{}, {"is_idempotent": True}, {"is_transactional": True}], ids=str)


@KINDS
async def test_a_repeated_key_gets_the_whole_recorded_stream(tmp_path: Path, kind: dict[str, Any]) -> None:
    capability = Counting(everything, **kind)
    async with served(capability, tmp_path) as caller:
        assert await caller.invoke(correlation_id="first") == ALL
        assert await caller.invoke(correlation_id="second") == ALL_REPLAYED
    async with served(capability, tmp_path) as caller:  # the process was restarted
        assert await caller.invoke() == ALL_REPLAYED
        assert await caller.invoke(key="t/2/0") == ALL
        assert await caller.invoke(key="") == ALL
    assert capability.runs == 3


@KINDS
async def test_a_terminal_error_is_replayed_with_what_came_before_it(tmp_path: Path, kind: dict[str, Any]) -> None:
    async def refuse(invocation: Invocation, call: CallContext) -> AsyncIterator[Yield]:
        yield TextDelta("No.")
        raise Forbidden("Not this.", remedy="Ask for that.", rule="no-this")

    capability = Counting(refuse, **kind)
    async with served(capability, tmp_path) as caller:
        for _ in range(2):
            with pytest.raises(Forbidden) as caught:
                await caller.invoke()
            error = caught.value
            assert error.metadata.pop("correlation_id")  # that of the call, not that of the recorded one
            assert (error.message, error.remedy, error.metadata) == ("Not this.", "Ask for that.", {"rule": "no-this"})
    assert capability.runs == 1


async def test_the_unforeseen_is_an_outcome_without_its_text(tmp_path: Path) -> None:
    async def burst(invocation: Invocation, call: CallContext) -> AsyncIterator[Yield]:
        raise ValueError("secret-token-123")
        yield

    capability = Counting(burst)
    async with served(capability, tmp_path) as caller:
        for _ in range(2):
            with pytest.raises(InternalError) as caught:
                await caller.invoke()
            assert "secret" not in str(caught.value)
    assert capability.runs == 1
    assert b"secret" not in stored(tmp_path)


async def test_another_request_with_the_key_is_refused(tmp_path: Path) -> None:
    capability = Counting(answer)
    async with served(capability, tmp_path) as caller:
        await caller.invoke("one")
        with pytest.raises(IdempotencyMismatch, match="belongs to another request"):
            await caller.invoke("two")
        with pytest.raises(InvalidInput, match="idempotency key has"):
            await caller.invoke(key="k" * (MAX_CALL_KEY_CHARS + 1))
    assert capability.runs == 1


async def unsteady(invocation: Invocation, call: CallContext) -> AsyncIterator[Yield]:
    raise ModelUnavailable("The model is away.")
    yield


@pytest.mark.parametrize("kind", [{"is_idempotent": True}, {"is_transactional": True}], ids=str)
async def test_what_passes_is_no_outcome_where_repeating_is_harmless(tmp_path: Path, kind: dict[str, Any]) -> None:
    capability = Counting(unsteady, **kind)
    async with served(capability, tmp_path) as caller:
        for _ in range(2):
            with pytest.raises(ModelUnavailable):
                await caller.invoke()
    assert capability.runs == 2


async def test_what_passes_leaves_other_effects_in_doubt_until_somebody_decides(tmp_path: Path) -> None:
    capability = Counting(unsteady)
    async with served(capability, tmp_path) as caller:
        with pytest.raises(ModelUnavailable):
            await caller.invoke()
    async with served(capability, tmp_path) as caller:
        with pytest.raises(InDoubt, match=r"Attempt 1 of t/1/0 .* outcome is not known") as caught:
            await caller.invoke()
        assert "have it repeated" in caught.value.remedy and caught.value.metadata["idempotency_key"] == "t/1/0"
        with pytest.raises(ModelUnavailable):
            await caller.invoke(repeats=True)
        with pytest.raises(InDoubt, match="Attempt 2"):
            await caller.invoke()
    assert capability.runs == 2
    mended = Counting(answer)
    async with served(mended, tmp_path) as caller:
        assert await caller.invoke(repeats=True) == [Result("go")]
        assert await caller.invoke(repeats=True) == [Result("go", is_replayed=True)]
    assert mended.runs == 1


async def test_an_effect_in_the_file_is_committed_with_its_outcome_and_once(tmp_path: Path) -> None:
    async def count(invocation: Invocation, call: CallContext) -> AsyncIterator[Yield]:
        yield TextDelta("counted")
        yield Commit(lambda connection: Result(str(increment(connection, invocation.task))))

    capability = Counting(count, is_transactional=True)
    async with served(capability, tmp_path) as caller:
        assert await caller.invoke() == [TextDelta("counted"), Result("1")]
        assert await caller.invoke() == [TextDelta("counted"), Result("1", is_replayed=True)]
        assert await caller.invoke(key="") == [TextDelta("counted"), Result("2")]  # without a key each call counts
        assert await caller.count() == 2


async def test_an_effect_that_fails_is_undone_and_its_error_is_the_outcome(tmp_path: Path) -> None:
    def refuse(connection: apsw.Connection) -> Result:
        increment(connection, "half")
        raise Forbidden("The store says no.")

    async def count(invocation: Invocation, call: CallContext) -> AsyncIterator[Yield]:
        yield Commit(refuse)

    capability = Counting(count, is_transactional=True)
    async with served(capability, tmp_path) as caller:
        for _ in range(2):
            with pytest.raises(Forbidden, match="store says no"):
                await caller.invoke()
        assert await caller.count() == 0
    assert capability.runs == 1


@KINDS
async def test_duplicates_at_the_same_time_run_once(tmp_path: Path, kind: dict[str, Any]) -> None:
    is_running, release = asyncio.Event(), asyncio.Event()

    async def slow(invocation: Invocation, call: CallContext) -> AsyncIterator[Yield]:
        is_running.set()
        await release.wait()
        yield Result("once")

    capability = Counting(slow, **kind)
    async with served(capability, tmp_path) as caller:
        first = asyncio.create_task(caller.invoke())
        await is_running.wait()
        others = [asyncio.create_task(caller.invoke()) for _ in range(5)]
        with pytest.raises(DeadlineExceeded):
            await caller.invoke(timeout=0.3)  # the wait is bounded by the caller's deadline
        release.set()
        assert await first == [Result("once")]
        assert await asyncio.gather(*others) == [[Result("once", is_replayed=True)]] * 5
    assert capability.runs == 1


@pytest.mark.parametrize(("kind", "runs"), [({"is_idempotent": True}, 2), ({}, 1)], ids=str)
async def test_who_waits_for_a_call_that_is_cancelled_gets_what_the_rules_say(
    tmp_path: Path, kind: dict[str, Any], runs: int
) -> None:
    is_running, calls = asyncio.Event(), 0

    async def hang_once(invocation: Invocation, call: CallContext) -> AsyncIterator[Yield]:
        nonlocal calls
        calls += 1
        is_running.set()
        if calls == 1:
            await asyncio.Event().wait()
        yield Result("second")

    capability = Counting(hang_once, **kind)
    async with served(capability, tmp_path) as caller:
        first = asyncio.create_task(caller.invoke(timeout=0.5))
        await is_running.wait()
        second = asyncio.create_task(caller.invoke())
        with pytest.raises(DeadlineExceeded):
            await first
        if kind:
            assert await second == [Result("second")]
        else:
            with pytest.raises(InDoubt):
                await second
    assert capability.runs == runs


async def test_without_a_writable_file_nothing_is_begun_unless_it_is_harmless(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    capability, harmless = Counting(answer), Counting(answer, is_idempotent=True)
    async with served(capability, tmp_path / "a") as caller:
        await caller.database.write(lambda connection: connection.pragma("query_only", True))
        with pytest.raises(StorageUnavailable, match=r"ledger\.db"):
            await caller.invoke()
    assert capability.runs == 0
    with caplog.at_level(logging.ERROR):
        async with served(harmless, tmp_path / "b") as caller:
            await caller.database.write(lambda connection: connection.pragma("query_only", True))
            assert await caller.invoke() == [Result("go")]
    assert "the outcome of t/1/0 is not recorded" in caplog.text


async def test_a_commit_without_a_ledger_is_refused(tmp_path: Path) -> None:
    async def count(invocation: Invocation, call: CallContext) -> AsyncIterator[Yield]:
        yield Commit(lambda connection: Result("never"))

    def add(server: grpc.aio.Server) -> None:
        capability_v1.add_CapabilityServiceServicer_to_server(CapabilityServicer(Counting(count)), server)

    async with RpcServer("127.0.0.1", 0, add, ()) as server, open_channel(server.address) as channel:
        stub = capability_v1.CapabilityServiceStub(channel)
        with pytest.raises(InternalError, match="without a ledger"), peer_errors("count"):
            await stub.Invoke(capability_v1.InvokeRequest(task="go"), timeout=20).read()


def stored(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def increment(connection: apsw.Connection, task: str) -> object:
    connection.execute("INSERT INTO counts VALUES (?)", (task,))
    return connection.execute("SELECT count(*) FROM counts").get
