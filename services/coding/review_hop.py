"""The reviewer as a hop of a run: takes the newest program, tells what it found, and writes to the coder."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

from services.coding.coder import newest_code
from services.coding.inbox import REVIEW
from services.coding.reviewer import Review, Reviewer
from services.coding.sandbox.execution import Execution
from services.coding.verdict import Finding, Severity, Verdict
from shared.call_context import CallContext
from shared.capability import Artifact, Invocation, OutgoingMessage, Output, Result, TextDelta, Usage
from shared.errors import InvalidInput
from shared.models.chat import ChatModel

CODER = "coder"
TESTS = "tests"
MAX_SENT_FINDINGS = 8
MAX_SENT_CHARS = 600
"""Of each text in a message: all of them together fit into the mailbox in any script."""

_NO_CODE = "There is no program to review."


class ReviewHop:
    """The role `reviewer`, over the one reviewer of this service."""

    def __init__(self, reviewer: Reviewer) -> None:
        self._reviewer = reviewer

    async def review(self, model: ChatModel, invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
        """Yields the run, the verdict, a message to the coder when it is no approval, and a result.

        Raises what the sandbox and the model raise: then there is no verdict.
        """
        code = newest_code(invocation.context)
        review = await self._judge(model, invocation, code, call)
        if review.usage.input_tokens or review.usage.output_tokens:
            yield Usage.of(review.usage)
        if review.execution:
            yield _run_artifact(invocation, code, review.execution)
        yield _verdict_artifact(invocation, code, review.verdict)
        if not review.verdict.is_approved:
            yield OutgoingMessage(CODER, {"kind": REVIEW, **_bounded(review.verdict).to_json()})
        text = _told(review.verdict)
        yield TextDelta(text)
        yield Result(text, "answered")

    async def _judge(
        self, model: ChatModel, invocation: Invocation, code: Artifact | None, call: CallContext
    ) -> Review:
        if code is None:
            return _refused(_NO_CODE)
        tests = "\n".join(item.text for item in invocation.context if item.kind == TESTS)
        try:
            return await self._reviewer.review(model, invocation.task, code.text, tests, call)
        except InvalidInput as error:
            if error.metadata.get("field") != "code":
                raise
            return _refused(error.message)


def _refused(message: str) -> Review:
    return Review(Verdict(False, (Finding(Severity.BLOCKER, message),), message))


def _bounded(verdict: Verdict) -> Verdict:
    """What the coder can act on: what was shown, when something was."""
    shown = tuple(finding for finding in verdict.findings if finding.severity is not Severity.MINOR)
    sent = tuple(
        replace(finding, message=finding.message[:MAX_SENT_CHARS], evidence=finding.evidence[-MAX_SENT_CHARS:])
        for finding in (shown or verdict.findings)[:MAX_SENT_FINDINGS]
    )
    return Verdict(verdict.is_approved, sent, verdict.summary[:MAX_SENT_CHARS])


def _told(verdict: Verdict) -> str:
    """The verdict for people, in Markdown; foreign words stand in code, where they are no markup."""
    lines = ["The review approves the program." if verdict.is_approved else "The review asks for changes.", ""]
    for finding in verdict.findings:
        place = f", line {finding.line}" if finding.line else ""
        lines.append(f"- {finding.severity.value}{place}: {_quoted(finding.message)}")
        if finding.evidence:
            lines.append(f"  {_quoted(finding.evidence.strip().rpartition(chr(10))[2])}")
    if all(finding.message != verdict.summary for finding in verdict.findings):
        lines += ["", _quoted(verdict.summary)]
    return "\n".join(lines).strip()


def _quoted(text: str) -> str:
    plain = " ".join(text.split())
    fence = "``" if "`" in plain else "`"
    return f"{fence} {plain} {fence}" if "`" in plain else f"{fence}{plain}{fence}"


def _run_artifact(invocation: Invocation, code: Artifact | None, execution: Execution) -> Artifact:
    return Artifact(
        id=f"coding-{invocation.hop_index}-review-run",
        kind="run",
        name=f"run of {code.name if code else ''}",
        media_type="application/json",
        text=json.dumps(execution.to_json(), ensure_ascii=False),
        metadata={
            "code": code.id if code else "",
            "state": execution.state.value,
            "exit_code": str(execution.exit_code),
        },
    )


def _verdict_artifact(invocation: Invocation, code: Artifact | None, verdict: Verdict) -> Artifact:
    return Artifact(
        id=f"coding-{invocation.hop_index}-verdict",
        kind="verdict",
        name="verdict",
        media_type="application/json",
        text=json.dumps(verdict.to_json(), ensure_ascii=False),
        metadata={"code": code.id if code else "", "is_approved": str(verdict.is_approved).lower()},
    )
