"""A bounded past that many read at their own pace."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from services.control.event_log import MAX_EVENTS, Event, EventLog, Gap
from services.control.telemetry.span import SpanRecord

Make = Callable[..., SpanRecord]


async def take(events: AsyncIterator[Event | Gap], count: int) -> list[Event | Gap]:
    return [await anext(events) for _ in range(count)]


async def test_a_reader_gets_what_comes_after_its_cursor_and_then_what_is_new(make_span: Make) -> None:
    log = EventLog(lambda: 1.0)
    for name in ("a", "b"):
        log.append(make_span(name))
    events = log.read(log.last_cursor - 1)
    assert (await anext(events)).cursor == log.last_cursor
    waiting = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    assert not waiting.done()
    log.append(make_span("c"))
    assert (await waiting).cursor == 1_000_003


async def test_a_slow_reader_is_told_what_it_missed(make_span: Make) -> None:
    log = EventLog(lambda: 1.0)
    start = log.last_cursor
    for _ in range(MAX_EVENTS + 5):
        log.append(make_span("a"))
    gap, first = await take(log.read(start), 2)
    assert gap == Gap(start, start + 5, "too_old")
    assert first.cursor == start + 6


async def test_heavy_events_push_out_older_ones_sooner(make_span: Make) -> None:
    log = EventLog(lambda: 1.0, max_bytes=10_000)
    start = log.last_cursor
    for _ in range(4):
        log.append(make_span("a", body=b"x" * 4_000))
    assert await anext(log.read(start)) == Gap(start, start + 2, "too_old")


@pytest.mark.parametrize("cursor", [5, 10**15])
async def test_a_cursor_of_another_life_is_a_gap_and_not_silence(cursor: int, make_span: Make) -> None:
    log = EventLog(lambda: 1.0)
    log.append(make_span("a"))
    gap, event = await take(log.read(cursor), 2)
    assert gap == Gap(cursor, 1_000_000, "another_life")
    assert event.cursor == 1_000_001


async def test_cursors_grow_from_life_to_life_and_fit_javascript() -> None:
    lives = [EventLog(lambda now=now: now).last_cursor for now in (1.8e9, 1.8e9 + 1)]  # type: ignore[misc]
    assert lives[0] < lives[1] < 2**53


async def test_closing_ends_the_readers() -> None:
    log = EventLog(lambda: 1.0)
    waiting = asyncio.ensure_future(anext(log.read(log.last_cursor)))
    await asyncio.sleep(0)
    log.close()
    with pytest.raises(StopAsyncIteration):
        await waiting
