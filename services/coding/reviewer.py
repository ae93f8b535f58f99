"""Judges a program: looks it over, runs it with its tests, and asks the chat model whether it does the task."""

from dataclasses import dataclass
from typing import Any

from services.coding.harness import read_outcome, with_tests
from services.coding.lint import lint
from services.coding.prompts import REVIEW_SCHEMA, review_messages
from services.coding.sandbox.execution import Execution
from services.coding.sandbox.limits import Limits
from services.coding.sandbox.sandbox import Sandbox
from services.coding.verdict import Finding, Severity, Verdict
from shared.call_context import CallContext
from shared.errors import InvalidInput, ModelNonsense
from shared.models.chat import ChatMessage, ChatModel, ChatUsage

MAX_TASK_BYTES = 64 * 1024
MAX_REVIEW_TOKENS = 400
MAX_EVIDENCE_CHARS = 1_000
_ATTEMPTS = 2


@dataclass(frozen=True)
class Review:
    """A verdict and what it rests on."""

    verdict: Verdict
    execution: Execution | None
    """None for code that is not Python: it was not run."""
    usage: ChatUsage


class Reviewer:
    """The role that reviews code. Code that did not run, or whose tests failed, is never approved."""

    def __init__(self, sandbox: Sandbox, model: ChatModel) -> None:
        self._sandbox = sandbox
        self._model = model

    async def review(self, task: str, code: str, tests: str, call: CallContext) -> Review:
        """Reviews the code; the model is asked only about code that ran.

        Raises InvalidInput, and what the sandbox and the model raise.
        """
        if not task.strip() or len(task.encode()) > MAX_TASK_BYTES:
            raise InvalidInput(f"The task must have 1 to {MAX_TASK_BYTES} bytes.", field="task", limit=MAX_TASK_BYTES)
        program = with_tests(code, tests)
        linted = lint(code)
        if any(finding.severity is Severity.BLOCKER for finding in linted):
            return Review(Verdict(False, linted, "The code is not valid Python."), None, ChatUsage())
        execution = await self._sandbox.run(program, _limits(self._sandbox, call))
        faults = _faults(execution, bool(tests.strip()))
        if faults:
            return Review(Verdict(False, (*faults, *linted), faults[0].message), execution, ChatUsage())
        verdict, usage = await self._judge(task, code, tests, execution)
        stands = verdict.is_approved and all(finding.severity is Severity.MINOR for finding in verdict.findings)
        return Review(Verdict(stands, (*verdict.findings, *linted), verdict.summary), execution, usage)

    async def _judge(self, task: str, code: str, tests: str, execution: Execution) -> tuple[Verdict, ChatUsage]:
        messages = review_messages(task, code, tests, execution)
        usages: list[ChatUsage] = []
        for attempt in range(1, _ATTEMPTS + 1):
            completion = await self._model.complete(messages, schema=REVIEW_SCHEMA, max_tokens=MAX_REVIEW_TOKENS)
            usages.append(completion.usage)
            try:
                return _parse(completion.json(), len(code.splitlines())), _sum(usages)
            except ModelNonsense as error:
                if attempt == _ATTEMPTS:
                    raise
                messages = [*messages, ChatMessage("user", f"{error.message} Reply with JSON only.")]
        raise AssertionError("unreachable")


def _limits(sandbox: Sandbox, call: CallContext) -> Limits:
    return sandbox.limits.within(call.remaining_s())


def _faults(execution: Execution, has_tests: bool) -> tuple[Finding, ...]:
    outcome = read_outcome(execution) if has_tests else None
    if outcome and outcome.failed:
        return tuple(
            Finding(Severity.BLOCKER, f"The test {name} fails.", text[-MAX_EVIDENCE_CHARS:])
            for name, text in outcome.failed
        )
    if not execution.is_success:
        evidence = execution.stderr[-MAX_EVIDENCE_CHARS:]
        return (Finding(Severity.BLOCKER, f"The code did not run: {execution.describe()}.", evidence),)
    if has_tests and outcome is None:
        return (Finding(Severity.BLOCKER, "The program ended before its tests were done."),)
    return ()


def _parse(reply: Any, line_count: int) -> Verdict:
    try:
        findings = tuple(
            Finding(
                Severity(item["severity"]),
                str(item["message"]),
                str(item["evidence"]),
                min(max(int(item["line"]), 0), line_count),
            )
            for item in reply["findings"]
        )
        return Verdict(reply["is_approved"] is True, findings, str(reply["summary"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelNonsense(f"The model's review does not follow its schema: {error}.") from error


def _sum(usages: list[ChatUsage]) -> ChatUsage:
    return ChatUsage(
        model=usages[0].model,
        input_tokens=sum(usage.input_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
        cached_tokens=sum(usage.cached_tokens for usage in usages),
        time_to_first_token_s=usages[0].time_to_first_token_s,
        duration_s=sum(usage.duration_s for usage in usages),
    )
