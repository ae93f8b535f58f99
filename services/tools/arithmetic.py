"""Exact arithmetic on expressions as people write them: "17.5% of 2,340", "3 * (4.5 - 1/3)", "5! / 2^3", "15 < 4^2".

One pass, no tree: the parser computes while it reads, so nothing is ever evaluated as code. Rational numbers stay
exact; roots, logarithms and angles are rounded. Size, depth and length are bounded: `9^9^9` is refused, not tried.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from services.tools import exact
from services.tools.exact import Number
from services.tools.functions import CONSTANTS, FUNCTIONS
from services.tools.tool import ToolError

MAX_EXPRESSION_CHARS = 500
MAX_DEPTH = 40

_TRANSLATION = str.maketrans(
    {"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "²": "^2", "³": "^3", "≤": "<=", "≥": ">="}
)
_TOKEN = re.compile(
    r"(?P<grouped>\d{1,3}(?:,\d{3})+(?![\d,])(?:\.\d+)?)"
    r"|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z_0-9]*)"
    r"|(?P<operator>\*\*|//|<=|>=|==|!=|[-+*/^%!()<>=,√])"
)
_DIGITS = re.compile(r"(?P<number>\d+)")
_IGNORED = re.compile(r"[\s$€£¥]*")
_COMPARISONS: dict[str, Callable[[Number, Number], bool]] = {
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "=": lambda a, b: a == b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


def evaluate(expression: str) -> Number | bool:
    """The value of an expression; a bool when it compares.

    Raises ToolError with reason INVALID_EXPRESSION, AMBIGUOUS_EXPRESSION, TOO_LARGE, DIVISION_BY_ZERO or NOT_REAL.
    """
    if len(expression) > MAX_EXPRESSION_CHARS:
        raise ToolError("TOO_LARGE", f"The expression is longer than {MAX_EXPRESSION_CHARS} characters.")
    return _Parser(expression.translate(_TRANSLATION)).run()


@dataclass(frozen=True)
class _Value:
    number: Number
    is_percent: bool = False
    """Written with a percent sign: "80 + 10%" adds ten percent of 80."""


class _Parser:
    """Recursive descent, one method per level of precedence, weakest first."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._depth = 0
        self._open_calls = 0
        self._kind = ""
        self._lexeme = ""
        self._advance()

    def run(self) -> Number | bool:
        left = self._sum().number
        verdict: bool | None = None
        while self._lexeme in _COMPARISONS:
            compare = _COMPARISONS[self._take()]
            right = self._sum().number
            verdict = compare(left, right) and verdict is not False
            left = right
        if self._lexeme:
            raise self._unexpected()
        return left if verdict is None else verdict

    def _sum(self) -> _Value:
        left = self._product()
        while self._lexeme in ("+", "-"):
            sign = 1 if self._take() == "+" else -1
            right = self._product()
            change = right.number
            if right.is_percent and not left.is_percent:
                change = exact.multiply(left.number, change)
            left = _Value(exact.add(left.number, exact.multiply(Fraction(sign), change)), left.is_percent)
        return left

    def _product(self) -> _Value:
        left = self._unary()
        while True:
            if self._lexeme == "*":
                self._take()
                left = _Value(exact.multiply(left.number, self._unary().number))
            elif self._lexeme in ("/", "//", "mod"):
                divide = {"/": exact.divide, "//": exact.floor_divide, "mod": exact.remainder}[self._take()]
                left = _Value(divide(left.number, self._unary().number))
            elif self._lexeme in ("of", "off"):
                share = left.number if self._take() == "of" else exact.add(Fraction(1), -left.number)
                left = _Value(exact.multiply(share, self._unary().number))
            else:
                return left

    def _unary(self) -> _Value:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ToolError("TOO_LARGE", f"The expression nests deeper than {MAX_DEPTH} levels.")
        try:
            if self._lexeme in ("-", "+"):
                sign = -1 if self._take() == "-" else 1
                inner = self._unary()
                return _Value(exact.multiply(Fraction(sign), inner.number), inner.is_percent)
            if self._lexeme == "√":
                self._take()
                return _Value(exact.root(self._unary().number, 2))
            return self._power()
        finally:
            self._depth -= 1

    def _power(self) -> _Value:
        base = self._postfix()
        if self._lexeme in ("^", "**"):
            self._take()
            return _Value(exact.power(base.number, self._unary().number))
        return base

    def _postfix(self) -> _Value:
        value = _Value(self._primary())
        while True:
            if self._lexeme == "!":
                self._take()
                value = _Value(exact.factorial(value.number))
            elif self._lexeme in ("%", "percent"):
                self._take()
                self._refuse_operand_after_percent()
                value = _Value(exact.divide(value.number, Fraction(100)), is_percent=True)
            else:
                return value

    def _refuse_operand_after_percent(self) -> None:
        if self._kind in ("number", "grouped") or self._lexeme == "(":
            message = "'%' before a number is not clear: write 'p% of x' for a share, 'a mod b' for a remainder."
            raise ToolError("AMBIGUOUS_EXPRESSION", message)

    def _primary(self) -> Number:
        if self._kind in ("number", "grouped"):
            return exact.parse(self._take().replace(",", ""))
        if self._kind == "name":
            return self._named()
        if self._lexeme == "(":
            self._take()
            inner = self._sum().number
            self._expect(")")
            return inner
        raise self._unexpected()

    def _named(self) -> Number:
        name = self._take().lower()
        if self._lexeme != "(":
            if name in CONSTANTS:
                return CONSTANTS[name]
            raise ToolError("INVALID_EXPRESSION", f"{name!r} is not a known constant; known: {', '.join(CONSTANTS)}.")
        function = FUNCTIONS.get(name)
        if function is None:
            raise ToolError("INVALID_EXPRESSION", f"{name!r} is not a known function; known: {', '.join(FUNCTIONS)}.")
        return function.call(name, self._arguments())

    def _arguments(self) -> list[Number]:
        self._open_calls += 1
        self._take()
        values: list[Number] = []
        while self._lexeme != ")":
            values.append(self._sum().number)
            if self._lexeme != ",":
                break
            self._take()
        self._open_calls -= 1
        self._expect(")")
        return values

    def _expect(self, lexeme: str) -> None:
        if self._lexeme != lexeme:
            raise self._unexpected()
        self._take()

    def _take(self) -> str:
        lexeme = self._lexeme
        self._advance()
        return lexeme

    def _advance(self) -> None:
        blank = _IGNORED.match(self._text, self._position)
        self._position = blank.end() if blank else self._position
        match = _TOKEN.match(self._text, self._position)
        if match is None:
            self._kind, self._lexeme = "", ""
            if self._position < len(self._text):
                raise ToolError("INVALID_EXPRESSION", f"Not arithmetic from here on: {self._rest()!r}.")
            return
        if match.lastgroup == "grouped" and self._open_calls:
            # Inside a call a comma parts arguments: max(100,200) has two.
            match = _DIGITS.match(self._text, self._position) or match
        self._kind, self._lexeme, self._position = (match.lastgroup or "", match.group(), match.end())

    def _rest(self) -> str:
        return self._text[self._position : self._position + 30]

    def _unexpected(self) -> ToolError:
        found = f"{self._lexeme!r} is not expected there" if self._lexeme else "it ends too early"
        return ToolError("INVALID_EXPRESSION", f"{self._text!r} cannot be read: {found}.")
