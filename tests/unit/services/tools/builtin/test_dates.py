"""The date tools, at 15:04 in Berlin on Saturday, 21 November 2026."""

from collections.abc import Callable
from datetime import datetime

import pytest

from services.tools.builtin.dates import AddTime, ConvertTime, CurrentTime, TimeBetween, Weekday
from services.tools.tool import ToolError

Clock = Callable[[], datetime]


@pytest.mark.parametrize(
    "date, text",
    [
        ("1999-12-31", "1999-12-31 was a Friday"),
        ("today", "2026-11-21 is a Saturday"),
        ("Dec 25", "2026-12-25 will be a Friday"),
    ],
)
async def test_a_weekday_is_told_in_the_right_tense(clock: Clock, date: str, text: str) -> None:
    output = await Weekday(clock).call({"date": date})
    assert output.text == text
    assert output.values == (output.content["weekday"],)


@pytest.mark.parametrize(
    "start, end, text",
    [
        ("2025-03-03", "2025-11-17", "259 days = 8 months 14 days; 185 of them Monday to Friday"),
        ("2026-12-25", "today", "34 days back = 1 month 4 days; 25 of them Monday to Friday"),
        ("09:30", "17:15", "7 hours 45 minutes (465 minutes)"),
        ("now", "tomorrow 9am", "17 hours 56 minutes (1,076 minutes)"),
        ("1987-05-05", "today", "14,445 days = 39 years 6 months 16 days; 10,318 of them Monday to Friday"),
    ],
)
async def test_the_time_between_two_moments(clock: Clock, start: str, end: str, text: str) -> None:
    output = await TimeBetween(clock).call({"start": start, "end": end})
    assert output.text.endswith(text)


async def test_weekdays_are_counted_one_by_one_over_every_start_and_length(clock: Clock) -> None:
    tool = TimeBetween(clock)
    for start in range(1, 8):
        for end in range(start, 29):
            output = await tool.call({"start": f"2026-06-{start:02}", "end": f"2026-06-{end:02}"})
            days = [datetime(2026, 6, day).weekday() for day in range(start + 1, end + 1)]
            assert output.content["weekdays"] == sum(day < 5 for day in days)


@pytest.mark.parametrize(
    "start, duration, text",
    [
        ("2024-01-31", "45 days", "2024-01-31 plus 45 days is 2024-03-16 (Saturday)"),
        ("2026-01-31", "1 month", "2026-01-31 plus 1 month is 2026-02-28 (Saturday)"),
        ("22:45", "11 hours 30 minutes", "2026-11-21 22:45 plus 11 hours 30 minutes is 2026-11-22 10:15 (Sunday)"),
        ("today", "-3 weeks", "2026-11-21 minus 3 weeks is 2026-10-31 (Saturday)"),
    ],
)
async def test_time_is_added(clock: Clock, start: str, duration: str, text: str) -> None:
    assert (await AddTime(clock).call({"start": start, "duration": duration})).text == text


async def test_a_result_after_year_9999_is_refused(clock: Clock) -> None:
    with pytest.raises(ToolError) as caught:
        await AddTime(clock).call({"start": "today", "duration": "9000 years"})
    assert caught.value.reason == "OUT_OF_RANGE"


async def test_a_time_is_converted_between_cities(clock: Clock) -> None:
    output = await ConvertTime(clock).call({"time": "15:00", "from_zone": "New York", "to_zone": "Tokyo"})
    assert output.content["to"] == "2026-11-22T05:00:00+09:00"
    assert "05:00 (5:00 AM) on Sunday" in output.text
    assert "5 AM" in output.values


async def test_today_is_the_day_in_the_zone_that_is_converted_from() -> None:
    late = datetime.fromisoformat("2026-11-21T23:30:00+00:00")
    output = await ConvertTime(lambda: late).call({"time": "08:00", "from_zone": "Tokyo", "to_zone": "UTC"})
    assert output.content["from"] == "2026-11-22T08:00:00+09:00"


async def test_a_skipped_time_carries_its_note(clock: Clock) -> None:
    arguments = {"time": "2026-03-29 02:30", "from_zone": "Berlin", "to_zone": "UTC"}
    output = await ConvertTime(clock).call(arguments)
    assert "does not exist" in output.content["note"]
    assert output.content["note"] in output.text


async def test_a_conversion_beyond_the_calendar_is_refused(clock: Clock) -> None:
    with pytest.raises(ToolError) as caught:
        await ConvertTime(clock).call({"time": "0001-01-01 00:10", "from_zone": "Tokyo", "to_zone": "UTC"})
    assert caught.value.reason == "OUT_OF_RANGE"


@pytest.mark.parametrize("zone, now", [("", "2026-11-21T15:04:00+01:00"), ("Tokyo", "2026-11-21T23:04:00+09:00")])
async def test_the_time_now(clock: Clock, zone: str, now: str) -> None:
    assert (await CurrentTime(clock).call({"zone": zone})).content["now"] == now
