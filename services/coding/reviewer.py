"""Judges a program: looks it over, runs it with its tests and the task's examples, and tries what a model thinks of.

What a run shows decides. A small model finds fault with nearly every program, right or wrong, so its opinion stands in
the verdict, but decides only where the settings say so.
"""

import asyncio
from dataclasses import dataclass, field

from services.coding.checks import Check, Trial, checks_in, missing_function, read_trials, usable, with_checks
from services.coding.harness import read_outcome, tests_in, with_tests
from services.coding.lint import lint
from services.coding.opinion import ask_opinion
from services.coding.sandbox.execution import Execution
from services.coding.sandbox.program import Program
from services.coding.sandbox.sandbox import Sandbox
from services.coding.verdict import Finding, Severity, Verdict
from shared.call_context import CallContext
from shared.errors import InvalidInput, ModelNonsense
from shared.models.chat import ChatModel, ChatUsage

MAX_TASK_BYTES = 64 * 1024
MAX_EVIDENCE_CHARS = 1_000
KIND_ERRORS = ("TypeError", "AttributeError")
"""What a call with arguments of the wrong kind ends in: the call's fault, unless all calls do."""


@dataclass(frozen=True)
class Review:
    """A verdict and what it rests on."""

    verdict: Verdict
    execution: Execution | None = None
    """None for code that is not Python: it was not run."""
    usage: ChatUsage = field(default_factory=ChatUsage)
    """Nothing when the model was not asked."""


@dataclass(frozen=True)
class _Case:
    """What is reviewed."""

    task: str
    code: str
    tests: str
    call: CallContext


class Reviewer:
    """The role that reviews code. Code that did not run, or whose tests failed, is never approved."""

    def __init__(self, sandbox: Sandbox, is_opinion_binding: bool = False) -> None:
        self._sandbox = sandbox
        self._is_opinion_binding = is_opinion_binding

    async def review(self, model: ChatModel, task: str, code: str, tests: str, call: CallContext) -> Review:
        """Reviews the code; the model is asked only about code in which no fault was shown before.

        Raises InvalidInput, and what the sandbox and the model raise; nonsense of the model is a verdict.
        """
        if not task.strip() or len(task.encode()) > MAX_TASK_BYTES:
            raise InvalidInput(f"The task must have 1 to {MAX_TASK_BYTES} bytes.", field="task", limit=MAX_TASK_BYTES)
        case = _Case(task, code, tests or tests_in(task, code), call)
        program = with_tests(code, case.tests)
        linted = await asyncio.to_thread(lint, code)
        if any(finding.severity is Severity.BLOCKER for finding in linted):
            return Review(Verdict(False, linted, "The code is not valid Python."))
        execution = await self._sandbox.run(program, self._sandbox.limits.within(call.remaining_s()))
        examples = checks_in(task, code)
        trials: tuple[Trial, ...] = ()
        faults = _faults(execution, program, bool(case.tests)) or missing_function(task, code)
        if not faults:
            trials = await self._try(case, examples)
            faults = tuple(_unlike(trial) for trial in trials if not trial.holds)
        if faults:
            return Review(Verdict(False, (*faults, *linted), faults[0].message), execution)
        return await self._weigh(model, case, execution, trials, linted)

    async def _try(self, case: _Case, checks: tuple[Check, ...]) -> tuple[Trial, ...]:
        if not checks:
            return ()
        limits = self._sandbox.limits.within(case.call.remaining_s())
        return read_trials(await self._sandbox.run(with_checks(case.code, checks), limits), checks)

    async def _weigh(
        self, model: ChatModel, case: _Case, execution: Execution, held: tuple[Trial, ...], linted: tuple[Finding, ...]
    ) -> Review:
        opinion, usage = await ask_opinion(model, case.task, case.code, case.tests, execution)
        if isinstance(opinion, ModelNonsense):
            doubt = Finding(Severity.MAJOR, f"No fault was shown, but nobody judged the code: {opinion.message}")
            return Review(Verdict(False, (doubt, *linted), doubt.message), execution, usage)
        calls = tuple(filter(None, (usable(call, "None", case.code) for call in opinion.calls)))
        tried = await self._try(case, calls)
        crashes = _crashes(tried, case)
        objects = self._is_opinion_binding and opinion.objects
        said = opinion.findings if self._is_opinion_binding else tuple(map(_as_minor, opinion.findings))
        shown = _summary(bool(case.tests), held, len(tried))
        summary = crashes[0].message if crashes else f"{shown} The model says: {opinion.summary}".strip()
        verdict = Verdict(not crashes and not objects, (*crashes, *said, *linted), summary)
        return Review(verdict, execution, usage)


def _faults(execution: Execution, program: Program, has_tests: bool) -> tuple[Finding, ...]:
    outcome = read_outcome(execution, program) if has_tests else None
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


def _unlike(trial: Trial) -> Finding:
    return Finding(Severity.BLOCKER, "An example of the task does not come out.", trial.evidence, trial.line)


def _crashes(tried: tuple[Trial, ...], case: _Case) -> tuple[Finding, ...]:
    """Calls that ended in an error which nobody intended; their values are not judged, for nobody knows them."""
    lines = case.code.splitlines()
    crashed = [
        trial
        for trial in tried
        if trial.error
        and trial.error.partition(":")[0] not in case.task
        and not (0 < trial.line <= len(lines) and lines[trial.line - 1].lstrip().startswith("raise"))
    ]
    if len(crashed) < len(tried):
        crashed = [trial for trial in crashed if not trial.error.startswith(KIND_ERRORS)]
    return tuple(
        Finding(Severity.MAJOR, f"{trial.check.call} ends in an error.", trial.error, trial.line) for trial in crashed
    )


def _as_minor(finding: Finding) -> Finding:
    return Finding(Severity.MINOR, finding.message, finding.evidence, finding.line)


def _summary(has_tests: bool, held: tuple[Trial, ...], tried: int) -> str:
    parts = ["It ran"]
    if has_tests:
        parts.append("its tests pass")
    if held:
        parts.append(f"{len(held)} of the task's examples come out")
    if tried:
        parts.append(f"{tried} further calls end without an error")
    return ", ".join(parts) + "."
