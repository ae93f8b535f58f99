"""Reviews: what runs, what is asked of the model, and what is never approved."""

import json
import time

import pytest

from services.coding.prompts import REVIEW_SCHEMA
from services.coding.reviewer import Review, Reviewer
from services.coding.sandbox.sandbox import Sandbox
from services.coding.verdict import Severity
from shared.call_context import CallContext
from shared.errors import InvalidInput, ModelUnavailable
from tests.fakes.chat import ScriptedChatModel

DOUBLE = "def double(n):\n    return 2 * n\n"
APPROVAL = json.dumps({"calls": [], "findings": [], "is_approved": True, "summary": "It doubles."})


def refusal(severity: str, is_approved: bool = False) -> str:
    """A reply of the model with one finding."""
    finding = {"severity": severity, "line": 99, "message": "wrong"}
    return json.dumps({"calls": [], "findings": [finding], "is_approved": is_approved, "summary": "No."})


def trying(*calls: str) -> str:
    """A reply of the model that would approve, with calls to try."""
    return json.dumps({"calls": calls, "findings": [], "is_approved": True, "summary": "Fine."})


async def review(
    sandbox: Sandbox,
    code: str,
    tests: str = "",
    replies: tuple[str | Exception, ...] = (APPROVAL,),
    *,
    task: str = "Double a number.",
    is_opinion_binding: bool = False,
) -> tuple[Review, ScriptedChatModel]:
    """Reviews with a scripted model."""
    model = ScriptedChatModel(list(replies))
    reviewer = Reviewer(sandbox, is_opinion_binding)
    return await reviewer.review(model, task, code, tests, CallContext()), model


@pytest.mark.parametrize(
    "tests",
    [
        "",
        "assert double(2) == 4",
        "def test_double():\n    assert double(2) == 4",
        "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(double(2), 4)",
        "import unittest\nfrom main import double\nclass T(unittest.TestCase):\n    def test(self):\n"
        "        self.assertEqual(double(2), 4)\nif __name__ == '__main__':\n    unittest.main()",
        "from solution import *\ndef test_double(): assert double(2) == 4",
    ],
)
async def test_code_that_runs_passes_and_pleases_is_approved(sandbox: Sandbox, tests: str) -> None:
    result, model = await review(sandbox, DOUBLE, tests)
    assert result.verdict.is_approved and result.verdict.summary.endswith("The model says: It doubles.")
    assert ("its tests pass" in result.verdict.summary) is bool(tests)
    assert result.execution and result.execution.is_success
    assert result.usage.output_tokens == 1
    (request,) = model.requests
    assert request.schema == REVIEW_SCHEMA
    assert "Double a number." in request.text and "2:     return 2 * n" in request.text


@pytest.mark.parametrize(
    ("code", "tests", "message"),
    [
        ("1/0", "", "did not run: exit code 1"),
        (DOUBLE, "assert double(2) == 5", "did not run: exit code 1"),
        (DOUBLE, "def test_double(): assert double(2) == 5", "test_double"),
        (DOUBLE, "import unittest\nclass T(unittest.TestCase):\n    def test_it(self): self.fail()", "test_it"),
        (DOUBLE, "import unittest\nclass T(unittest.TestCase):\n    def test(self): 1/0", "fails"),
        (DOUBLE, "import pytest", "did not run"),
        (DOUBLE, "def test_double(:", "did not run"),
        (DOUBLE + "raise SystemExit", "def test_double(): assert False", "test_double"),
        (DOUBLE + "raise SystemExit(3)", "def test_double(): pass", "did not run: exit code 3"),
        (DOUBLE + "import os; os._exit(0)", "def test_double(): assert False", "ended before its tests"),
    ],
)
async def test_code_that_did_not_run_or_failed_a_test_is_not_even_shown_to_the_model(
    sandbox: Sandbox, code: str, tests: str, message: str
) -> None:
    result, model = await review(sandbox, code, tests)
    assert not result.verdict.is_approved
    assert message in result.verdict.findings[0].message
    assert result.verdict.findings[0].severity is Severity.BLOCKER
    assert result.verdict.summary == result.verdict.findings[0].message
    assert model.requests == []


async def test_the_evidence_of_a_failed_test_is_its_traceback(sandbox: Sandbox) -> None:
    result, _ = await review(sandbox, DOUBLE, "def test_double():\n    assert double(2) == 5")
    assert "AssertionError" in result.verdict.findings[0].evidence


async def test_code_that_is_not_python_is_not_run(sandbox: Sandbox) -> None:
    result, model = await review(sandbox, "def f(:")
    assert result.execution is None and model.requests == [] and not result.verdict.is_approved
    assert result.verdict.findings[0].line == 1


@pytest.mark.parametrize(
    ("reply", "is_approved"),
    [
        (refusal("major"), False),
        (refusal("major", is_approved=True), False),
        (refusal("blocker", is_approved=True), False),
        (refusal("minor"), False),
        (refusal("minor", is_approved=True), True),
    ],
)
async def test_where_the_models_opinion_binds_an_approval_that_its_findings_contradict_does_not_count(
    sandbox: Sandbox, reply: str, is_approved: bool
) -> None:
    result, _ = await review(sandbox, DOUBLE, replies=(reply,), is_opinion_binding=True)
    assert result.verdict.is_approved is is_approved
    assert result.verdict.findings[0].line == 2  # there is no line 99


async def test_an_opinion_that_no_run_shows_is_told_and_stands_in_nobodys_way(sandbox: Sandbox) -> None:
    result, _ = await review(sandbox, DOUBLE, replies=(refusal("blocker"),))
    assert result.verdict.is_approved
    assert [(finding.severity, finding.message) for finding in result.verdict.findings] == [(Severity.MINOR, "wrong")]


@pytest.mark.parametrize(
    ("task", "evidence"),
    [
        ("Double a number: double(4) is 9.", "double(4) returned 8; expected 9"),
        ('Double: `double("a")` returns `"b"`.', 'double("a") returned \'aa\'; expected "b"'),
        (
            "Double: double([1, (2)]) gives [[1, 2]] always.",
            "double([1, (2)]) returned [1, 2, 1, 2]; expected [[1, 2]]",
        ),
        ("double(None) should be None.", "double(None) raised TypeError"),
    ],
)
async def test_an_example_of_the_task_that_does_not_come_out_is_a_fault(
    sandbox: Sandbox, task: str, evidence: str
) -> None:
    result, model = await review(sandbox, DOUBLE, task=task)
    assert not result.verdict.is_approved and model.requests == []
    assert evidence in result.verdict.findings[0].evidence
    assert result.verdict.findings[0].severity is Severity.BLOCKER


async def test_examples_that_come_out_are_counted(sandbox: Sandbox) -> None:
    result, _ = await review(sandbox, DOUBLE, task="double(2) is 4, double(0.5) == 1 and double(n) is even.")
    assert result.verdict.is_approved and "2 of the task's examples" in result.verdict.summary


async def test_an_example_on_which_the_code_never_ends_is_a_fault(sandbox: Sandbox) -> None:
    code = "def double(n):\n    while n > 5: pass\n    return 2 * n\n"
    call = CallContext(deadline=time.monotonic() + 6)
    model = ScriptedChatModel([])
    result = await Reviewer(sandbox).review(model, "double(2) is 4 and double(6) is 12.", code, "", call)
    assert not result.verdict.is_approved
    assert "double(6) raised stopped at the limit" in result.verdict.findings[0].evidence


async def test_a_function_that_the_task_names_must_be_there(sandbox: Sandbox) -> None:
    result, model = await review(sandbox, DOUBLE, task="Write a Python function twice(n) that doubles n.")
    assert not result.verdict.is_approved and model.requests == []
    assert "function twice" in result.verdict.summary
    plot, _ = await review(sandbox, DOUBLE, task="Write a table of the function f(x) = 2x.")
    assert plot.verdict.is_approved


INVERSE = "def inverse(n):\n    if n < 0:\n        raise ArithmeticError('negative')\n    return [1, 2][n] / n\n"


@pytest.mark.parametrize(
    ("calls", "is_approved"),
    [
        (("inverse(1)", "inverse(7)"), False),  # IndexError
        (("inverse(1)", "inverse(0)"), True),  # the task speaks of this error
        (("inverse(1)", "inverse(-1)"), True),  # raised on purpose
        (("inverse(1)", "inverse('x')"), True),  # an argument of the wrong kind
        (("inverse('x')", "inverse([])"), False),  # so all kinds are wrong
        (("inverse(1, 2)", "inverse(", "len([])", "open('x')", "inverse(unknown)", "1"), True),  # broken calls
    ],
)
async def test_calls_that_the_model_thinks_of_count_only_when_they_end_in_an_error_nobody_meant(
    sandbox: Sandbox, calls: tuple[str, ...], is_approved: bool
) -> None:
    task = "Divide 1 or 2 by n; zero gives a ZeroDivisionError."
    result, _ = await review(sandbox, INVERSE, replies=(trying(*calls),), task=task)
    assert result.verdict.is_approved is is_approved
    if not is_approved:
        assert result.verdict.findings[0].severity is Severity.MAJOR and result.verdict.findings[0].line in (2, 4)


@pytest.mark.parametrize(
    ("task", "code", "is_approved"),
    [
        ("Double.\n```python\nassert double(2) == 5\n```", DOUBLE, False),
        ("Double.\n```python\nassert double(2) == 4\n```", DOUBLE, True),
        ("Double.\n```python\nassert double(\n```", DOUBLE, True),
        ("Double.", DOUBLE + "def test_double():\n    assert double(2) == 5\n", False),
        ("Double.", DOUBLE + "def test_double():\n    assert double(2) == 4\n", True),
    ],
)
async def test_tests_that_the_task_or_the_code_brings_are_run(
    sandbox: Sandbox, task: str, code: str, is_approved: bool
) -> None:
    result, _ = await review(sandbox, code, task=task)
    assert result.verdict.is_approved is is_approved


async def test_findings_of_lint_join_those_of_the_model(sandbox: Sandbox) -> None:
    result, _ = await review(sandbox, "def double(n, seen=[]):\n    return 2 * n\n")
    assert result.verdict.is_approved
    assert [finding.line for finding in result.verdict.findings] == [1]


@pytest.mark.parametrize("nonsense", ["well", "[]", '{"findings": 1}', refusal("dreadful")])
async def test_nonsense_of_the_model_is_asked_about_once_and_then_reported(sandbox: Sandbox, nonsense: str) -> None:
    result, model = await review(sandbox, DOUBLE, replies=(nonsense, APPROVAL))
    assert result.verdict.is_approved and len(model.requests) == 2 and result.usage.output_tokens == 2
    twice, _ = await review(sandbox, DOUBLE, replies=(nonsense, nonsense))
    assert not twice.verdict.is_approved and "nobody judged the code" in twice.verdict.summary
    assert twice.usage.output_tokens == 2


async def test_without_the_model_there_is_no_verdict(sandbox: Sandbox) -> None:
    with pytest.raises(ModelUnavailable):
        await review(sandbox, DOUBLE, replies=(ModelUnavailable("away"),))


@pytest.mark.parametrize(("task", "code"), [("", "1"), ("x" * 70_000, "1"), ("task", ""), ("task", "x" * 300_000)])
async def test_a_malformed_request_is_refused(sandbox: Sandbox, task: str, code: str) -> None:
    with pytest.raises(InvalidInput):
        await Reviewer(sandbox).review(ScriptedChatModel([]), task, code, "", CallContext())
