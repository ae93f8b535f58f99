"""Dates, times and durations as people write them."""

from datetime import datetime

import pytest

from services.tools.moments import parse_duration, parse_moment
from services.tools.tool import ToolError

NOW = datetime(2026, 11, 21, 15, 4, 33)  # a Saturday


@pytest.mark.parametrize(
    "text, expected",
    [
        ("1999-12-31", "1999-12-31"),
        ("2001-02-03", "2001-02-03"),
        ("31 December 1999", "1999-12-31"),
        ("Dec 25", "2026-12-25"),
        ("12/25/2026", "2026-12-25"),
        ("3/3/2025", "2025-03-03"),
        ("today", "2026-11-21"),
        ("Tomorrow", "2026-11-22"),
        ("yesterday", "2026-11-20"),
        ("friday", "2026-11-27"),
        ("saturday", "2026-11-28"),
        ("this saturday", "2026-11-21"),
        ("last friday", "2026-11-20"),
        ("Monday 5 January 2026", "2026-01-05"),
        ("now", "2026-11-21 15:04"),
        ("noon", "2026-11-21 12:00"),
        ("22:45", "2026-11-21 22:45"),
        ("9 am", "2026-11-21 09:00"),
        ("tomorrow at 9:30", "2026-11-22 09:30"),
        ("next friday 3pm", "2026-11-27 15:00"),
        ("2026-03-01 22:45", "2026-03-01 22:45"),
        ("2026-03-01T14:00Z", "2026-03-01 14:00"),
    ],
)
def test_a_moment_is_read(text: str, expected: str) -> None:
    assert str(parse_moment(text, NOW)) == expected


@pytest.mark.parametrize("text", ["", "soon", "2026-02-30", "March 2026", "2026", "10", "25:99", "x" * 100])
def test_half_a_date_is_not_guessed(text: str) -> None:
    with pytest.raises(ToolError) as caught:
        parse_moment(text, NOW)
    assert caught.value.reason == "INVALID_DATE"
    assert "YYYY-MM-DD" in caught.value.message


@pytest.mark.parametrize("text", ["3/4/2025", "03.04.2025", "1/2/99"])
def test_a_date_with_two_readings_is_refused(text: str) -> None:
    with pytest.raises(ToolError) as caught:
        parse_moment(text, NOW)
    assert caught.value.reason == "AMBIGUOUS_DATE"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("45 days", {"days": 45}),
        ("-3 weeks", {"weeks": -3}),
        ("1 year, 2 months and 3 days", {"years": 1, "months": 2, "days": 3}),
        ("11 hours 30 minutes", {"hours": 11, "minutes": 30}),
    ],
)
def test_a_duration_is_read(text: str, expected: dict[str, int]) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "5", "2.5 days", "3 days later", "99999999 days"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ToolError) as caught:
        parse_duration(text)
    assert caught.value.reason == "INVALID_DURATION"
