"""Dates and time zones: weekday, span between two times, time added, conversion between zones, time now."""

from collections.abc import Callable
from datetime import date, datetime, timedelta

from dateutil.relativedelta import relativedelta
from pydantic import Field

from services.tools.moments import Moment, parse_date, parse_duration, parse_moment
from services.tools.tool import Arguments, ArgumentsT, JsonObject, ToolError, ToolOutput, TypedTool
from services.tools.zones import find_zone, localize, offset_of, zone_name

Clock = Callable[[], datetime]
"""Returns the time now as an aware datetime in the zone that "today" refers to."""

_DATE = "A date such as 1999-12-31, 31 December 1999, today or next Friday."
_MOMENT = "A date, a time or both, such as 2026-03-01, 22:45, 2026-03-01 22:45, today or now."
_ZONE = "A zone such as Europe/Paris, a city such as Tokyo, or an offset such as UTC+5:30."
_UNITS = "year|month|week|day|hour|minute"


class _DateTool(TypedTool[ArgumentsT]):
    """A tool that needs to know what day it is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock


class WeekdayArguments(Arguments):
    """One date."""

    date: str = Field(description=_DATE)


class Weekday(_DateTool[WeekdayArguments]):
    """The day of the week."""

    name = "weekday"
    description = "Day of the week of a date."
    arguments = WeekdayArguments

    async def run(self, arguments: WeekdayArguments) -> ToolOutput:
        """`content`: date, weekday, iso_week."""
        now = self._clock()
        day = parse_date(arguments.date, now)
        verb = "is" if day == now.date() else "was" if day < now.date() else "will be"
        content: JsonObject = {"date": day.isoformat(), "weekday": f"{day:%A}", "iso_week": day.isocalendar().week}
        return ToolOutput(f"{day} {verb} a {day:%A}", content, (f"{day:%A}",))


class TimeBetweenArguments(Arguments):
    """Two moments."""

    start: str = Field(description=_MOMENT)
    end: str = Field(description=_MOMENT)


class TimeBetween(_DateTool[TimeBetweenArguments]):
    """The span between two moments."""

    name = "time_between"
    description = "Days, age or time from one date or clock time to another."
    arguments = TimeBetweenArguments

    async def run(self, arguments: TimeBetweenArguments) -> ToolOutput:
        """`content`: start, end, days, and minutes when a time of day was given; negative when end is earlier."""
        now = self._clock()
        start, end = parse_moment(arguments.start, now), parse_moment(arguments.end, now)
        span = end.wall - start.wall
        content: JsonObject = {"start": str(start), "end": str(end), "days": span.days}
        parts = _calendar_parts(min(start.wall, end.wall), max(start.wall, end.wall))
        if start.has_time or end.has_time:
            minutes = int(span.total_seconds() // 60)
            content["minutes"] = minutes
            return ToolOutput(
                f"{start} to {end}: {parts} ({minutes:,} minutes)", content, (parts, f"{minutes}", parts.split()[0])
            )
        weekdays = _count_weekdays(start.wall.date(), end.wall.date())
        content["weekdays"] = weekdays
        length = f"{_plural(abs(span.days), 'day')}{' back' if span.days < 0 else ''} = {parts}"
        text = f"{start} to {end}: {length}; {weekdays:,} of them Monday to Friday"
        return ToolOutput(text, content, (str(abs(span.days)), parts))


class AddTimeArguments(Arguments):
    """A start and what is added to it."""

    start: str = Field(description=_MOMENT)
    duration: str = Field(
        max_length=100,
        description="Whole numbers with units, such as 45 days or 11 hours 30 minutes; a leading minus goes back.",
        json_schema_extra={"pattern": rf"^-?[0-9]+ ({_UNITS})s?( [0-9]+ ({_UNITS})s?)*$"},
    )


class AddTime(_DateTool[AddTimeArguments]):
    """A moment so much later or earlier."""

    name = "add_time"
    description = "When something ends that takes a duration from start, such as 2 hours 30 minutes or -45 days."
    arguments = AddTimeArguments

    async def run(self, arguments: AddTimeArguments) -> ToolOutput:
        """`content`: start, result, weekday. The 31st of a short month becomes its last day."""
        start = parse_moment(arguments.start, self._clock())
        counts = parse_duration(arguments.duration)
        try:
            moved = start.wall + relativedelta(**counts)  # type: ignore[arg-type]  # its stub wants each key by name
        except (ValueError, OverflowError) as error:
            raise ToolError("OUT_OF_RANGE", "The result is outside the years 1 to 9999.") from error
        result = Moment(moved, start.has_time or "hours" in counts or "minutes" in counts)
        content: JsonObject = {"start": str(start), "result": str(result), "weekday": f"{moved:%A}"}
        sign, duration = (
            ("minus", arguments.duration.strip()[1:]) if min(counts.values()) < 0 else ("plus", arguments.duration)
        )
        text = f"{start} {sign} {' '.join(duration.split())} is {result} ({moved:%A})"
        return ToolOutput(text, content, _spellings(result))


class ConvertTimeArguments(Arguments):
    """A wall-clock time and two zones."""

    time: str = Field(description=_MOMENT)
    from_zone: str = Field(description=_ZONE)
    to_zone: str = Field(description=_ZONE)


class ConvertTime(_DateTool[ConvertTimeArguments]):
    """One moment on two clocks."""

    name = "convert_time"
    description = "What a given clock time in one city, such as 9 am, is in another city."
    arguments = ConvertTimeArguments

    async def run(self, arguments: ConvertTimeArguments) -> ToolOutput:
        """`content`: from, to (ISO 8601 with offset), from_zone, to_zone, and note for a skipped or doubled time."""
        source, target = find_zone(arguments.from_zone), find_zone(arguments.to_zone)
        moment = parse_moment(arguments.time, self._clock().astimezone(source))
        try:
            there, note = localize(moment.wall, source)
            here = there.astimezone(target)
        except OverflowError as error:
            raise ToolError("OUT_OF_RANGE", "The result is outside the years 1 to 9999.") from error
        content: JsonObject = {"from": there.isoformat(), "to": here.isoformat()}
        content |= {"from_zone": zone_name(source), "to_zone": zone_name(target)} | ({"note": note} if note else {})
        text = f"{_on_clock(there)} is {_on_clock(here)}" + (f". {note}" if note else "")
        return ToolOutput(text, content, _clock_spellings(here))


class CurrentTimeArguments(Arguments):
    """One zone."""

    zone: str = Field(default="", description=_ZONE + " Empty: the zone of this machine.")


class CurrentTime(_DateTool[CurrentTimeArguments]):
    """The time now."""

    name = "current_time"
    description = "Date and clock time right now in a city."
    arguments = CurrentTimeArguments

    async def run(self, arguments: CurrentTimeArguments) -> ToolOutput:
        """`content`: now (ISO 8601 with offset), zone, weekday."""
        now = self._clock()
        if arguments.zone:
            now = now.astimezone(find_zone(arguments.zone))
        content: JsonObject = {"now": now.isoformat(timespec="seconds"), "weekday": f"{now:%A}"}
        content["zone"] = zone_name(now.tzinfo) if now.tzinfo else ""
        return ToolOutput(
            f"Now it is {_on_clock(now)}", content, (*_clock_spellings(now), f"{now:%A}", f"{now:%Y-%m-%d}")
        )


def _calendar_parts(start: datetime, end: datetime) -> str:
    """A span in calendar units, such as "1 year 2 months 3 days"."""
    delta = relativedelta(end, start)
    counts = (delta.years, delta.months, delta.days, delta.hours, delta.minutes)
    units = ("year", "month", "day", "hour", "minute")
    return " ".join(_plural(count, unit) for count, unit in zip(counts, units, strict=True) if count) or "0 days"


def _count_weekdays(start: date, end: date) -> int:
    """Mondays to Fridays after the earlier and up to the later day, in constant time."""
    first, last = sorted((start, end))
    weeks, rest = divmod((last - first).days, 7)
    return weeks * 5 + sum((last - timedelta(days=back)).weekday() < 5 for back in range(rest))


def _plural(count: int, unit: str) -> str:
    return f"{count:,} {unit}{'' if abs(count) == 1 else 's'}"


def _spellings(moment: Moment) -> tuple[str, ...]:
    if moment.has_time:
        return _clock_spellings(moment.wall)
    wall = moment.wall
    return (wall.date().isoformat(), f"{wall:%B} {wall.day}", f"{wall.day} {wall:%B}", f"{wall:%A}")


def _clock_spellings(wall: datetime) -> tuple[str, ...]:
    half = wall.hour % 12 or 12
    return (f"{wall:%H:%M}", f"{half}:{wall:%M}", f"{half} {wall:%p}", f"{half}{wall:%p}")


def _on_clock(moment: datetime) -> str:
    zone = zone_name(moment.tzinfo) if moment.tzinfo else ""
    half = f"{moment.hour % 12 or 12}:{moment:%M} {moment:%p}"
    where = "" if zone in ("", offset_of(moment)) else f" in {zone}"
    return f"{moment:%H:%M} ({half}) on {moment:%A %Y-%m-%d}{where} ({offset_of(moment)})"
