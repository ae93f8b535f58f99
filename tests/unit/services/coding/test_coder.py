"""The writing loop: write, run, repair once, tell the truth."""

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from services.coding.capability import CodingCapability, describe_coding
from services.coding.coder import RETRY_TEMPERATURE, Coder
from services.coding.prompts import HINTS, NO_CODE, REFUSED, WRITE
from services.coding.review_hop import ReviewHop
from services.coding.reviewer import Reviewer
from services.coding.sandbox import sandbox as sandbox_module
from services.coding.sandbox.sandbox import Sandbox
from shared.call_context import CallContext
from shared.capability import Artifact, Invocation, Message, Output, Result, TextDelta, Usage
from shared.errors import ModelNonsense, ModelUnavailable, NotFound, SandboxUnavailable
from tests.fakes.chat import ScriptedChatModel

GOOD = "It prints.\n```python\nprint('so', 2 + 2)\n```\n"
BAD = "```python\n1/0\n```\n"


async def write(
    sandbox: Sandbox, model: ScriptedChatModel, call: CallContext | None = None, **invocation: Any
) -> list[Output]:
    """All outputs for a task."""
    order = Invocation(**{"task": "Print a sum.", **invocation})
    return [output async for output in Coder(sandbox, 800).write(model, order, call or CallContext())]


def text_of(outputs: list[Output]) -> str:
    """What was streamed."""
    return "".join(output.text for output in outputs if isinstance(output, TextDelta))


def artifacts(outputs: list[Output], kind: str) -> list[Artifact]:
    """The artifacts of a kind."""
    return [output for output in outputs if isinstance(output, Artifact) and output.kind == kind]


async def test_a_program_that_runs_is_answered_with_code_and_output(sandbox: Sandbox) -> None:
    model = ScriptedChatModel([GOOD])
    outputs = await write(sandbox, model, hop_index=2)
    assert outputs[-1] == Result(text_of(outputs), "answered")
    assert text_of(outputs) == GOOD + "\n\n\nIt printed:\n\n```text\nso 4\n```"
    (code,), (run,) = artifacts(outputs, "code"), artifacts(outputs, "run")
    assert (code.id, code.text, code.media_type) == ("coding-2-code-1", "print('so', 2 + 2)\n", "text/x-python")
    assert json.loads(run.text)["stdout"] == "so 4\n"
    assert run.metadata == {"attempt": "1", "code": code.id, "state": "succeeded", "exit_code": "0"}
    assert [output.output_tokens for output in outputs if isinstance(output, Usage)] == [4]


async def test_the_reply_is_streamed_while_it_is_written(sandbox: Sandbox) -> None:
    outputs = await write(sandbox, ScriptedChatModel([GOOD]))
    assert outputs[:4] == [TextDelta(line) for line in GOOD.splitlines(keepends=True)]


async def test_the_prompt_is_short_and_greedy(sandbox: Sandbox) -> None:
    model = ScriptedChatModel([GOOD])
    await write(sandbox, model, max_output_tokens=100)
    (request,) = model.requests
    assert [message.content for message in request.messages] == [WRITE, "Print a sum."]
    assert (request.temperature, request.max_tokens) == (0.0, 100)
    assert len(WRITE.split()) <= 70


async def test_work_of_earlier_hops_stands_before_the_task_within_bounds(sandbox: Sandbox) -> None:
    model = ScriptedChatModel([GOOD])
    context = (
        Artifact("1", "passage", "rates.md", "text/plain", "VAT is 19 %"),
        Artifact("2", "x", "y", "z", "w" * 9_999),
    )
    await write(sandbox, model, context=context)
    content = model.requests[0].messages[1].content
    assert content.startswith("passage rates.md:\nVAT is 19 %") and content.endswith("\n\nPrint a sum.")
    assert len(content) < 3_200


FORMER = Artifact("coding-0-code-1", "code", "main.py", "text/x-python", "print('so', 2 + 3)\n")
REVIEWED = Message(
    "m1",
    "reviewer",
    "coder",
    {
        "kind": "review",
        "findings": [{"severity": "blocker", "message": "wrong sum", "evidence": "5, not 4", "line": 1}],
    },
)


async def test_a_program_with_findings_is_repaired_and_not_begun_anew(sandbox: Sandbox) -> None:
    model = ScriptedChatModel([GOOD])
    context = (
        Artifact("1", "passage", "rates.md", "text/plain", "VAT is 19 %"),
        Artifact("coding-0-code-0", "code", "main.py", "text/x-python", "print('older')"),
        FORMER,
        Artifact("coding-0-run-1", "run", "run of main.py", "application/json", "{}"),
        Artifact("coding-1-verdict", "verdict", "verdict", "application/json", "{}"),
        Artifact("result-0", "result", "coding", "text/plain", "The program and its output."),
    )
    outputs = await write(sandbox, model, context=context, inbox=(REVIEWED,), hop_index=2)
    system, task, former, findings = model.requests[0].messages
    assert (system.content, task.content) == (WRITE, "passage rates.md:\nVAT is 19 %\n\nPrint a sum.")
    assert (former.role, former.content) == ("assistant", "```python\nprint('so', 2 + 3)\n```")
    assert findings.role == "user" and "- line 1: wrong sum (5, not 4)" in findings.content
    assert isinstance(outputs[-1], Result) and outputs[-1].outcome == "answered"
    assert "wrong sum" not in text_of(outputs)


async def test_a_huge_former_program_and_huge_findings_are_cut(sandbox: Sandbox) -> None:
    model = ScriptedChatModel([GOOD])
    findings = [{"severity": "major", "message": "m" * 9_999, "evidence": "e" * 9_999}] * 500
    await write(
        sandbox,
        model,
        context=(replace(FORMER, text="x = 1\n" * 40_000),),
        inbox=(Message("m", "reviewer", "coder", {"kind": "review", "findings": findings}),),
    )
    assert len(model.requests[0].text) < 15_000


async def test_findings_without_a_program_and_words_of_others_stand_with_the_task(sandbox: Sandbox) -> None:
    model = ScriptedChatModel([GOOD])
    await write(sandbox, model, inbox=(REVIEWED, Message("m2", "user", "coder", {"text": "Be brief."})))
    content = model.requests[0].messages[1].content
    assert content == f"Print a sum.\n\nMessage of user: Be brief.\n{REFUSED}\n- line 1: wrong sum (5, not 4)"


SAME = "```python\nprint('so', 2 + 3)\n```\n"


async def test_a_model_that_repeats_the_refused_program_is_asked_for_another_one(sandbox: Sandbox) -> None:
    model = ScriptedChatModel([SAME, GOOD])
    outputs = await write(sandbox, model, context=(FORMER,), inbox=(REVIEWED,))
    first, second = model.requests
    assert (first.temperature, second.temperature) == (0.0, RETRY_TEMPERATURE)
    assert "2 + 3" in first.text and "2 + 3" not in second.text and "wrong sum" in second.text
    assert isinstance(outputs[-1], Result) and outputs[-1].outcome == "answered"
    assert [item.text for item in artifacts(outputs, "code")][-1] == "print('so', 2 + 2)\n"


async def test_the_refused_program_twice_is_an_incomplete_answer(sandbox: Sandbox) -> None:
    outputs = await write(sandbox, ScriptedChatModel([SAME, SAME]), context=(FORMER,), inbox=(REVIEWED,))
    assert isinstance(outputs[-1], Result) and outputs[-1].outcome == "incomplete"


@pytest.mark.parametrize(
    ("code", "told", "hint"),
    [
        ("1/0", "ZeroDivisionError: division by zero", ""),
        ("import requests", "ModuleNotFoundError", HINTS["ModuleNotFoundError"]),
        ("input()", "EOFError", HINTS["EOFError"]),
        ("open('data.csv')", "FileNotFoundError", HINTS["FileNotFoundError"]),
        ("import urllib.request as r; r.urlopen('http://127.0.0.1:1')", "URLError", HINTS["URLError"]),
        ("while True: print('flood' * 1000)", "output_bytes", HINTS["output_bytes"]),
    ],
)
async def test_a_program_that_fails_is_repaired_from_its_error(
    sandbox: Sandbox, code: str, told: str, hint: str
) -> None:
    model = ScriptedChatModel([f"```python\n{code}\n```", GOOD])
    outputs = await write(sandbox, model)
    first, second = model.requests
    assert second.messages[: len(first.messages)] == first.messages
    complaint = second.messages[-1].content
    assert told in complaint and hint in complaint and len(complaint) < 1_200
    assert second.max_tokens < first.max_tokens
    assert isinstance(outputs[-1], Result) and outputs[-1].outcome == "answered"
    assert "It did not run: " in outputs[-1].text and outputs[-1].text.endswith("so 4\n```")
    assert [run.metadata["state"] for run in artifacts(outputs, "run")][-1] == "succeeded"
    assert [item.id for item in artifacts(outputs, "code")] == ["coding-0-code-1", "coding-0-code-2"]


async def test_a_program_that_fails_again_is_told_as_it_is(sandbox: Sandbox) -> None:
    outputs = await write(sandbox, ScriptedChatModel([BAD, BAD]))
    result = outputs[-1]
    assert isinstance(result, Result) and result.outcome == "incomplete"
    assert result.text == text_of(outputs)
    assert result.text.endswith("It did not run: exit code 1. ZeroDivisionError: division by zero")
    assert len(artifacts(outputs, "run")) == 2


async def test_a_reply_without_a_program_is_asked_for_again(sandbox: Sandbox) -> None:
    model = ScriptedChatModel(["I would rather not.", GOOD])
    outputs = await write(sandbox, model)
    assert NO_CODE in model.requests[1].messages[-1].content
    assert isinstance(outputs[-1], Result) and outputs[-1].outcome == "answered"


async def test_two_replies_without_a_program_are_an_error(sandbox: Sandbox) -> None:
    with pytest.raises(ModelNonsense, match="no Python program"):
        await write(sandbox, ScriptedChatModel(["No.", "No."]))


async def test_a_failed_program_without_a_successor_is_an_incomplete_answer(sandbox: Sandbox) -> None:
    outputs = await write(sandbox, ScriptedChatModel([BAD, "I give up."]))
    assert isinstance(outputs[-1], Result) and outputs[-1].outcome == "incomplete"
    assert outputs[-1].text.endswith("I give up.")


async def test_without_tokens_left_there_is_no_repair(sandbox: Sandbox) -> None:
    model = ScriptedChatModel([BAD])
    outputs = await write(sandbox, model, max_output_tokens=3)
    assert isinstance(outputs[-1], Result) and outputs[-1].outcome == "incomplete"
    assert len(model.requests) == 1


async def test_a_model_that_goes_round_in_circles_is_left_and_its_program_is_run(sandbox: Sandbox) -> None:
    model = ScriptedChatModel(["```python\n" + "print('again')\n" * 500 + "```"])
    outputs = await write(sandbox, model)
    assert isinstance(outputs[-1], Result) and outputs[-1].outcome == "answered"
    assert artifacts(outputs, "code")[0].text.count("again") < 20
    assert next(output.output_tokens for output in outputs if isinstance(output, Usage)) < 20


async def test_an_open_code_block_is_closed_before_the_report(sandbox: Sandbox) -> None:
    outputs = await write(sandbox, ScriptedChatModel(["```python\nprint(1)"]))
    assert text_of(outputs).startswith("```python\nprint(1)\n```\n")


async def test_output_that_holds_a_fence_or_is_long_stays_in_its_block(sandbox: Sandbox) -> None:
    outputs = await write(sandbox, ScriptedChatModel(["```python\nprint('```' + 'x' * 5000)\n```"]))
    assert "````text\n```xxx" in text_of(outputs)
    assert "3003 more characters" in text_of(outputs) and text_of(outputs).endswith("````")


async def test_files_and_silence_are_told(sandbox: Sandbox) -> None:
    outputs = await write(sandbox, ScriptedChatModel(["```python\nopen('a.txt', 'w').write('hi')\n```"]))
    assert text_of(outputs).endswith("It ran and printed nothing.\n\nIt wrote a.txt (2 bytes)")
    assert json.loads(artifacts(outputs, "run")[0].text)["files"][0]["text"] == "hi"


async def test_the_calls_deadline_bounds_the_programs_time(sandbox: Sandbox) -> None:
    call = CallContext(deadline=time.monotonic() + 0.8)
    outputs = await write(sandbox, ScriptedChatModel(["```python\nwhile True: pass\n```"]), call, max_output_tokens=3)
    run = json.loads(artifacts(outputs, "run")[0].text)
    assert run["limit"] == "wall_time" and run["duration"] < 0.8


async def test_the_models_errors_reach_the_caller(sandbox: Sandbox) -> None:
    with pytest.raises(ModelUnavailable):
        await write(sandbox, ScriptedChatModel([ModelUnavailable("away")]))


async def test_no_model_is_asked_where_nothing_can_be_run(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_module, "_JAIL", "/nowhere.py")
    model = ScriptedChatModel([GOOD])
    with pytest.raises(SandboxUnavailable):
        await write(sandbox, model)
    assert model.requests == []


async def test_effort_picks_the_model_and_an_unknown_role_is_refused(sandbox: Sandbox) -> None:
    small, large = ScriptedChatModel([GOOD]), ScriptedChatModel([GOOD, GOOD])
    models: Any = {"low": small, "medium": large, "high": large}
    capability = CodingCapability(describe_coding(), Coder(sandbox, 800), ReviewHop(Reviewer(sandbox)), models)
    for role in ("", "coder"):
        assert [item async for item in capability.invoke(Invocation("x", role=role), CallContext())]
    assert [item async for item in capability.invoke(Invocation("x", effort="low"), CallContext())]
    assert (len(small.requests), len(large.requests)) == (1, 2)
    with pytest.raises(NotFound) as raised:
        capability.invoke(Invocation("x", role="judge"), CallContext())
    assert raised.value.metadata["known"] == "coder, reviewer"


def test_the_descriptor_brings_its_examples() -> None:
    descriptor = describe_coding()
    assert descriptor.name == "coding" and len(descriptor.examples) >= 60
