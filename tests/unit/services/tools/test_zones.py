"""Zones are found by the names people use; skipped and doubled times are told."""

from datetime import UTC, datetime

import pytest

from services.tools.tool import ToolError
from services.tools.zones import find_zone, localize, zone_name


@pytest.mark.parametrize(
    "name, expected",
    [
        ("Europe/Berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Tokyo", "Asia/Tokyo"),
        ("new york", "America/New_York"),
        ("San Francisco", "America/Los_Angeles"),
        ("PST", "America/Los_Angeles"),
        ("London time", "Europe/London"),
        ("Germany", "Europe/Berlin"),
        ("India", "Asia/Kolkata"),
        ("UTC+5:30", "UTC+05:30"),
        ("gmt-3", "UTC-03:00"),
        ("UTC", "UTC"),
    ],
)
def test_a_zone_is_found(name: str, expected: str) -> None:
    assert zone_name(find_zone(name)) == expected


@pytest.mark.parametrize(
    "name, reason, hint",
    [
        ("Berln", "UNKNOWN_ZONE", "Europe/Berlin"),
        ("Narnia", "UNKNOWN_ZONE", "Europe/Paris"),
        ("", "UNKNOWN_ZONE", "Europe/Paris"),
        ("UTC+99", "UNKNOWN_ZONE", "15 hours"),
        ("../../etc/passwd", "UNKNOWN_ZONE", "Europe/Paris"),
        ("Brazil", "AMBIGUOUS_ZONE", "America/Sao_Paulo"),
        ("USA", "AMBIGUOUS_ZONE", "America/New_York"),
    ],
)
def test_what_is_no_zone_says_what_to_write(name: str, reason: str, hint: str) -> None:
    with pytest.raises(ToolError) as caught:
        find_zone(name)
    assert caught.value.reason == reason
    assert hint in caught.value.message


def test_a_time_that_clocks_skip_is_moved_forward_and_told() -> None:
    moment, note = localize(datetime(2026, 3, 29, 2, 30), find_zone("Berlin"))
    assert moment.astimezone(UTC) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert "does not exist" in note
    assert "03:30" in note


def test_a_time_that_happens_twice_is_the_first_and_told() -> None:
    moment, note = localize(datetime(2026, 10, 25, 2, 30), find_zone("Berlin"))
    assert moment.astimezone(UTC) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert "happens twice" in note


def test_an_ordinary_time_has_no_note() -> None:
    assert localize(datetime(2026, 6, 1, 12), find_zone("Berlin"))[1] == ""
