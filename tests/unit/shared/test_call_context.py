"""The call context: remaining time, and whose call is current."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator

import pytest

from shared.call_context import CallContext, EffectKeys, current_call, serving
from shared.errors import DeadlineExceeded


def test_without_a_deadline_there_is_no_end() -> None:
    call = CallContext()
    assert call.remaining_s() is None
    assert call.timeout_s(30) == 30


def test_a_timeout_is_what_is_left_or_less() -> None:
    call = CallContext(deadline=time.monotonic() + 10)
    assert call.timeout_s(3) == 3
    assert 9 < call.timeout_s(30) <= 10


def test_after_the_deadline_no_call_is_made() -> None:
    call = CallContext(deadline=time.monotonic() - 1)
    assert call.remaining_s() == 0
    with pytest.raises(DeadlineExceeded):
        call.timeout_s(30)


def test_each_call_has_an_id_of_its_own() -> None:
    first, second = CallContext(), CallContext()
    assert uuid.UUID(first.correlation_id) != uuid.UUID(second.correlation_id)


def test_calls_nest_and_an_exception_restores_the_outer_one() -> None:
    outer, inner = CallContext(), CallContext()
    with serving(outer):
        with pytest.raises(RuntimeError), serving(inner):
            assert current_call() is inner
            raise RuntimeError
        assert current_call() is outer
    assert current_call() is None


async def test_concurrent_tasks_do_not_see_each_others_call() -> None:
    both_serve = asyncio.Barrier(2)

    async def serve(call: CallContext) -> bool:
        with serving(call):
            await both_serve.wait()
            return current_call() is call

    assert await asyncio.gather(serve(CallContext()), serve(CallContext())) == [True, True]


def test_effects_have_the_same_names_in_every_attempt_of_their_work() -> None:
    first, again = EffectKeys("thread/task"), EffectKeys("thread/task")
    names = [first.next("hop"), first.next("chat"), first.next("hop")]
    assert names == ["thread/task/hop/0", "thread/task/chat/0", "thread/task/hop/1"]
    assert [again.next("chat"), again.next("hop"), again.next("hop")] == [names[1], names[0], names[2]]


async def test_a_stream_closed_in_another_context_ends_quietly() -> None:
    async def stream() -> AsyncGenerator[int, None]:
        with serving(CallContext()):
            yield 1

    outputs = stream()
    assert await asyncio.create_task(anext(outputs)) == 1
    await outputs.aclose()  # this task's context is not the one that `serving` changed
    assert current_call() is None
