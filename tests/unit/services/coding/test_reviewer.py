"""Reviews: what runs, what is asked of the model, and what is never approved."""

import json

import pytest

from services.coding.prompts import REVIEW_SCHEMA
from services.coding.reviewer import Review, Reviewer
from services.coding.sandbox.sandbox import Sandbox
from services.coding.verdict import Severity
from shared.call_context import CallContext
from shared.errors import InvalidInput, ModelNonsense, ModelUnavailable
from tests.fakes.chat import ScriptedChatModel

DOUBLE = "def double(n):\n    return 2 * n\n"
APPROVAL = json.dumps({"findings": [], "is_approved": True, "summary": "It doubles."})


def refusal(severity: str, is_approved: bool = False) -> str:
    """A reply of the model with one finding."""
    finding = {"severity": severity, "line": 99, "message": "wrong", "evidence": "2 * n"}
    return json.dumps({"findings": [finding], "is_approved": is_approved, "summary": "No."})


async def review(
    sandbox: Sandbox, code: str, tests: str = "", replies: tuple[str | Exception, ...] = (APPROVAL,)
) -> tuple[Review, ScriptedChatModel]:
    """Reviews with a scripted model."""
    model = ScriptedChatModel(list(replies))
    return await Reviewer(sandbox, model).review("Double a number.", code, tests, CallContext()), model


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
    assert result.verdict.is_approved and result.verdict.summary == "It doubles."
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
        (DOUBLE + "raise SystemExit", "def test_double(): assert False", "ended before its tests"),
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
async def test_an_approval_that_its_findings_contradict_does_not_count(
    sandbox: Sandbox, reply: str, is_approved: bool
) -> None:
    result, _ = await review(sandbox, DOUBLE, replies=(reply,))
    assert result.verdict.is_approved is is_approved
    assert result.verdict.findings[0].line == 2  # there is no line 99


async def test_findings_of_lint_join_those_of_the_model(sandbox: Sandbox) -> None:
    result, _ = await review(sandbox, "def double(n, seen=[]):\n    return 2 * n\n")
    assert result.verdict.is_approved
    assert [finding.line for finding in result.verdict.findings] == [1]


@pytest.mark.parametrize("nonsense", ["well", "[]", '{"findings": 1}', refusal("dreadful")])
async def test_nonsense_of_the_model_is_asked_about_once_and_then_reported(sandbox: Sandbox, nonsense: str) -> None:
    result, model = await review(sandbox, DOUBLE, replies=(nonsense, APPROVAL))
    assert result.verdict.is_approved and len(model.requests) == 2 and result.usage.output_tokens == 2
    with pytest.raises(ModelNonsense):
        await review(sandbox, DOUBLE, replies=(nonsense, nonsense))


async def test_without_the_model_there_is_no_verdict(sandbox: Sandbox) -> None:
    with pytest.raises(ModelUnavailable):
        await review(sandbox, DOUBLE, replies=(ModelUnavailable("away"),))


@pytest.mark.parametrize(("task", "code"), [("", "1"), ("x" * 70_000, "1"), ("task", ""), ("task", "x" * 300_000)])
async def test_a_malformed_request_is_refused(sandbox: Sandbox, task: str, code: str) -> None:
    with pytest.raises(InvalidInput):
        await Reviewer(sandbox, ScriptedChatModel([])).review(task, code, "", CallContext())
