"""Idempotency: a repeated `Invoke` is answered from the effect ledger, and an attempt in doubt is never guessed at."""

import asyncio
import dataclasses
import functools
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from typing import Any

import grpc
from opentelemetry import trace

from shared.call_context import CallContext, EffectKeys, Transaction, current_call, serving
from shared.errors import Cancelled, InDoubt, InternalError, StorageUnavailable, WaystationError
from shared.fault_points import fault_point
from shared.pb import capability_v1
from shared.rpc.status import error_from_status, status_bytes
from shared.storage.ledger import Doubt, Ledger, Replay, check_key
from shared.telemetry import attributes

logger = logging.getLogger(__name__)

INVOKE = "/waystation.capability.v1.CapabilityService/Invoke"
REPEAT_KEY = "waystation-repeat-in-doubt"
"""Request metadata: with the value "1" an attempt in doubt is made again under its own key."""
MAX_CALL_KEY_CHARS = 256
"""Leaves room for the keys of effects within the call."""

_Responses = AsyncIterator[capability_v1.InvokeResponse]


class IdempotencyInterceptor(grpc.aio.ServerInterceptor):
    """Stands around `CapabilityService.Invoke`. Belongs to one event loop.

    `is_harmless` says that an attempt without an outcome may be made again: nothing is stored before it then, and its
    answer does not wait for the record's commit. Otherwise the intention is committed before the handler runs and the
    outcome before the last message is sent, and what has an intention only raises `InDoubt`.
    """

    def __init__(self, ledger: Ledger, *, is_harmless: bool) -> None:
        self._ledger, self._is_harmless = ledger, is_harmless
        self._running: dict[str, asyncio.Event] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "Awaitable[grpc.RpcMethodHandler[Any, Any] | None]"],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """See `grpc.aio.ServerInterceptor`."""
        handler: Any = await continuation(handler_call_details)
        if handler is None or handler_call_details.method != INVOKE:
            return handler  # type: ignore[no-any-return]
        may_repeat = dict(handler_call_details.invocation_metadata or ()).get(REPEAT_KEY) == "1"

        async def respond(request: capability_v1.InvokeRequest, context: Any) -> _Responses:
            handle = functools.partial(handler.unary_stream, request, context)
            async with aclosing(self._respond(request, handle, may_repeat)) as responses:
                async for response in responses:
                    yield response

        wrapped: grpc.RpcMethodHandler[Any, Any] = grpc.unary_stream_rpc_method_handler(
            respond,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
        return wrapped

    async def _respond(self, request: capability_v1.InvokeRequest, handle: Callable[[], Any], may_repeat: bool) -> Any:
        key = request.ids.idempotency_key
        if not key:
            with _with_transaction(_Unrecorded(self._ledger)):
                async with aclosing(handle()) as responses:
                    async for response in responses:
                        yield response
            return
        check_key(key, MAX_CALL_KEY_CHARS)
        while key in self._running:  # the caller's deadline bounds the wait
            await self._running[key].wait()
        self._running[key] = asyncio.Event()
        attempt = _Attempt(self._ledger, key, _digest(request), is_waiting=not self._is_harmless)
        try:
            async with aclosing(self._once(attempt, handle, may_repeat)) as answers:
                async for answer in answers:
                    yield answer
        finally:
            self._running.pop(key).set()

    async def _once(self, attempt: "_Attempt", handle: Callable[[], Any], may_repeat: bool) -> Any:
        recorded = await self._begin(attempt.key, attempt.digest, may_repeat)
        if recorded:
            trace.get_current_span().set_attribute(attributes.REPLAYED, True)
            for response in _replayed(recorded):
                yield response
            return
        fault_point("during_call")
        last: capability_v1.InvokeResponse | None = None
        try:
            with _with_transaction(attempt, EffectKeys(attempt.key)):
                async with aclosing(handle()) as responses:
                    async for response in responses:
                        if response.WhichOneof("output") == "result":
                            last = response  # the handler ends, and its outcome is recorded, before this is sent
                            continue
                        attempt.take(response)
                        yield response
                        fault_point("while_streaming")
        except Exception as error:
            await attempt.fail(error)
            raise
        if last:
            await attempt.finish(last)
            yield last

    async def _begin(self, key: str, digest: bytes, may_repeat: bool) -> Replay | None:
        if self._is_harmless:
            return await self._ledger.look_up(key, digest)
        found = await self._ledger.begin(key, digest, may_repeat=may_repeat)
        if isinstance(found, Doubt):
            begun = datetime.fromtimestamp(found.begin_time_ns / 1e9, UTC).isoformat(timespec="seconds")
            raise InDoubt(
                f"Attempt {found.attempt} of {key} was begun at {begun} and its outcome is not known.",
                remedy="Find out whether its effect happened, then have it repeated, or start a new run.",
                idempotency_key=key,
                attempt=found.attempt,
                begin_time=begun,
            )
        return found if isinstance(found, Replay) else None


class _Attempt:
    """One run of the handler under a key; as a `Transaction` it is the handler's way to a common commit."""

    def __init__(self, ledger: Ledger, key: str, digest: bytes, *, is_waiting: bool) -> None:
        self.key, self.digest = key, digest
        self._ledger, self._is_waiting = ledger, is_waiting
        self._responses: list[capability_v1.InvokeResponse] = []
        self._texts: list[str] = []
        self._is_recorded = False

    def take(self, response: capability_v1.InvokeResponse) -> None:
        """Keep a response for the record; text that follows text is one piece."""
        if response.WhichOneof("output") == "text_delta":
            self._texts.append(response.text_delta.text)
        else:
            self._join_texts()
            self._responses.append(response)

    def _join_texts(self) -> None:
        if self._texts:
            text_delta = capability_v1.TextDelta(text="".join(self._texts))
            self._responses.append(capability_v1.InvokeResponse(text_delta=text_delta))
            self._texts.clear()

    async def commit(self, work: Callable[[Any], Any]) -> Any:
        """See `Transaction.commit`; the answer is an `InvokeResponse` with the result."""

        def effect(connection: Any) -> bytes:
            answer = work(connection)
            fault_point("after_effect")
            return _pack(self._frames(answer.SerializeToString()))

        recorded = await self._ledger.commit(self.key, self.digest, effect)
        self._is_recorded = True
        return list(_replayed(recorded, is_replayed=False))[-1]

    async def finish(self, last: capability_v1.InvokeResponse) -> None:
        """Record that the handler ended with `last`."""
        if not self._is_recorded:
            fault_point("after_effect")
            await self._record(last.SerializeToString(), is_failure=False)
        fault_point("after_record")

    async def fail(self, error: Exception) -> None:
        """Record the error when it is the call's outcome, and not something that passes."""
        lasting = _lasting(error)
        if lasting:
            fault_point("after_effect")
            await self._record(status_bytes(lasting), is_failure=True)
            fault_point("after_record")

    async def _record(self, last_frame: bytes, is_failure: bool) -> None:
        # an outcome that cannot be stored does not cost the caller the answer: a repeated key is in doubt, or run again
        outcome = _pack(self._frames(last_frame))
        if not self._is_waiting:
            self._ledger.note(self.key, self.digest, outcome, is_failure=is_failure)
            return
        try:
            await self._ledger.record(self.key, self.digest, outcome, is_failure=is_failure)
        except WaystationError as error:
            logger.error("the outcome of %s is not recorded: %s", self.key, error)

    def _frames(self, last: bytes) -> Iterator[bytes]:
        self._join_texts()
        yield from (response.SerializeToString() for response in self._responses)
        yield last


class _Unrecorded:
    """The transaction of a call without a key."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def commit(self, work: Callable[[Any], Any]) -> Any:
        """See `Transaction.commit`; nothing is recorded."""
        return await self._ledger.database.write(work)


@contextmanager
def _with_transaction(transaction: Transaction, effect_keys: EffectKeys | None = None) -> Iterator[None]:
    call_context = current_call() or CallContext()
    with serving(dataclasses.replace(call_context, transaction=transaction, effect_keys=effect_keys)):
        yield


def _lasting(error: Exception) -> WaystationError | None:
    """The error as an outcome; None for one that may not come again, or that is an outcome's absence itself."""
    if isinstance(error, WaystationError):
        return None if error.is_retryable or isinstance(error, Cancelled | InDoubt | StorageUnavailable) else error
    if isinstance(error, TimeoutError | grpc.aio.AbortError):
        return None
    return InternalError("Something unforeseen happened; the service's log has it.")


def _replayed(recorded: Replay, *, is_replayed: bool = True) -> Iterator[capability_v1.InvokeResponse]:
    frames = list(_unpack(recorded.outcome))
    for frame in frames[:-1] if recorded.is_failure else frames:
        response = capability_v1.InvokeResponse.FromString(frame)
        if response.WhichOneof("output") == "result":
            response.result.is_replayed = is_replayed
        yield response
    if recorded.is_failure:
        raise error_from_status(frames[-1])


def _digest(request: capability_v1.InvokeRequest) -> bytes:
    """Of everything but the correlation id, which a caller may make anew for each attempt."""
    content = capability_v1.InvokeRequest()
    content.CopyFrom(request)
    content.ids.ClearField("correlation_id")
    return hashlib.sha256(content.SerializeToString(deterministic=True)).digest()


def _pack(frames: Iterable[bytes]) -> bytes:
    return b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)


def _unpack(outcome: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(outcome):
        start = position + 4
        position = start + int.from_bytes(outcome[position:start], "big")
        yield outcome[start:position]
