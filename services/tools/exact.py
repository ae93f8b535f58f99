"""Numbers for the calculator: exact fractions, rounded decimals where none exist, and bounds on both."""

import math
from collections.abc import Callable
from decimal import Context, Decimal, DecimalException, Overflow, Underflow
from fractions import Fraction

from services.tools.tool import ToolError

Number = Fraction | Decimal
"""A Fraction is exact; a Decimal has been rounded."""

MAX_EXACT_BITS = 10_000
"""Numerators and denominators beyond this are rounded (3,010 digits)."""
MAX_EXPONENT = 9_999
"""Magnitudes beyond ten to this power are refused."""
MAX_FACTORIAL = 1_000

_CONTEXT = Context(prec=34, Emax=MAX_EXPONENT, Emin=-MAX_EXPONENT)
_ROUNDED_DIGITS = 15
_DECIMAL_DIGITS = 20
_INTEGER_DIGITS = 60


def parse(text: str) -> Number:
    """The exact value of a decimal literal. Raises ToolError TOO_LARGE."""
    _, _, exponent = text.lower().partition("e")
    if len(exponent) > 6 or abs(int(exponent or 0)) > MAX_EXPONENT:
        raise _too_large()
    return _bounded(Fraction(text))


def whole(value: int) -> Number:
    """A whole number, rounded when it is beyond MAX_EXACT_BITS."""
    return _bounded(Fraction(value))


def absolute(value: Number) -> Number:
    """Without its sign."""
    return -value if value < 0 else value


def add(left: Number, right: Number) -> Number:
    """Sum."""
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return _bounded(left + right)
    return _rounded(lambda: _CONTEXT.add(to_decimal(left), to_decimal(right)))


def multiply(left: Number, right: Number) -> Number:
    """Product."""
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return _bounded(left * right)
    return _rounded(lambda: _CONTEXT.multiply(to_decimal(left), to_decimal(right)))


def divide(left: Number, right: Number) -> Number:
    """Quotient. Raises ToolError DIVISION_BY_ZERO."""
    if right == 0:
        raise ToolError("DIVISION_BY_ZERO", "Division by zero has no value.")
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return _bounded(left / right)
    return _rounded(lambda: _CONTEXT.divide(to_decimal(left), to_decimal(right)))


def floor_divide(left: Number, right: Number) -> Number:
    """Quotient rounded down."""
    return whole(math.floor(divide(left, right)))


def remainder(left: Number, right: Number) -> Number:
    """What floor division leaves; it has the divisor's sign."""
    return add(left, -multiply(right, floor_divide(left, right)))


def power(base: Number, exponent: Number) -> Number:
    """Base raised to exponent, exact where the result is rational and small enough."""
    if base == 0:
        if exponent < 0:
            raise ToolError("DIVISION_BY_ZERO", "Zero to a negative power has no value.")
        return Fraction(int(exponent == 0))
    if isinstance(base, Fraction) and isinstance(exponent, Fraction):
        exact = _exact_power(base, exponent)
        if exact is not None:
            return exact
    if base < 0 and exponent != int(exponent):
        raise ToolError("NOT_REAL", "A fractional power of a negative number is not a real number.")
    magnitude = float(_CONTEXT.log10(abs(to_decimal(base)))) * float(exponent)
    if abs(magnitude) >= MAX_EXPONENT:
        raise _too_large()
    return _rounded(lambda: _CONTEXT.power(to_decimal(base), to_decimal(exponent)))


def root(value: Number, degree: int) -> Number:
    """Real root of a degree of 1 to 1,000; odd roots of negative numbers are real."""
    if not 1 <= degree <= 1_000:
        raise ToolError("INVALID_EXPRESSION", "The degree of a root is a whole number from 1 to 1000.")
    if value < 0:
        if degree % 2 == 0:
            raise ToolError("NOT_REAL", "An even root of a negative number is not a real number.")
        return -power(-value, Fraction(1, degree))
    return power(value, Fraction(1, degree))


def logarithm(value: Number, base: int | None = None) -> Number:
    """Natural logarithm, or to base 2 or 10. Raises ToolError NOT_REAL unless the value is above zero."""
    if value <= 0:
        raise ToolError("NOT_REAL", "The logarithm of zero or less is not a real number.")
    if base == 10:
        return _rounded(lambda: _CONTEXT.log10(to_decimal(value)))
    natural = _rounded(lambda: _CONTEXT.ln(to_decimal(value)))
    return natural if base is None else divide(natural, _CONTEXT.ln(Decimal(base)))


def factorial(value: Number) -> Number:
    """n! for a whole n from 0 to 1,000."""
    if value != int(value) or not 0 <= value <= MAX_FACTORIAL:
        raise ToolError("TOO_LARGE", f"A factorial takes a whole number from 0 to {MAX_FACTORIAL}.")
    return _bounded(Fraction(math.factorial(int(value))))


def to_decimal(value: Number) -> Decimal:
    """Rounded to 34 significant digits."""
    if isinstance(value, Decimal):
        return value
    return _CONTEXT.divide(Decimal(value.numerator), Decimal(value.denominator))


def render(value: Number) -> tuple[str, bool]:
    """The number in plain digits, and whether they are exact (otherwise rounded to 15 significant digits)."""
    if isinstance(value, Fraction):
        digits = _finite_digits(value)
        if digits is not None:
            return digits, True
    shown = Context(prec=_ROUNDED_DIGITS).plus(to_decimal(value))
    if shown == shown.to_integral_value() and abs(shown) < 10**_ROUNDED_DIGITS:
        return str(int(shown)), False
    text = f"{shown.normalize():f}" if -7 < shown.adjusted() < _ROUNDED_DIGITS else f"{shown.normalize():e}"
    return text, False


def _finite_digits(value: Fraction) -> str | None:
    """All digits, or None when they do not end or are too many to show."""
    rest, places = value.denominator, 0
    for prime in (2, 5):
        power_of_prime = 0
        while rest % prime == 0:
            rest //= prime
            power_of_prime += 1
        places = max(places, power_of_prime)
    if rest != 1 or abs(value) * 10**places >= 10 ** (_DECIMAL_DIGITS if places else _INTEGER_DIGITS):
        return None
    scaled = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    sign = "-" if value < 0 else ""
    return sign + (f"{scaled[:-places]}.{scaled[-places:]}" if places else scaled)


def _exact_power(base: Fraction, exponent: Fraction) -> Fraction | None:
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if exponent.denominator > 1_000 or (abs(base) != 1 and bits * abs(exponent) > MAX_EXACT_BITS):
        return None
    if base < 0 and exponent.denominator % 2 == 0:
        return None
    numerator = _exact_root(abs(base.numerator), exponent.denominator)
    denominator = _exact_root(base.denominator, exponent.denominator)
    if numerator is None or denominator is None:
        return None
    rooted = Fraction(-numerator if base < 0 else numerator, denominator)
    return Fraction(rooted ** (exponent.numerator % 2 if abs(rooted) == 1 else exponent.numerator))


def _exact_root(value: int, degree: int) -> int | None:
    if degree == 1:
        return value
    # Newton's iteration on whole numbers; starting above the root it only falls.
    guess = 1 << -(-value.bit_length() // degree)
    while True:
        better = ((degree - 1) * guess + value // guess ** (degree - 1)) // degree
        if better >= guess:
            return guess if guess**degree == value else None
        guess = better


def _bounded(value: Fraction) -> Number:
    bits = max(value.numerator.bit_length(), value.denominator.bit_length())
    return value if bits <= MAX_EXACT_BITS else _rounded(lambda: to_decimal(value))


def _rounded(compute: Callable[[], Decimal]) -> Decimal:
    try:
        return compute()
    except (Overflow, Underflow) as error:
        raise _too_large() from error
    except DecimalException as error:
        raise ToolError("NOT_REAL", "That has no value among the real numbers.") from error


def _too_large() -> ToolError:
    return ToolError("TOO_LARGE", f"The result would go beyond ten to the power of ±{MAX_EXPONENT:,}.")
