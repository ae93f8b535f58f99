"""The reviewer as a hop: what it takes, tells, and writes to the coder."""

import json
import time
from typing import Any

import pytest

from services.coding.review_hop import MAX_SENT_FINDINGS, ReviewHop
from services.coding.reviewer import Reviewer
from services.coding.sandbox.sandbox import Sandbox
from shared.call_context import CallContext
from shared.capability import Artifact, Invocation, OutgoingMessage, Output, Result, TextDelta, Usage
from shared.errors import ModelUnavailable
from tests.fakes.chat import ScriptedChatModel

DOUBLE = "def double(n):\n    return 2 * n\n"
APPROVAL = json.dumps({"calls": ["double(3)"], "findings": [], "is_approved": True, "summary": "It doubles."})


def program(text: str, number: int = 1, kind: str = "code") -> Artifact:
    """What a coder made."""
    return Artifact(f"coding-1-{kind}-{number}", kind, "main.py", "text/x-python", text)


async def review(
    sandbox: Sandbox,
    *context: Artifact,
    task: str = "Double a number.",
    replies: tuple[str | Exception, ...] = (APPROVAL,),
    call: CallContext | None = None,
) -> tuple[list[Output], ScriptedChatModel]:
    """All outputs of a review."""
    model = ScriptedChatModel(list(replies))
    hop = ReviewHop(Reviewer(sandbox))
    invocation = Invocation(task, "reviewer", context=context, hop_index=2)
    return [output async for output in hop.review(model, invocation, call or CallContext())], model


def verdict_of(outputs: list[Output]) -> dict[str, Any]:
    """The verdict, after looking at all that goes with it."""
    (artifact,) = [item for item in outputs if isinstance(item, Artifact) and item.kind == "verdict"]
    verdict: dict[str, Any] = json.loads(artifact.text)
    sent = [item for item in outputs if isinstance(item, OutgoingMessage)]
    assert artifact.media_type == "application/json" and artifact.id == "coding-2-verdict"
    assert artifact.metadata["is_approved"] == str(verdict["is_approved"]).lower()
    assert [message.recipient_role for message in sent] == [] if verdict["is_approved"] else ["coder"]
    assert all(message.payload["kind"] == "review" and message.payload["findings"] for message in sent)
    text = "".join(item.text for item in outputs if isinstance(item, TextDelta))
    assert outputs[-1] == Result(text, "answered")
    return verdict


async def test_the_newest_program_is_run_and_approved(sandbox: Sandbox) -> None:
    outputs, _ = await review(sandbox, program("1/0"), program(DOUBLE, 2), program("{}", 2, "run"))
    verdict = verdict_of(outputs)
    assert verdict["is_approved"] and "1 further calls" in verdict["summary"]
    (run,) = [item for item in outputs if isinstance(item, Artifact) and item.kind == "run"]
    assert json.loads(run.text)["state"] == "succeeded" and run.metadata["code"] == "coding-1-code-2"
    assert [item.output_tokens for item in outputs if isinstance(item, Usage)] == [1]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def f(:", "not Python"),
        ("1/0", "did not run"),
        ("def double(n):\n    return n\n", "example of the task"),
        ("x" * 300_000, "300000 bytes"),
        ("x = '\0'", "null character"),
    ],
)
async def test_a_fault_goes_to_the_coder_without_asking_the_model(sandbox: Sandbox, code: str, said: str) -> None:
    outputs, model = await review(sandbox, program(code), task="Double a number: double(2) is 4.")
    verdict = verdict_of(outputs)
    assert not verdict["is_approved"] and said in verdict["findings"][0]["message"]
    assert verdict["findings"][0]["severity"] == "blocker" and model.requests == []
    assert not [item for item in outputs if isinstance(item, Usage)]


async def test_without_a_program_the_coder_is_told_so(sandbox: Sandbox) -> None:
    outputs, _ = await review(sandbox, program("{}", 1, "run"), program("  \n"))
    verdict = verdict_of(outputs)
    assert not verdict["is_approved"] and verdict["summary"] == "There is no program to review."


async def test_code_that_never_ends_is_not_approved(sandbox: Sandbox) -> None:
    call = CallContext(deadline=time.monotonic() + 3)
    outputs, _ = await review(sandbox, program("while True: pass"), call=call)
    verdict = verdict_of(outputs)
    assert not verdict["is_approved"] and "wall_time" in verdict["findings"][0]["message"]


async def test_tests_of_the_context_are_run(sandbox: Sandbox) -> None:
    tests = program("def test_zero():\n    assert double(0) == 1\n", 1, "tests")
    outputs, _ = await review(sandbox, program(DOUBLE), tests)
    (finding,) = verdict_of(outputs)["findings"]
    assert finding["message"] == "The test test_zero fails." and "AssertionError" in finding["evidence"]
    assert str(sandbox) not in finding["evidence"] and 'File "tests.py"' in finding["evidence"]


async def test_nonsense_of_the_model_twice_is_no_approval_and_says_why(sandbox: Sandbox) -> None:
    outputs, model = await review(sandbox, program(DOUBLE), replies=("well", "well"))
    verdict = verdict_of(outputs)
    assert not verdict["is_approved"] and "not JSON" in verdict["summary"] and len(model.requests) == 2


async def test_without_the_model_there_is_no_verdict(sandbox: Sandbox) -> None:
    with pytest.raises(ModelUnavailable):
        await review(sandbox, program(DOUBLE), replies=(ModelUnavailable("away"),))


async def test_what_is_sent_is_bounded_and_only_what_was_shown(sandbox: Sandbox) -> None:
    habit = "def double(n, seen=[]):\n    return 2 * n\n"
    tests = "\n".join(f"def test_{number}():\n    assert False, 'ж' * 50" for number in range(20))
    outputs, _ = await review(sandbox, program(habit), program(tests, 1, "tests"))
    assert len(verdict_of(outputs)["findings"]) == 21
    (sent,) = [item for item in outputs if isinstance(item, OutgoingMessage)]
    assert len(sent.payload["findings"]) == MAX_SENT_FINDINGS
    assert {finding["severity"] for finding in sent.payload["findings"]} == {"blocker"}
    assert len(json.dumps(sent.payload)) < 64 * 1024


async def test_foreign_words_are_no_markup(sandbox: Sandbox) -> None:
    code = "raise ValueError('<script>alert(1)</script> ` **bold**')"
    outputs, _ = await review(sandbox, program(code))
    assert "`` ValueError: <script>alert(1)</script> ` **bold** ``" in outputs[-1].text  # type: ignore[union-attr]
