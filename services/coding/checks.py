"""Examples of what a program must do, from the task's own words, and calls that a model thinks of, tried on it."""

import ast
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from services.coding.sandbox.execution import Execution
from services.coding.sandbox.program import Program
from services.coding.verdict import Finding, Severity

CHECKS_FILE = "checks.jsonl"
MAX_CHECKS = 8
MAX_SOURCE_CHARS = 400
MAX_CANDIDATES = 100
"""Places of a task that are looked at; a longer one has its examples at its beginning."""

_RELATION = re.compile(
    r"[`*]*\s*(?:is|==|=|->|→|=>|returns?|gives?|equals|yields|(?:should|must) (?:be|return))\s+[`*]*"
)
_CALL = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\(")
_WANTED = re.compile(
    r"\b(?:write|implement|define|create|make|build|code|add)\b[^.\n]{0,40}"
    r"\bfunction (?:called |named )?`?([A-Za-z_]\w*)\([^()]*\)(?!`?\s*=)",
    re.I,
)
_SCALAR = re.compile(r"-?\d+(?:\.\d+)?|True\b|False\b|None\b")
_CLOSING = {"[": "]", "(": ")", "{": "}", '"': '"', "'": "'"}

# Runs the code, which may leave and may take any name, then the checks on what it defined. A line is written for each
# check, so that one which never ends is known.
_TRIAL = """
def _places(traceback):
    while traceback:
        if traceback.tb_frame.f_code.co_filename in (__file__, "<string>", "<code>"):
            yield traceback.tb_lineno
        traceback = traceback.tb_next

def _try_checks(names, places=_places, open=open, eval=eval, repr=repr, bool=bool, list=list, len=len, type=type):
    import json
    try:
        exec(compile({code!r}, "<code>", "exec"), names)
    except SystemExit as end:
        if end.code not in (None, 0):
            raise
    with open({file!r}, "w") as file:
        for call, expected in {checks!r}:
            tried = {{"call": call}}
            try:
                tried["got"] = repr(value := eval(call, names))[:{limit}]
                tried["holds"] = bool(value == eval(expected, {{}}))
            except Exception as error:
                tried["error"] = f"{{type(error).__name__}}: {{error}}"[:{limit}]
                lines = list(places(error.__traceback__))  # this loop, the call, and the code's own
                tried["is_own"], tried["line"] = len(lines) < 3, lines[-1]
            file.write(json.dumps(tried) + "\\n")
            file.flush()

_try_checks(globals())
"""


@dataclass(frozen=True)
class Check:
    """A call, and what it must return: both Python expressions of literals."""

    call: str
    expected: str


@dataclass(frozen=True)
class Trial:
    """What a check came to."""

    check: Check
    holds: bool
    got: str = ""
    """The value as Python writes it; empty when there is none."""
    error: str = ""
    """The exception that the code raised, or the limit that it broke."""
    line: int = 0
    """Where the code raised it, from 1; 0 when there is none."""

    @property
    def evidence(self) -> str:
        """What happened, and what should have, in a line."""
        happened = f"raised {self.error}" if self.error else f"returned {self.got}"
        return f"{self.check.call} {happened}; expected {self.check.expected}"


def checks_in(task: str, code: str) -> tuple[Check, ...]:
    """The examples in the task's words, such as "double(2) is 4", of what the code defines."""
    found: dict[str, Check] = {}
    defined = _defined(code)
    for match in islice((match for match in _CALL.finditer(task) if match[1] in defined), MAX_CANDIDATES):
        call = _shortest(task[match.start() : match.start() + MAX_SOURCE_CHARS], ")")
        end = match.start() + len(call)
        expected = _value_after(task[end : end + MAX_SOURCE_CHARS]) if call else ""
        if _is_check(call, expected, defined):
            found.setdefault(call.strip(), Check(call.strip(), expected.strip()))
            if len(found) == MAX_CHECKS:
                break
    return tuple(found.values())


def usable(call: str, expected: str, code: str) -> Check | None:
    """The check, when it is a call of something that the code defines with literals, and expects a literal."""
    return Check(call.strip(), expected.strip()) if _is_check(call, expected, _defined(code)) else None


def _is_check(call: str, expected: str, defined: Collection[str]) -> bool:
    try:
        node = ast.parse(call.strip(), mode="eval").body
        ast.literal_eval(expected.strip())
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in defined:
            return False
        for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
            ast.literal_eval(argument)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return False
    return True


def missing_function(task: str, code: str) -> tuple[Finding, ...]:
    """A finding when the task names the function that it wants, such as "a function double(n)", and there is none."""
    wanted = _WANTED.search(task)
    if wanted is None or wanted[1] in _bound(code):
        return ()
    return (Finding(Severity.BLOCKER, f"The task asks for a function {wanted[1]}; the program has none."),)


def with_checks(code: str, checks: Sequence[Check]) -> Program:
    """The program that runs the code, then tries the checks; see `read_trials`."""
    pairs = [(check.call, check.expected) for check in checks]
    return Program(_TRIAL.format(code=code, file=CHECKS_FILE, limit=MAX_SOURCE_CHARS, checks=pairs))


def read_trials(execution: Execution, checks: Sequence[Check]) -> tuple[Trial, ...]:
    """What the checks came to. A check that is wrong in itself, such as in the number of its arguments, is left out.

    The first one without an outcome is the one that broke a limit.
    """
    text = next((file.text or "" for file in execution.files if file.name == CHECKS_FILE), "")
    told = list(_entries(text))
    trials = [_trial(check, entry) for check, entry in zip(checks, told, strict=False) if not entry.get("is_own")]
    if len(told) < len(checks) and not execution.is_success:
        trials.append(Trial(checks[len(told)], holds=False, error=execution.describe()))
    return tuple(trials)


def _entries(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            return  # it was killed while it wrote
        if not isinstance(entry, dict):
            return
        yield entry


def _trial(check: Check, entry: dict[str, Any]) -> Trial:
    line = entry.get("line")
    place = line if isinstance(line, int) and line > 0 else 0
    return Trial(check, entry.get("holds") is True, str(entry.get("got", "")), str(entry.get("error", "")), place)


def _defined(code: str) -> set[str]:
    """The functions of the code that can be called with literals alone."""
    return {node.name for node in _parsed(code).body if isinstance(node, ast.FunctionDef)}


def _bound(code: str) -> set[str]:
    """All names that the code binds anywhere."""
    nodes = list(ast.walk(_parsed(code)))
    names = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    names |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return names | {node.asname or node.name for node in nodes if isinstance(node, ast.alias)}


def _parsed(code: str) -> ast.Module:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])


def _value_after(text: str) -> str:
    relation = _RELATION.match(text)
    if relation is None:
        return ""
    rest = text[relation.end() :]
    if scalar := _SCALAR.match(rest):
        return scalar[0]
    return _shortest(rest, _CLOSING[rest[0]]) if rest[:1] in _CLOSING else ""


def _shortest(text: str, closing: str) -> str:
    """The shortest beginning of the text that ends so and is an expression; empty when there is none."""
    return next((part for part in _beginnings(text, closing) if _is_expression(part)), "")


def _beginnings(text: str, closing: str) -> Iterator[str]:
    for match in re.finditer(re.escape(closing), text):
        yield text[: match.end()]


def _is_expression(text: str) -> bool:
    try:
        ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
