"""Examples in a task's words, and what becomes of them on the code."""

import json

import pytest

from services.coding import checks
from services.coding.checks import (
    MAX_CANDIDATES,
    MAX_CHECKS,
    Check,
    checks_in,
    missing_function,
    read_trials,
    usable,
    with_checks,
)
from services.coding.sandbox.execution import Execution, OutputFile
from services.coding.sandbox.sandbox import Sandbox

CODE = "def f(*given, **named):\n    return given\ndef g(x):\n    return 1 / x\n"


@pytest.mark.parametrize(
    ("task", "found"),
    [
        ("f(1) is 2.", [("f(1)", "2")]),
        ("`f(1)` returns `2`, f(2) gives -3.5", [("f(1)", "2"), ("f(2)", "-3.5")]),
        ("f(1) == 2; f(2) → None; f(3) should be True", [("f(1)", "2"), ("f(2)", "None"), ("f(3)", "True")]),
        ("f('a)', [1, (2)]) must return {'k': [1]}. f", [("f('a)', [1, (2)])", "{'k': [1]}")]),
        ('f("a") is "b, (c)" and more', [('f("a")', '"b, (c)"')]),
        ("f(by=2) yields ('x', 1)", [("f(by=2)", "('x', 1)")]),
        (">>> f(1)\n2", []),
        ("f(x) is 2. f(1) is good. f(1). f(1) is x. off(1) is 2. a.f(1) is 2. h(1) is 2. f(1 is 2", []),
        ("f(1) is 2 and f(1) is 3", [("f(1)", "2")]),
        ("f(1) is " + "[" * 5_000, []),
        ("f(" * 3_000 + " is 1", []),
    ],
)
def test_examples_in_a_task_are_found(task: str, found: list[tuple[str, str]]) -> None:
    assert [(check.call, check.expected) for check in checks_in(task, CODE)] == found


def test_a_task_that_is_full_of_calls_is_read_as_far_as_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    defined = checks._defined
    monkeypatch.setattr(checks, "_defined", lambda code: read.append(code) or defined(code))
    code = "def f(x):\n    return x\n"
    assert checks_in("f(1) is 1, " * 5_000, code) == (Check("f(1)", "1"),)
    assert len(checks_in("".join(f"f({n}) is {n}, " for n in range(5_000)), code)) == MAX_CHECKS
    assert checks_in("f(x) is 1, " * MAX_CANDIDATES + "f(1) is 1", code) == ()
    assert read == [code] * 3


def test_only_calls_of_the_code_with_literals_are_tried() -> None:
    assert usable(" f(1) ", "2", CODE) == Check("f(1)", "2")
    for call in ("print(1)", "f", "f(g(1))", "f(__import__('os'))", "f(1); f(2)", "f(1", "", "f(\0)", "f(*x)"):
        assert usable(call, "2", CODE) is None
    assert usable("f(1)", "open('x')", CODE) is None


async def test_trials_say_what_happened_and_where(sandbox: Sandbox) -> None:
    checks = [Check("g(2)", "0.5"), Check("g(4)", "1"), Check("g(0)", "0"), Check("g()", "0")]
    trials = read_trials(await sandbox.run(with_checks(CODE, checks)), checks)
    assert [trial.holds for trial in trials] == [True, False, False]  # the last one is wrong in itself
    assert trials[1].evidence == "g(4) returned 0.25; expected 1"
    assert (trials[2].error, trials[2].line) == ("ZeroDivisionError: division by zero", 4)


async def test_code_that_leaves_or_never_ends_shows_where_it_stopped(sandbox: Sandbox) -> None:
    checks = [Check("h(1)", "1"), Check("h(2)", "2"), Check("h(3)", "3")]
    code = "import sys\ndef h(n):\n    if n == 2: sys.exit({})\n    return n\n"
    assert len(read_trials(await sandbox.run(with_checks(code.format(0), checks)), checks)) == 1
    failed = read_trials(await sandbox.run(with_checks(code.format(3), checks)), checks)
    assert [(trial.check.call, trial.error) for trial in failed] == [("h(1)", ""), ("h(2)", "exit code 3")]


@pytest.mark.parametrize(
    "rest",
    [
        "import sys\nif __name__ == '__main__':\n    sys.exit(0)\n",
        "raise SystemExit\n",
        "def repr(x): pass\ndef eval(x): pass\nopen = len = dict = type = list = bool = None\n",
    ],
)
async def test_code_that_leaves_at_its_end_or_takes_any_name_is_tried_all_the_same(rest: str, sandbox: Sandbox) -> None:
    checks = [Check("g(2)", "0.5"), Check("g(4)", "1"), Check("g(0)", "0")]
    trials = read_trials(await sandbox.run(with_checks(CODE + rest, checks)), checks)
    assert [(trial.holds, trial.line) for trial in trials] == [(True, 0), (False, 0), (False, 4)]


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"holds": 1}\n{"broken', json.dumps({"line": "x", "got": 7})])
async def test_an_outcome_that_the_code_wrote_itself_harms_nobody(text: str, sandbox: Sandbox) -> None:
    execution = await sandbox.run(with_checks("1", []))
    forged = Execution(**{**vars(execution), "files": (OutputFile("checks.jsonl", 1, "", text),)})
    assert all(not trial.holds for trial in read_trials(forged, [Check("f(1)", "1"), Check("f(2)", "1")]))


@pytest.mark.parametrize(
    ("task", "is_missing"),
    [
        ("Write a Python function twice(n) that doubles.", True),
        ("implement the function `twice(n)`", True),
        ("Write a function f(x) and more.", False),
        ("Draw the function twice(x) = 2x", False),
        ("Write a program that draws the function twice(x) = 2x", False),
        ("Write a function that doubles.", False),
    ],
)
def test_a_function_that_is_asked_for_is_missed(task: str, is_missing: bool) -> None:
    assert bool(missing_function(task, CODE)) is is_missing


@pytest.mark.parametrize("code", ["twice = lambda n: 2 * n", "class twice: pass", "from math import e as twice"])
def test_a_function_may_come_in_any_form(code: str) -> None:
    assert missing_function("Write a function twice(n).", code) == ()
