"""Dates and times as people write them: "1999-12-31", "31 December 1999", "tomorrow", "next Friday", "22:45", "now"."""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from dateutil import parser

from services.tools.tool import ToolError

MAX_CHARS = 60

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_RELATIVE_DAYS = {"today": 0, "tomorrow": 1, "yesterday": -1}
_NAMED_TIMES = {"noon": time(12), "midday": time(12), "midnight": time(0)}
_NUMERIC = re.compile(r"(?<![\d/.-])(\d{1,2})[/.-](\d{1,2})[/.-](\d{4}|\d{2})\b")
_CLOCK = re.compile(r"\d\s*:\s*\d\d|\d\s*[ap]\.?m\b|\d+h\d\d", re.IGNORECASE)
_DURATION_TERM = re.compile(r"(?<![\d.])(\d{1,7})\s*(year|month|week|day|hour|minute)s?\b")


@dataclass(frozen=True)
class Moment:
    """A wall-clock time without a zone."""

    wall: datetime
    has_time: bool
    """False when only a date was given; `wall` is then its midnight."""

    def __str__(self) -> str:
        return f"{self.wall:%Y-%m-%d %H:%M}" if self.has_time else self.wall.date().isoformat()


def parse_moment(text: str, now: datetime) -> Moment:
    """Read a date, a time of day (of today) or both; `now` is today's wall-clock time.

    Raises ToolError INVALID_DATE or AMBIGUOUS_DATE, each with the form to use.
    """
    words = " ".join(text.split()).lower()
    now = now.replace(tzinfo=None)
    if not words or len(words) > MAX_CHARS:
        raise _invalid(text)
    if words == "now":
        return Moment(now.replace(second=0, microsecond=0), has_time=True)
    if words in _NAMED_TIMES:
        return Moment(datetime.combine(now, _NAMED_TIMES[words]), has_time=True)
    day, rest = _split_relative_day(words, now.date())
    if day is not None and not rest:
        return Moment(datetime.combine(day, time()), has_time=False)
    return _parse_written(text, rest, datetime.combine(day or now, time()))


def parse_date(text: str, now: datetime) -> date:
    """Read a date; a time of day beside it is dropped. Raises as `parse_moment` does."""
    return parse_moment(text, now).wall.date()


def parse_duration(text: str) -> dict[str, int]:
    """Read "1 year 2 months" or "-45 days" into counts by plural unit, all of one sign.

    Raises ToolError INVALID_DURATION, also when a count has more than seven digits.
    """
    words = text.strip().lower()
    sign = -1 if words.startswith(("-", "−")) else 1
    terms = _DURATION_TERM.findall(words)
    if not terms or _DURATION_TERM.sub("", words).strip("-−+, ") not in ("", "and"):
        message = (
            f"{text[:MAX_CHARS]!r} is not a duration: write whole numbers with units, such as 11 hours 30 minutes."
        )
        raise ToolError("INVALID_DURATION", message)
    counts: dict[str, int] = {}
    for count, unit in terms:
        counts[f"{unit}s"] = counts.get(f"{unit}s", 0) + sign * int(count)
    return counts


def _split_relative_day(words: str, today: date) -> tuple[date | None, str]:
    """The day that leading words such as "tomorrow" or "next Friday" name, and what follows them."""
    first, _, rest = words.partition(" ")
    if first in _RELATIVE_DAYS:
        return today + timedelta(days=_RELATIVE_DAYS[first]), rest.removeprefix("at ")
    direction = first if first in ("next", "last", "this") else ""
    name, _, rest = (rest if direction else words).partition(" ")
    if name not in _WEEKDAYS or (rest[:1].isdigit() and not _CLOCK.match(rest)):
        return None, words
    ahead = (_WEEKDAYS.index(name) - today.weekday()) % 7
    if direction == "last":
        ahead -= 7
    elif ahead == 0 and direction != "this":
        ahead = 7
    return today + timedelta(days=ahead), rest.removeprefix("at ")


def _parse_written(text: str, words: str, day: datetime) -> Moment:
    _refuse_ambiguous(words)
    has_time = bool(_CLOCK.search(words))
    # Two different defaults show which parts the text left out: those differ between the two readings.
    first, second = day, day.replace(year=2000 + 4 * (day.year == 2000), month=day.month % 12 + 1, day=day.day % 28 + 1)
    try:
        one, other = (parser.parse(words, default=day, ignoretz=True) for day in (first, second))
    except (ValueError, OverflowError) as error:
        raise _invalid(text) from error
    has_date = one.day == other.day and one.month == other.month
    has_neither = not has_date and one.date() == first.date() and other.date() == second.date()
    if not (has_date or (has_neither and has_time)):
        raise _invalid(text)
    return Moment(one.replace(tzinfo=None), has_time)


def _refuse_ambiguous(words: str) -> None:
    match = _NUMERIC.search(words)
    if match and match[1] != match[2] and int(match[1]) <= 12 and int(match[2]) <= 12:
        message = f"{match.group()} could be day-month or month-day: write it as YYYY-MM-DD."
        raise ToolError("AMBIGUOUS_DATE", message)


def _invalid(text: str) -> ToolError:
    return ToolError(
        "INVALID_DATE", f"{text[:MAX_CHARS]!r} is not a date or time: write YYYY-MM-DD or YYYY-MM-DD HH:MM."
    )
