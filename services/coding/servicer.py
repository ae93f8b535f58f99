"""`waystation.coding.v1.CodingService`: proto in, sandbox or reviewer, proto out."""

from typing import Any

import grpc

from services.coding.reviewer import Review, Reviewer
from services.coding.sandbox.execution import Execution, State
from services.coding.sandbox.limits import Limits
from services.coding.sandbox.program import Program, encoded
from services.coding.sandbox.sandbox import Sandbox
from services.coding.verdict import Finding, Severity
from shared.call_context import CallContext, current_call
from shared.capability import Usage
from shared.capability.wire import usage_to_proto
from shared.errors import InvalidInput
from shared.models.chat import ChatModel
from shared.pb import coding_v1, common_v1

_Context = grpc.aio.ServicerContext[Any, Any]

_STATES = {
    State.SUCCEEDED: coding_v1.Execution.STATE_SUCCEEDED,
    State.FAILED: coding_v1.Execution.STATE_FAILED,
    State.LIMIT_EXCEEDED: coding_v1.Execution.STATE_LIMIT_EXCEEDED,
}
_SEVERITIES = {
    Severity.MINOR: coding_v1.Finding.SEVERITY_MINOR,
    Severity.MAJOR: coding_v1.Finding.SEVERITY_MAJOR,
    Severity.BLOCKER: coding_v1.Finding.SEVERITY_BLOCKER,
}


class CodingServicer(coding_v1.CodingServiceServicer):
    """Runs and reviews programs for peers."""

    def __init__(self, sandbox: Sandbox, reviewer: Reviewer, model: ChatModel) -> None:
        self._sandbox = sandbox
        self._reviewer = reviewer
        self._model = model

    async def Execute(self, request: coding_v1.ExecuteRequest, context: _Context) -> coding_v1.ExecuteResponse:
        """See the contract."""
        call = current_call() or CallContext()
        program = _program(request)
        limits = _tightened(self._sandbox.limits, request.limits).within(call.remaining_s())
        execution = await self._sandbox.run(program, limits)
        return coding_v1.ExecuteResponse(execution=_execution_to_proto(execution))

    async def Review(self, request: coding_v1.ReviewRequest, context: _Context) -> coding_v1.ReviewResponse:
        """See the contract."""
        call = current_call() or CallContext()
        review = await self._reviewer.review(self._model, request.task, request.code, request.tests, call)
        return _review_to_proto(review)


def _program(request: coding_v1.ExecuteRequest) -> Program:
    files: dict[str, bytes] = {}
    for file in request.files:
        if file.name in files:
            raise InvalidInput(f"Two files are called {file.name!r}.", field="files")
        files[file.name] = file.data or encoded("files", file.text)
    return Program(request.code, request.stdin, tuple(request.arguments), files)


def _tightened(limits: Limits, wished: coding_v1.Limits) -> Limits:
    return limits.tightened(
        wall_time=wished.wall_time.ToTimedelta() if wished.HasField("wall_time") else None,
        cpu_time=wished.cpu_time.ToTimedelta() if wished.HasField("cpu_time") else None,
        memory_bytes=wished.memory_bytes or None,
        output_bytes=wished.output_bytes or None,
        scratch_bytes=wished.scratch_bytes or None,
        threads=wished.threads or None,
    )


def _execution_to_proto(execution: Execution) -> coding_v1.Execution:
    message = coding_v1.Execution(
        state=_STATES[execution.state],
        exit_code=execution.exit_code,
        signal=execution.signal,
        stdout=execution.stdout,
        stderr=execution.stderr,
        is_output_truncated=execution.is_output_truncated,
        peak_memory_bytes=execution.peak_memory_bytes,
        limit=execution.limit,
        files=[
            common_v1.Artifact(
                artifact_id=file.name,
                kind="file",
                name=file.name,
                text=file.text or "",
                sha256=file.sha256,
                metadata={"size_bytes": str(file.size_bytes)},
            )
            for file in execution.files
        ],
    )
    message.duration.FromTimedelta(execution.duration)
    return message


def _review_to_proto(review: Review) -> coding_v1.ReviewResponse:
    verdict = coding_v1.Verdict(
        is_approved=review.verdict.is_approved,
        findings=[_finding_to_proto(finding) for finding in review.verdict.findings],
        summary=review.verdict.summary,
    )
    return coding_v1.ReviewResponse(
        verdict=verdict,
        execution=_execution_to_proto(review.execution) if review.execution else None,
        usage=usage_to_proto(Usage.of(review.usage)),
    )


def _finding_to_proto(finding: Finding) -> coding_v1.Finding:
    return coding_v1.Finding(
        severity=_SEVERITIES[finding.severity], line=finding.line, message=finding.message, evidence=finding.evidence
    )
