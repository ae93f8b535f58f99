"""Turns at a model: in order, bounded, and so that short prompts do not wait for long ones."""

import asyncio

import pytest

from services.models.slots import SlotPool
from shared.errors import LimitExceeded

LONG = "a long document " * 500


async def start(pool: SlotPool, prompt: str, order: list[str], leave: asyncio.Event) -> asyncio.Task[None]:
    async def work() -> None:
        async with pool.hold(prompt):
            order.append(prompt)
            await leave.wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    return task


async def test_requests_beyond_the_slots_run_in_the_order_of_coming() -> None:
    pool, order, leave = SlotPool(2, max_waiting=8), list[str](), asyncio.Event()
    tasks = [await start(pool, name, order, leave) for name in "abcdef"]
    assert order == ["a", "b"]
    leave.set()
    await asyncio.gather(*tasks)
    assert order == list("abcdef")


async def test_a_full_queue_refuses_with_the_limit() -> None:
    pool, leave = SlotPool(1, max_waiting=1), asyncio.Event()
    tasks = [await start(pool, name, [], leave) for name in "ab"]
    with pytest.raises(LimitExceeded) as caught:
        async with pool.hold("c"):
            pytest.fail("there was no room")
    assert caught.value.metadata["limit"] == "1"
    leave.set()
    await asyncio.gather(*tasks)


async def test_who_leaves_the_queue_is_passed_over() -> None:
    pool, order, leave = SlotPool(1, max_waiting=8), list[str](), asyncio.Event()
    first, second, third = [await start(pool, name, order, leave) for name in "abc"]
    second.cancel()
    leave.set()
    await asyncio.gather(first, third)
    assert order == ["a", "c"]


async def test_a_slot_given_in_the_moment_of_leaving_is_not_lost() -> None:
    pool, leave = SlotPool(1, max_waiting=8), asyncio.Event()
    first = await start(pool, "a", [], leave)
    second = await start(pool, "b", [], asyncio.Event())
    leave.set()
    while not first.done():
        await asyncio.sleep(0)
    second.cancel()  # its turn has come, but it has not run yet
    await asyncio.gather(second, return_exceptions=True)
    async with asyncio.timeout(20), pool.hold("c") as slot:
        assert slot.number == 0


async def test_a_failing_holder_gives_its_slot_back() -> None:
    pool = SlotPool(1, max_waiting=0)
    with pytest.raises(ValueError, match="broken"):
        async with pool.hold("a"):
            raise ValueError("broken")
    async with pool.hold("b") as slot:
        assert slot.number == 0


async def test_long_prompts_go_high_and_short_ones_low() -> None:
    pool = SlotPool(4, max_waiting=0)
    async with pool.hold(LONG) as long, pool.hold("short") as short, pool.hold("other") as other:
        assert (long.number, short.number, other.number) == (3, 0, 1)


async def test_a_prompt_goes_where_its_beginning_is_known() -> None:
    pool = SlotPool(4, max_waiting=0)
    async with pool.hold("x" * 300) as slot:
        first = slot.number
    async with pool.hold("y"), pool.hold("x" * 300 + "and more") as slot:
        assert slot.number != first  # "y" took the lowest slot
    pool = SlotPool(4, max_waiting=0)
    async with pool.hold(LONG) as slot:
        long = slot.number
    async with pool.hold(LONG + " and a question") as slot:
        assert slot.number == long
        assert slot.unread == len(" and a question")


async def test_a_short_prompt_is_not_put_above_a_long_one_that_is_read() -> None:
    pool = SlotPool(2, max_waiting=0)
    async with pool.hold("short") as low:
        async with pool.hold("b" * 10_000) as high:
            assert (low.number, high.number) == (0, 1)
    known = "s" * 200
    async with pool.hold(known) as low:
        assert low.number == 0
    # slot 0 knows the prompt and is taken by a long one which begins alike; only slot 1 would be left above it
    async with pool.hold(known + LONG) as long:
        async with pool.hold("new") as rest:
            assert {long.number, rest.number} == {0, 1}
            assert rest.number < long.number
