"""Quantities are converted exactly; what cannot be converted says why; no unit keeps the machine busy."""

import time

import pytest

from services.tools.builtin.units import ConvertUnits
from services.tools.tool import ToolError


@pytest.fixture(scope="module")
def tool() -> ConvertUnits:
    """One registry of units for all tests: it takes a fifth of a second to build."""
    return ConvertUnits()


@pytest.mark.parametrize(
    "quantity, to_unit, text",
    [
        ("5 miles", "km", "5 miles = 8.04672 km"),
        ("5 ft 11 in", "cm", "5 ft 11 in = 180.34 cm"),
        ("6 ft 2", "cm", "6 ft 2 = 187.96 cm"),
        ("5'11\"", "cm", "5'11\" = 180.34 cm"),
        ("-40 °F", "celsius", "-40 °F = -40 celsius"),
        ("72 fahrenheit", "C", "72 fahrenheit ≈ 22.2222222222222 C"),
        ("-5 ft 6 in", "in", "-5 ft 6 in = -66 in"),
        ("30 mpg", "l/100km", "30 mpg ≈ 7.84048611111111 l/100km"),
        ("1/2 cup", "tbsp", "1/2 cup = 8 tbsp"),
        ("2,340 lbs", "kg", "2,340 lbs = 1061.4061458 kg"),
        ("5 pounds and 3 ounces", "grams", "5 pounds and 3 ounces = 2353.010419375 grams"),
        ("3 square feet", "m2", "3 square feet = 0.27870912 m2"),
        ("8 fl oz", "ml", "8 fl oz = 236.5882365 ml"),
        ("100 Mbps", "MB/s", "100 Mbps = 12.5 MB/s"),
        ("1 GiB", "MB", "1 GiB = 1073.741824 MB"),
        ("12 nautical miles", "km", "12 nautical miles = 22.224 km"),
        ("3 hours 20 minutes", "minutes", "3 hours 20 minutes = 200 minutes"),
        ("350 degrees F", "degrees C", "350 degrees F ≈ 176.666666666667 degrees C"),
    ],
)
async def test_a_quantity_is_converted(tool: ConvertUnits, quantity: str, to_unit: str, text: str) -> None:
    output = await tool.call({"quantity": quantity, "to_unit": to_unit})
    assert output.text == text
    assert output.values == (output.content["value"],)


@pytest.mark.parametrize(
    "quantity, to_unit, reason",
    [
        ("5 parsnips", "kg", "UNKNOWN_UNIT"),
        ("250 euros", "dollars", "UNKNOWN_UNIT"),
        ("5 m", "__import__('os')", "UNKNOWN_UNIT"),
        ("1 _units", "m", "UNKNOWN_UNIT"),
        ("5 kg", "miles", "INCOMPATIBLE_UNITS"),
        ("5", "km", "INVALID_QUANTITY"),
        ("a lot of km", "m", "INVALID_QUANTITY"),
        ("1/0 m", "ft", "DIVISION_BY_ZERO"),
        ("0 mpg", "l/100km", "DIVISION_BY_ZERO"),
        ("5 dB", "dimensionless", "UNSUPPORTED_UNIT"),
    ],
)
async def test_what_cannot_be_converted_says_why(tool: ConvertUnits, quantity: str, to_unit: str, reason: str) -> None:
    with pytest.raises(ToolError) as caught:
        await tool.call({"quantity": quantity, "to_unit": to_unit})
    assert caught.value.reason == reason


async def test_an_unknown_unit_names_close_ones(tool: ConvertUnits) -> None:
    with pytest.raises(ToolError, match="kilometer"):
        await tool.call({"quantity": "5 kilomter", "to_unit": "m"})


async def test_what_two_units_measure_is_told_in_words(tool: ConvertUnits) -> None:
    with pytest.raises(ToolError, match="mass cannot become length / time"):
        await tool.call({"quantity": "5 kg", "to_unit": "km/h"})


@pytest.mark.parametrize("unit", ["m^9^9^9", "m^99999999", "km^9*" * 10 + "km^9", "m**9**9"])
async def test_a_hostile_unit_is_refused_at_once(tool: ConvertUnits, unit: str) -> None:
    started = time.process_time()
    with pytest.raises(ToolError):
        await tool.call({"quantity": f"1 {unit}", "to_unit": "ft"})
    assert time.process_time() - started < 0.5
