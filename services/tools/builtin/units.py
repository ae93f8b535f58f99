"""Unit conversion: a quantity such as "5 ft 11 in" in another unit."""

import asyncio
import difflib
import re
import tokenize
from datetime import timedelta
from fractions import Fraction
from functools import cached_property

import pint
from pydantic import Field

from services.tools import exact
from services.tools.tool import Arguments, JsonObject, ToolError, ToolOutput, TypedTool

_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,9}/\d{1,9}|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?)"
_TERM = re.compile(rf"(?P<number>{_NUMBER})\s*(?P<unit>['\"′″]|[^\d\s,+-][^\s,+]*(?:\s+[^\d\s,+-][^\s,+]*)*)")
_JOINER = re.compile(r"[\s,+]*")
_FACTOR = r"[A-Za-zµμΩÅ°%_.]+(?:(?:\^|\*\*)?-?\d|[²³])?"
_POWER = re.compile(r"\b(mm|cm|m|km|in|ft|yd|mi)([23])\b")
_UNIT = re.compile(rf"{_FACTOR}(?:(?:\s*[*/·]\s*|\s+){_FACTOR}){{0,6}}|['\"′″]")
"""Words, each with a power of one digit at most: `m^9^9^9` would keep the machine busy for ever."""

_ALIASES = {
    "C": "degC",
    "°C": "degC",
    "°c": "degC",
    "c": "degC",
    "celsius": "degC",
    "centigrade": "degC",
    "degrees celsius": "degC",
    "degrees c": "degC",
    "degrees C": "degC",
    "F": "degF",
    "°F": "degF",
    "°f": "degF",
    "f": "degF",
    "fahrenheit": "degF",
    "degrees fahrenheit": "degF",
    "degrees f": "degF",
    "degrees F": "degF",
    "k": "kelvin",
    "°": "degree",
    "'": "foot",
    "′": "foot",
    '"': "inch",
    "″": "inch",
    "fl oz": "fluid_ounce",
    "fl. oz.": "fluid_ounce",
    "mpg": "mile / gallon",
    "l/100km": "liters_per_100km",
    "l/100 km": "liters_per_100km",
    "liters per 100 km": "liters_per_100km",
    "litres per 100 km": "liters_per_100km",
    "kmh": "kilometer / hour",
    "mbps": "megabit / second",
    "gbps": "gigabit / second",
    "kb": "kilobyte",
    "mb": "megabyte",
    "gb": "gigabyte",
    "tb": "terabyte",
    "cc": "centimeter ** 3",
    "cal": "calorie",
    "btu": "british_thermal_unit",
}
"""What pint lacks or reads as something nobody means here: to it F is farad, C is coulomb, "fl oz" is fL·oz."""


class ConvertUnitsArguments(Arguments):
    """What to convert, and into what."""

    quantity: str = Field(
        min_length=1,
        max_length=100,
        description="Number and unit, such as 5 miles or 5 ft 11 in.",
        json_schema_extra={"pattern": r"^-?[0-9][0-9.,/]* [A-Za-z°][-A-Za-z0-9°/^*. ]*$"},
    )
    to_unit: str = Field(min_length=1, max_length=60, description="Unit wanted, such as km.")


class ConvertUnits(TypedTool[ConvertUnitsArguments]):
    """The same quantity in another unit, computed in exact fractions where the units are defined exactly."""

    name = "convert_units"
    description = "A quantity in another unit, such as 72 fahrenheit in celsius or 3 hours in minutes."
    arguments = ConvertUnitsArguments
    timeout = timedelta(seconds=10)

    async def run(self, arguments: ConvertUnitsArguments) -> ToolOutput:
        """`content`: quantity, value (text), unit, is_exact."""
        # In a thread: pint's registry takes half a second to build on first use.
        return await asyncio.to_thread(self._convert, arguments)

    @cached_property
    def _registry(self) -> "pint.UnitRegistry[Fraction]":
        registry: pint.UnitRegistry[Fraction] = pint.UnitRegistry(non_int_type=Fraction)
        registry.define("liters_per_100km = liter / (100 * kilometer)")
        return registry

    def _convert(self, arguments: ConvertUnitsArguments) -> ToolOutput:
        target = self._unit(arguments.to_unit)
        value, is_exact = exact.render(self._total(arguments.quantity, target))
        shown, unit = " ".join(arguments.quantity.split()), " ".join(arguments.to_unit.split())
        content: JsonObject = {"quantity": shown, "value": value, "unit": unit, "is_exact": is_exact}
        return ToolOutput(f"{shown} {'=' if is_exact else '≈'} {value} {unit}", content, (value,))

    def _total(self, quantity: str, target: pint.Unit) -> Fraction:
        """The sum of all terms of a quantity such as "5 ft 11 in"; a leading sign is the whole quantity's."""
        text = quantity.strip().replace("−", "-")
        position = 1 if text[:1] in ("-", "+") else 0
        total = Fraction(0)
        while position < len(text):
            term = _TERM.match(text, position)
            if term is None:
                message = f"{quantity!r} is not a number with a unit, such as 5 miles or 5 ft 11 in."
                raise ToolError("INVALID_QUANTITY", message)
            number, unit = self._number(term["number"]), self._unit(term["unit"].removesuffix(" and"))
            total += self._to(-number if text[0] == "-" else number, unit, target)
            joiner = _JOINER.match(text, term.end())
            position = joiner.end() if joiner else term.end()
            if unit == self._registry.foot and text[position:].isdigit():
                text += " in"  # "6 ft 2" leaves the inches unsaid.
        return total

    def _number(self, text: str) -> Fraction:
        try:
            return Fraction(text.replace(",", ""))
        except ZeroDivisionError as error:
            raise ToolError("DIVISION_BY_ZERO", f"{text} has no value.") from error

    def _unit(self, text: str) -> pint.Unit:
        words = _POWER.sub(r"\1^\2", " ".join(text.split()))
        lower = words.lower()
        joined = lower.replace(" ", "_")
        for name in (_ALIASES.get(words, ""), words, _ALIASES.get(lower, ""), lower, joined, joined.removesuffix("s")):
            unit = self._parsed(name)
            if unit is not None:
                return unit
        close = [name for name in difflib.get_close_matches(lower, dir(self._registry), n=3) if self._parsed(name)]
        hint = f" Close to it: {', '.join(close)}." if close else ""
        raise ToolError("UNKNOWN_UNIT", f"{words[:60]!r} is not a unit known here.{hint}")

    def _parsed(self, name: str) -> pint.Unit | None:
        if name not in _ALIASES.values() and not _UNIT.fullmatch(name):
            return None
        try:
            return self._registry.parse_units(name)
        except (pint.PintError, ValueError, TypeError, AttributeError, tokenize.TokenError):
            # The parser is not of one mind on what to raise for what it cannot read.
            return None

    def _to(self, number: Fraction, unit: pint.Unit, target: pint.Unit) -> Fraction:
        quantity = self._registry.Quantity(number, unit)
        if (unit * target).dimensionless and not unit.dimensionless:
            # Consumption and economy are reciprocal: 30 mpg in litres per 100 km.
            if not number:
                raise ToolError("DIVISION_BY_ZERO", "Nothing per unit has no reciprocal.")
            quantity = 1 / quantity
        try:
            return Fraction(quantity.to(target).magnitude)
        except pint.DimensionalityError as error:
            message = f"{_dimension(unit)} cannot become {_dimension(target)}: the units measure different things."
            raise ToolError("INCOMPATIBLE_UNITS", message) from error
        except (pint.PintError, TypeError) as error:
            raise ToolError("UNSUPPORTED_UNIT", "Logarithmic units are not converted here.") from error


def _dimension(unit: pint.Unit) -> str:
    """Such as "length / time"; written out here because pint cannot print fractional powers."""
    powers = [(name.strip("[]"), Fraction(str(power))) for name, power in unit.dimensionality.items()]
    over = " · ".join(name if power == 1 else f"{name}^{power}" for name, power in powers if power > 0)
    under = "".join(f" / {name}" if power == -1 else f" / {name}^{-power}" for name, power in powers if power < 0)
    return (over or "1") + under if powers else "a plain number"
