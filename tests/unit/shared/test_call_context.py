"""The call context: remaining time, and whose call is current."""

import asyncio
import time
import uuid

import pytest

from shared.call_context import CallContext, current_call, serving
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
