"""A program that has ended before it is fed is no failure, on the event loop that the services run on."""

import asyncio

import uvloop

from services.coding.sandbox.supervision import feed


async def feed_the_dead() -> int | None:
    process = await asyncio.create_subprocess_exec("true", stdin=asyncio.subprocess.PIPE)
    assert process.stdin
    await process.wait()
    while not process.stdin.is_closing():
        await asyncio.sleep(0)
    await feed(process.stdin, b"nobody reads this")
    return process.returncode


def test_a_program_that_has_ended_is_not_fed() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(asyncio.wait_for(feed_the_dead(), 20)) == 0
