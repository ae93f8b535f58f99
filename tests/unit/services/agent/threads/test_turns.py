"""Whose turn it is on a thread."""

import asyncio

import pytest

from services.agent.threads.turns import Turns
from shared.errors import ThreadBusy


async def test_callers_come_one_after_the_other_in_their_order() -> None:
    turns, order, at_once = Turns(8), [], 0

    async def caller(number: int) -> None:
        nonlocal at_once
        async with turns.turn("t"):
            at_once += 1
            assert at_once == 1
            await asyncio.sleep(0)
            order.append(number)
            at_once -= 1

    await asyncio.gather(*(caller(number) for number in range(5)))
    assert order == [0, 1, 2, 3, 4]
    assert turns._lines == {}


async def test_other_threads_do_not_wait() -> None:
    turns = Turns(8)
    async with turns.turn("one"), asyncio.timeout(10), turns.turn("two"):
        pass


async def test_a_full_line_is_refused_and_whoever_leaves_makes_room() -> None:
    turns = Turns(1)
    async with turns.turn("t"):
        waiting = asyncio.create_task(turns.turn("t").__aenter__())
        await asyncio.sleep(0)
        with pytest.raises(ThreadBusy, match="1 requests wait"):
            await turns.turn("t").__aenter__()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        again = asyncio.create_task(turns.turn("t").__aenter__())
        await asyncio.sleep(0)
        assert not again.done()
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)
    assert turns._lines == {}
