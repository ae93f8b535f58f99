"""The calculator's named functions and constants."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import reduce

from services.tools import exact
from services.tools.exact import Number
from services.tools.tool import ToolError

MAX_CHOICES = 2_000
"""The largest n in ncr and npr."""


@dataclass(frozen=True)
class Function:
    """A named function and how many arguments it takes."""

    compute: Callable[[Sequence[Number]], Number]
    least: int = 1
    most: int = 1

    def call(self, name: str, arguments: Sequence[Number]) -> Number:
        """Apply it. Raises ToolError when the count of arguments is wrong or the value is not real."""
        if not self.least <= len(arguments) <= self.most:
            wanted = str(self.least) if self.least == self.most else f"{self.least} to {self.most}"
            found = f"{name} takes {wanted} argument(s), not {len(arguments)}; write numbers without commas there."
            raise ToolError("INVALID_EXPRESSION", found)
        return self.compute(arguments)


def _total(values: Sequence[Number]) -> Number:
    return reduce(exact.add, values)


def _mean(values: Sequence[Number]) -> Number:
    return exact.divide(_total(values), Fraction(len(values)))


def _median(values: Sequence[Number]) -> Number:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else _mean(ordered[middle - 1 : middle + 1])


def _round(values: Sequence[Number]) -> Number:
    """Half away from zero, as taught at school; Python's own rounds half to even."""
    places = _whole(values[1], "round", -30, 30) if len(values) > 1 else 0
    scale = Fraction(10) ** places
    scaled = exact.multiply(exact.absolute(values[0]), scale)
    rounded = math.floor(exact.add(scaled, Fraction(1, 2)))
    return exact.divide(Fraction(-rounded if values[0] < 0 else rounded), scale)


def _whole(value: Number, name: str, least: int, most: int) -> int:
    if value != int(value) or not least <= value <= most:
        raise ToolError("INVALID_EXPRESSION", f"{name} takes a whole number from {least} to {most} there.")
    return int(value)


def _integers(values: Sequence[Number], name: str) -> list[int]:
    bound = 10**exact.MAX_EXPONENT
    return [_whole(value, name, -bound, bound) for value in values]


def _choices(count: Callable[[int, int], int], name: str) -> Function:
    def compute(values: Sequence[Number]) -> Number:
        n, k = (_whole(value, name, 0, MAX_CHOICES) for value in values)
        return exact.whole(count(n, k))

    return Function(compute, 2, 2)


def _real(function: Callable[[float], float]) -> Function:
    """A function of one angle or ratio, by floating point: 15 digits hold."""

    def compute(values: Sequence[Number]) -> Number:
        try:
            result = function(float(values[0]))
        except (ValueError, OverflowError) as error:
            raise ToolError("NOT_REAL", "The function has no real value there.") from error
        return Decimal(f"{result:.15g}")

    return Function(compute)


def _logarithm(values: Sequence[Number]) -> Number:
    if len(values) == 1:
        return exact.logarithm(values[0])
    return exact.divide(exact.logarithm(values[0]), exact.logarithm(values[1]))


CONSTANTS: dict[str, Number] = {
    "pi": Decimal("3.141592653589793238462643383279503"),
    "e": Decimal("2.718281828459045235360287471352662"),
    "tau": Decimal("6.283185307179586476925286766559006"),
}

FUNCTIONS: dict[str, Function] = {
    "sqrt": Function(lambda v: exact.root(v[0], 2)),
    "cbrt": Function(lambda v: exact.root(v[0], 3)),
    "root": Function(lambda v: exact.root(v[0], _whole(v[1], "root", 1, 1_000)), 2, 2),
    "pow": Function(lambda v: exact.power(v[0], v[1]), 2, 2),
    "abs": Function(lambda v: exact.absolute(v[0])),
    "round": Function(_round, 1, 2),
    "floor": Function(lambda v: exact.whole(math.floor(v[0]))),
    "ceil": Function(lambda v: exact.whole(math.ceil(v[0]))),
    "trunc": Function(lambda v: exact.whole(math.trunc(v[0]))),
    "min": Function(min, 1, 100),
    "max": Function(max, 1, 100),
    "sum": Function(_total, 1, 100),
    "mean": Function(_mean, 1, 100),
    "avg": Function(_mean, 1, 100),
    "average": Function(_mean, 1, 100),
    "median": Function(_median, 1, 100),
    "gcd": Function(lambda v: exact.whole(math.gcd(*_integers(v, "gcd"))), 1, 100),
    "lcm": Function(lambda v: exact.whole(math.lcm(*_integers(v, "lcm"))), 1, 100),
    "factorial": Function(lambda v: exact.factorial(v[0])),
    "ncr": _choices(math.comb, "ncr"),
    "comb": _choices(math.comb, "comb"),
    "npr": _choices(math.perm, "npr"),
    "perm": _choices(math.perm, "perm"),
    "exp": Function(lambda v: exact.power(CONSTANTS["e"], v[0])),
    "ln": Function(lambda v: exact.logarithm(v[0])),
    "log": Function(_logarithm, 1, 2),
    "log10": Function(lambda v: exact.logarithm(v[0], 10)),
    "log2": Function(lambda v: exact.logarithm(v[0], 2)),
    "sin": _real(math.sin),
    "cos": _real(math.cos),
    "tan": _real(math.tan),
    "asin": _real(math.asin),
    "acos": _real(math.acos),
    "atan": _real(math.atan),
    "radians": _real(math.radians),
    "degrees": _real(math.degrees),
}
