"""The calculator: one expression in, one exact (or honestly rounded) value out."""

from fractions import Fraction

from pydantic import Field

from services.tools import arithmetic, exact
from services.tools.functions import CONSTANTS, FUNCTIONS
from services.tools.tool import Arguments, JsonObject, ToolOutput, TypedTool

_WORDS = sorted({rf"{name}\(" for name in FUNCTIONS} | (CONSTANTS.keys() - {"e"}) | {"of ", "mod "})
_PATTERN = rf"^([-+*/^%().,<>=! 0-9]|{'|'.join(_WORDS)})+$"


class CalculateArguments(Arguments):
    """One expression."""

    expression: str = Field(
        min_length=1,
        max_length=arithmetic.MAX_EXPRESSION_CHARS,
        description="Arithmetic such as 17.5% of 2340, 84.50 + 15%, sqrt(2) * 3^4, 17 mod 5, 10! or 15 < 4^2.",
        # A model that writes under a grammar cannot even begin "48 euros * 3". What arrives is read more freely.
        json_schema_extra={"pattern": _PATTERN},
    )


class Calculate(TypedTool[CalculateArguments]):
    """Exact arithmetic."""

    name = "calculate"
    description = "Exact arithmetic on plain numbers, such as 15% of 60, 2^8 or sqrt(7) < 3."
    arguments = CalculateArguments

    async def run(self, arguments: CalculateArguments) -> ToolOutput:
        """`content`: expression, value (text), is_exact, and exact (all digits or a fraction) for a rounded value."""
        content: JsonObject
        result = arithmetic.evaluate(arguments.expression)
        shown = " ".join(arguments.expression.split())
        if isinstance(result, bool):
            value = str(result).lower()
            content = {"expression": shown, "value": value, "is_exact": True}
            return ToolOutput(f"{shown} is {value}", content, (value, "yes" if result else "no"))
        value, is_exact = exact.render(result)
        content = {"expression": shown, "value": value, "is_exact": is_exact}
        if isinstance(result, Fraction) and not is_exact and result.denominator < 10**20:
            content["exact"] = str(result)
        return ToolOutput(f"{shown} {'=' if is_exact else '≈'} {value}", content, (value,))
