"""Time zones by the names people use, and wall-clock times that do not exist or happen twice."""

import difflib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo, available_timezones

from services.tools.tool import ToolError

_OFFSET = re.compile(r"(?:utc|gmt)?\s*([+-])\s*(\d{1,2})(?::?([0-5]\d))?", re.IGNORECASE)

_ABBREVIATIONS = {
    "America/New_York": "et est edt eastern",
    "America/Chicago": "ct cst cdt central",
    "America/Denver": "mt mst mdt mountain",
    "America/Los_Angeles": "pt pst pdt pacific",
    "Europe/London": "bst wet",
    "Europe/Berlin": "cet cest",
    "Europe/Athens": "eet eest",
    "Asia/Kolkata": "ist",
    "Asia/Tokyo": "jst",
    "Asia/Seoul": "kst",
    "Asia/Singapore": "sgt",
    "Asia/Hong_Kong": "hkt",
    "Europe/Moscow": "msk",
    "Australia/Sydney": "aest aedt",
    "Australia/Perth": "awst",
    "Pacific/Auckland": "nzst nzdt",
    "UTC": "utc gmt z zulu",
}
"""Where an abbreviation has several readings this is the commonest; the answer always shows the zone it took."""

_CITIES = {
    "America/New_York": "new york city, nyc, boston, washington, washington dc, miami, atlanta, philadelphia, orlando",
    "America/Chicago": "houston, dallas, austin, san antonio, new orleans, minneapolis, nashville, texas",
    "America/Denver": "salt lake city, albuquerque",
    "America/Los_Angeles": "la, san francisco, seattle, san diego, las vegas, portland, san jose, california",
    "America/Toronto": "ottawa, quebec",
    "America/Edmonton": "calgary",
    "America/Sao_Paulo": "rio, rio de janeiro, brasilia",
    "Europe/London": "uk, england, edinburgh, manchester, glasgow, oxford, cambridge, liverpool",
    "Europe/Berlin": "munich, hamburg, frankfurt, cologne, stuttgart",
    "Europe/Madrid": "barcelona, seville, valencia",
    "Europe/Rome": "milan, naples, florence, venice, turin",
    "Europe/Paris": "lyon, marseille, nice, toulouse",
    "Europe/Zurich": "geneva, basel, bern",
    "Europe/Moscow": "st petersburg, saint petersburg",
    "Asia/Shanghai": "beijing, shenzhen, guangzhou, china",
    "Asia/Kolkata": "mumbai, delhi, new delhi, bangalore, bengaluru, chennai, hyderabad, pune",
    "Asia/Tokyo": "osaka, kyoto",
    "Asia/Dubai": "abu dhabi",
    "Asia/Jerusalem": "tel aviv",
    "Asia/Bangkok": "hanoi",
    "Australia/Sydney": "canberra",
    "Pacific/Auckland": "wellington",
}


def find_zone(name: str) -> tzinfo:
    """The zone of an IANA name, a city, a country with one zone, an abbreviation or an offset such as "UTC+5:30".

    Raises ToolError UNKNOWN_ZONE, or AMBIGUOUS_ZONE for a country with several.
    """
    wanted = _key(name)
    offset = _OFFSET.fullmatch(name.strip())
    if offset:
        return _fixed(offset)
    zone = _zone_by_key().get(wanted)
    if zone is None:
        raise _unknown(name, wanted)
    return ZoneInfo(zone)


def zone_name(zone: tzinfo) -> str:
    """The zone as people write it: its IANA name, or its offset."""
    return zone.key if isinstance(zone, ZoneInfo) else str(zone)


def localize(wall: datetime, zone: tzinfo) -> tuple[datetime, str]:
    """A wall-clock time in a zone, and a note (else empty) when clocks skipped that time or showed it twice."""
    first, second = wall.replace(tzinfo=zone, fold=0), wall.replace(tzinfo=zone, fold=1)
    if first.utcoffset() == second.utcoffset():
        return first, ""
    shown = f"{wall:%H:%M} on {wall:%Y-%m-%d}"
    actual = first.astimezone(UTC).astimezone(zone)
    if actual.replace(tzinfo=None) != wall:
        note = f"{shown} does not exist in {zone_name(zone)}: clocks go forward then, so it was read as {actual:%H:%M}."
        return actual, note
    note = f"{shown} happens twice in {zone_name(zone)}: the first was taken; the second is {offset_of(second)}."
    return first, note


def offset_of(moment: datetime) -> str:
    """The offset of an aware time, such as "UTC+05:30"."""
    return f"UTC{moment.isoformat(timespec='minutes')[16:]}" if moment.utcoffset() else "UTC"


def _fixed(match: re.Match[str]) -> tzinfo:
    hours, minutes = int(match[2]), int(match[3] or 0)
    if hours > 15:
        raise ToolError("UNKNOWN_ZONE", "An offset from UTC is at most 15 hours.")
    span = timedelta(hours=hours, minutes=minutes)
    return timezone(-span if match[1] == "-" else span)


def _key(name: str) -> str:
    return " ".join(re.sub(r"[_.,]", " ", name.lower()).split()).removesuffix(" time").removesuffix(" standard")


@cache
def _zone_by_key() -> Mapping[str, str]:
    zones: dict[str, str] = {}
    # The shortest full name wins a city that has several: "Louisville" is America/Louisville.
    for name in sorted(available_timezones(), key=lambda zone: (zone.count("/"), len(zone)), reverse=True):
        zones[_key(name.rpartition("/")[2])] = name
    zones.update((_key(name), name) for name in available_timezones())
    zones.update((country, only[0]) for country, only in _zones_by_country().items() if len(only) == 1)
    for zone, names in _CITIES.items():
        zones.update((city.strip(), zone) for city in names.split(","))
    for zone, names in _ABBREVIATIONS.items():
        zones.update((abbreviation, zone) for abbreviation in names.split())
    return zones


@cache
def _zones_by_country() -> Mapping[str, list[str]]:
    names = {code: _key(name) for code, name in _rows("iso3166.tab")}
    main: dict[str, list[str]] = {}
    shared: dict[str, list[str]] = {}
    for codes, _, zone, *_ in _rows("zone1970.tab"):
        # The first code is the country the zone is named for; the others only keep the same time.
        first, *others = codes.split(",")
        main.setdefault(names[first], []).append(zone)
        for code in others:
            shared.setdefault(names[code], []).append(zone)
    zones = shared | main
    zones |= dict.fromkeys(("us", "usa", "america"), zones["united states"])
    return zones


def _rows(table: str) -> list[list[str]]:
    text = (resources.files("tzdata") / "zoneinfo" / table).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]


def _unknown(name: str, wanted: str) -> ToolError:
    several = _zones_by_country().get(wanted)
    if several:
        shown = ", ".join(several[:8])
        return ToolError("AMBIGUOUS_ZONE", f"{name!r} has several time zones, name one: {shown}.")
    close = difflib.get_close_matches(wanted, _zone_by_key(), n=1, cutoff=0.8)
    hint = f" Did you mean {_zone_by_key()[close[0]]}?" if close else ""
    return ToolError("UNKNOWN_ZONE", f"No time zone is named {name[:60]!r}.{hint} Use one such as Europe/Paris.")
