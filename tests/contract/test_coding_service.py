"""The coding service over a real wire: Execute, Review and Invoke, bad requests, deadlines, leaving and draining."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from services.coding.capability import CodingCapability, describe_coding
from services.coding.coder import Coder
from services.coding.review_hop import ReviewHop
from services.coding.reviewer import Reviewer
from services.coding.sandbox import sandbox as sandbox_module
from services.coding.sandbox.gate import Gate
from services.coding.sandbox.limits import Limits
from services.coding.sandbox.sandbox import Sandbox
from services.coding.sandbox.scratch import ScratchRoot
from services.coding.servicer import CodingServicer
from shared.capability.servicer import CapabilityServicer
from shared.capability.wire import json_value
from shared.errors import (
    DeadlineExceeded,
    InvalidInput,
    LimitExceeded,
    ModelNonsense,
    NotFound,
    SandboxUnavailable,
    WaystationError,
)
from shared.pb import capability_v1, coding_v1, common_v1
from shared.rpc.channel import open_channel
from shared.rpc.server import RpcServer
from shared.rpc.status import peer_errors
from tests.fakes.chat import ScriptedChatModel

GOOD = "```python\nprint(2 + 2)\n```"
SLEEP = "import time\nopen('started', 'w').close()\ntime.sleep(60)"


@dataclass(frozen=True)
class Served:
    """A served coding service and what it is made of."""

    coding: Any
    capability: Any
    model: ScriptedChatModel
    scratch: ScratchRoot
    leaving: Any
    """A stub for callers that leave: OpenTelemetry's interceptor keeps a cancelled unary call going."""


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[ScratchRoot]:
    root = ScratchRoot(tmp_path)
    yield root
    root.close()


@asynccontextmanager
async def served(scratch: ScratchRoot, *replies: str | Exception) -> AsyncIterator[Served]:
    """Serve with a scripted model, one sandbox and one place to wait."""
    model = ScriptedChatModel(list(replies))
    sandbox = Sandbox(scratch, Limits(), Gate(max_running=1, max_waiting=1))
    models: Any = {"low": model, "medium": model, "high": model}
    reviewer = Reviewer(sandbox)
    capability = CodingCapability(describe_coding(), Coder(sandbox, 800), ReviewHop(reviewer), models)

    def add(server: grpc.aio.Server) -> None:
        capability_v1.add_CapabilityServiceServicer_to_server(CapabilityServicer(capability), server)
        coding_v1.add_CodingServiceServicer_to_server(CodingServicer(sandbox, reviewer, model), server)

    async with (
        RpcServer("127.0.0.1", 0, add, ()) as server,
        open_channel(server.address) as channel,
        grpc.aio.insecure_channel(server.address) as plain_channel,
    ):
        yield Served(
            coding=coding_v1.CodingServiceStub(channel),
            capability=capability_v1.CapabilityServiceStub(channel),
            model=model,
            scratch=scratch,
            leaving=coding_v1.CodingServiceStub(plain_channel),
        )


async def execute(service: Served, timeout: float = 20, **request: Any) -> coding_v1.Execution:
    with peer_errors("coding"):
        answer: coding_v1.ExecuteResponse = await service.coding.Execute(
            coding_v1.ExecuteRequest(**request), timeout=timeout
        )
    return answer.execution


async def invoke(service: Served, **request: Any) -> list[capability_v1.InvokeResponse]:
    with peer_errors("coding"):
        call = service.capability.Invoke(capability_v1.InvokeRequest(**request), timeout=20)
        return [message async for message in call]


async def until(is_so: Callable[[], object]) -> None:
    for _ in range(4000):
        if is_so():
            return
        await asyncio.sleep(0.005)
    pytest.fail("waited in vain")


async def test_a_program_runs_with_what_it_is_given(scratch: ScratchRoot) -> None:
    async with served(scratch) as service:
        execution = await execute(
            service,
            code="import sys, data\nprint(sys.argv[1], input(), data.x)\nopen('out.txt', 'w').write('left')",
            stdin="line\n",
            arguments=["argument"],
            files=[common_v1.Artifact(name="data.py", text="x = 1")],
        )
    assert (execution.state, execution.exit_code) == (coding_v1.Execution.STATE_SUCCEEDED, 0)
    assert execution.stdout == "argument line 1\n"
    assert execution.duration.ToTimedelta() > timedelta()
    (file,) = execution.files
    assert (file.name, file.text, file.metadata["size_bytes"]) == ("out.txt", "left", "4")


async def test_a_program_that_fails_is_an_answer_and_not_an_error(scratch: ScratchRoot) -> None:
    async with served(scratch) as service:
        execution = await execute(service, code="raise SystemExit(7)")
    assert (execution.state, execution.exit_code) == (coding_v1.Execution.STATE_FAILED, 7)


async def test_limits_of_the_request_hold(scratch: ScratchRoot) -> None:
    limits = coding_v1.Limits(output_bytes=10)
    limits.wall_time.FromMilliseconds(400)
    async with served(scratch) as service:
        slow = await execute(service, code="print('x', flush=True)\nwhile True: pass", limits=limits)
        loud = await execute(service, code="print('x' * 1000)", limits=limits)
    assert (slow.state, slow.limit, slow.signal) == (
        coding_v1.Execution.STATE_LIMIT_EXCEEDED,
        "wall_time",
        "SIGKILL",
    )
    assert (loud.limit, loud.stdout, loud.is_output_truncated) == ("output_bytes", "x" * 10, True)


@pytest.mark.parametrize(
    "request_",
    [
        {"code": ""},
        {"code": "x" * 300_000},
        {"code": "1", "files": [common_v1.Artifact(name="../x", text="x")]},
        {"code": "1", "files": [common_v1.Artifact(name="x"), common_v1.Artifact(name="x")]},
        {"code": "1", "limits": coding_v1.Limits(memory_bytes=1)},
        {"code": "1", "limits": coding_v1.Limits(threads=-1)},
    ],
)
async def test_a_malformed_request_is_refused_with_its_field(scratch: ScratchRoot, request_: dict[str, Any]) -> None:
    async with served(scratch) as service:
        with pytest.raises(InvalidInput) as raised:
            await execute(service, **request_)
    assert raised.value.metadata["field"] in ("code", "files", "memory_bytes", "threads")


async def test_the_deadline_of_the_call_ends_the_program_in_time_for_an_answer(scratch: ScratchRoot) -> None:
    async with served(scratch) as service:
        await execute(service, code="1")
        execution = await execute(service, code="print('so far', flush=True)\nwhile True: pass", timeout=1.5)
    assert (execution.limit, execution.stdout) == ("wall_time", "so far\n")


async def test_a_caller_who_leaves_takes_the_program_along(scratch: ScratchRoot) -> None:
    async with served(scratch) as service:
        call = service.leaving.Execute(coding_v1.ExecuteRequest(code=SLEEP), timeout=60)
        await until(lambda: list(scratch.path.glob("*/started")))
        (program,) = psutil.Process().children()
        call.cancel()
        await until(lambda: not program.is_running() and not os.listdir(scratch.path))


async def test_too_many_programs_at_once_are_turned_away(scratch: ScratchRoot) -> None:
    async with served(scratch) as service:
        calls = [service.leaving.Execute(coding_v1.ExecuteRequest(code=SLEEP), timeout=60) for _ in range(2)]
        await until(lambda: list(scratch.path.glob("*/started")))
        with pytest.raises(LimitExceeded, match="max_sandboxes"):
            await execute(service, code="1")
        for call in calls:
            call.cancel()
        await until(lambda: not psutil.Process().children() and not os.listdir(scratch.path))


async def test_without_a_sandbox_nothing_runs_and_the_remedy_is_named(
    scratch: ScratchRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox_module, "_JAIL", "/nowhere.py")
    attempts: list[Callable[[Served], Any]] = [
        lambda service: execute(service, code="1"),
        lambda service: invoke(service, task="Print 4."),
        lambda service: service.coding.Review(coding_v1.ReviewRequest(task="x", code="1"), timeout=20),
    ]
    async with served(scratch, GOOD) as service:
        for attempt in attempts:
            with pytest.raises(SandboxUnavailable) as raised, peer_errors("coding"):
                await attempt(service)
            assert "Landlock" in raised.value.remedy
    assert service.model.requests == []


async def test_a_review_brings_verdict_run_and_cost(scratch: ScratchRoot) -> None:
    reply = json.dumps(
        {
            "calls": [],
            "findings": [{"severity": "major", "line": 1, "message": "prints 4"}],
            "is_approved": False,
            "summary": "Wrong sum.",
        }
    )
    async with served(scratch, reply) as service:
        answer = await service.coding.Review(
            coding_v1.ReviewRequest(task="Print 5.", code="print(2 + 2)", tests="assert True"), timeout=20
        )
    assert answer.verdict.is_approved and "Wrong sum." in answer.verdict.summary
    (finding,) = answer.verdict.findings
    assert (finding.severity, finding.line) == (coding_v1.Finding.SEVERITY_MINOR, 1)
    assert answer.execution.stdout == "4\n"
    assert (answer.usage.model, answer.usage.output_tokens) == ("scripted", 1)


async def test_a_task_streams_text_artifacts_and_one_result(scratch: ScratchRoot) -> None:
    async with served(scratch, GOOD) as service:
        messages = await invoke(service, task="Print 4.")
    text = "".join(message.text_delta.text for message in messages)
    assert messages[-1].result.text == text and "```text\n4\n```" in text
    assert messages[-1].result.outcome == capability_v1.Result.OUTCOME_ANSWERED
    assert [message.artifact.kind for message in messages if message.HasField("artifact")] == ["code", "run"]
    assert sum(message.usage.output_tokens for message in messages) == 3


async def test_a_review_through_invoke_answers_with_a_verdict_and_writes_to_the_coder(scratch: ScratchRoot) -> None:
    code = common_v1.Artifact(artifact_id="c", kind="code", name="main.py", text="def f(n):\n    return n\n")
    async with served(scratch) as service:
        messages = await invoke(
            service, role="reviewer", task="Write a function f(n): f(1) is 2.", context=[code], ids={"hop_index": 2}
        )
        run, verdict = [message.artifact for message in messages if message.HasField("artifact")]
        (sent,) = [message.message for message in messages if message.HasField("message")]
        told = json.loads(verdict.text)
        assert (verdict.kind, verdict.metadata["code"], told["is_approved"]) == ("verdict", "c", False)
        assert told["findings"][0]["evidence"] == "f(1) returned 1; expected 2"
        assert (run.kind, run.metadata["state"]) == ("run", "succeeded")
        assert sent.recipient_role == "coder" and json_value(sent.payload) == {"kind": "review", **told}
        assert messages[-1].result.outcome == capability_v1.Result.OUTCOME_ANSWERED


async def test_a_coder_that_gets_findings_is_shown_them_with_its_program(scratch: ScratchRoot) -> None:
    code = common_v1.Artifact(artifact_id="c", kind="code", name="main.py", text="print(5)")
    inbox = common_v1.A2aMessage(message_id="m", sender_role="reviewer", recipient_role="coder")
    inbox.payload.update({"kind": "review", "findings": [{"severity": "major", "message": "not four", "line": 1}]})
    async with served(scratch, GOOD) as service:
        messages = await invoke(service, role="coder", task="Print 4.", context=[code], inbox=[inbox])
        assert messages[-1].result.outcome == capability_v1.Result.OUTCOME_ANSWERED
        assert "print(5)" in service.model.requests[0].text and "- line 1: not four" in service.model.requests[0].text


@pytest.mark.parametrize(
    ("replies", "request_", "error"),
    [
        (["No.", "No."], {"task": "x"}, ModelNonsense),
        ([DeadlineExceeded("slow")], {"task": "x"}, DeadlineExceeded),
        ([], {"task": "x", "role": "judge"}, NotFound),
        ([], {"task": ""}, InvalidInput),
    ],
)
async def test_a_task_that_cannot_be_done_ends_in_a_typed_error(
    scratch: ScratchRoot, replies: list[str | Exception], request_: dict[str, Any], error: type[WaystationError]
) -> None:
    async with served(scratch, *replies) as service:
        with pytest.raises(error):
            await invoke(service, **request_)


async def test_the_process_serves_and_drains_without_a_trace(tmp_path: Path) -> None:
    environ = {
        "WAYSTATION_HOME": str(tmp_path),
        "WAYSTATION_CODING_PORT": "0",
        "WAYSTATION_CONTROL_ADDRESS": "",
        "SECRET_TOKEN": "canary",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.coding", env=environ)
    try:
        ready = tmp_path / "run" / "coding.json"
        await until(ready.exists)
        async with open_channel(json.loads(ready.read_text())["address"]) as channel:
            stub: Any = coding_v1.CodingServiceStub(channel)
            answer = await stub.Execute(coding_v1.ExecuteRequest(code="import os; print(dict(os.environ))"), timeout=20)
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert answer.execution.stdout and "canary" not in answer.execution.stdout
    assert os.listdir(tmp_path / "coding" / "scratch") == ["lock"]
