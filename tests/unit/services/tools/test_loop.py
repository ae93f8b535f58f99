"""The loop with a scripted model: calls, failures, bounds, and an answer that is held to the results."""

import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.tools.addresses import HostGuard
from services.tools.folders import AllowedFolders
from services.tools.loop import LoopLimits, Task, ToolLoop
from services.tools.prompts import MAX_RESULT_CHARS
from services.tools.registry import ToolRegistry
from services.tools.toolbox import builtin_tools
from shared.call_context import CallContext
from shared.capability import Output, Result, TextDelta, ToolCall, ToolResult, Usage
from shared.errors import DeadlineExceeded, ModelUnavailable
from tests.fakes.chat import ScriptedChatModel

TASK = "what is 17.5 % of 2,340"
BOTH = Task("what is 17.5 % of 2,340, and what day was 1999-12-31")
FINISH, NONE = '{"tool": "finish"}', '{"tool": "none"}'


def call(tool: str, **arguments: Any) -> str:
    return json.dumps({"tool": tool, "arguments": arguments})


SHARE = call("calculate", expression="17.5% of 2340")
DAY = call("weekday", date="1999-12-31")
BROKEN = call("calculate", expression="48 euros")


@pytest.fixture
def registry(folders: AllowedFolders, clock: Callable[[], datetime]) -> ToolRegistry:
    """All built-in tools."""
    return builtin_tools(folders, HostGuard(), clock)


@pytest.fixture
def run(registry: ToolRegistry, clock: Callable[[], datetime]) -> Callable[..., Any]:
    """Runs a task against a script; gives all outputs."""

    async def run_task(
        model: ScriptedChatModel, task: Task | None = None, deadline: float | None = None, **limits: Any
    ) -> list[Output]:
        loop = ToolLoop(registry, clock, LoopLimits(**limits))
        return [item async for item in loop.run(task or Task(TASK), model, CallContext(deadline=deadline))]

    return run_task


def texts(outputs: list[Output]) -> str:
    return "".join(item.text for item in outputs if isinstance(item, TextDelta))


def offered(model: ScriptedChatModel, request: int) -> set[str]:
    schema = model.requests[request].schema
    assert schema is not None
    return {variant["properties"]["tool"]["const"] for variant in schema["anyOf"]}


async def test_two_calls_and_an_answer_in_the_order_they_happen(run: Callable[..., Any]) -> None:
    answer = "17.5% of 2,340 is 409.5, and 1999-12-31 was a Friday."
    outputs = await run(ScriptedChatModel([SHARE, DAY, FINISH, answer]), BOTH)
    assert [item for item in outputs if not isinstance(item, Usage)] == [
        ToolCall("call-1", "calculate", {"expression": "17.5% of 2340"}),
        ToolResult("call-1", "calculate", "17.5% of 2340 = 409.5"),
        ToolCall("call-2", "weekday", {"date": "1999-12-31"}),
        ToolResult("call-2", "weekday", "1999-12-31 was a Friday"),
        TextDelta(answer),
        Result(answer, "answered"),
    ]
    assert sum(isinstance(item, Usage) for item in outputs) == 4


async def test_each_prompt_begins_with_the_one_before(run: Callable[..., Any]) -> None:
    model = ScriptedChatModel([SHARE, DAY, FINISH, "409.5, Friday."])
    await run(model, BOTH)
    for before, after in zip(model.requests, model.requests[1:], strict=False):
        assert after.messages[: len(before.messages)] == before.messages
    assert "Result: 17.5% of 2340 = 409.5" in model.requests[1].text


async def test_no_fitting_tool_is_an_answer_that_lists_the_tools(run: Callable[..., Any]) -> None:
    outputs = await run(ScriptedChatModel([NONE]), Task("book me a flight"))
    assert isinstance(outputs[-1], Result)
    assert outputs[-1].outcome == "no_answer"
    assert "calculate" in outputs[-1].text
    assert texts(outputs) == outputs[-1].text


async def test_a_failure_is_shown_to_the_model_which_must_try_again(run: Callable[..., Any]) -> None:
    model = ScriptedChatModel([BROKEN, SHARE, FINISH, "It is 409.5."])
    outputs = await run(model)
    assert [item.is_error for item in outputs if isinstance(item, ToolResult)] == [True, False]
    assert "Error: '48 euros' cannot be read" in model.requests[1].text
    assert "finish" not in offered(model, 1)
    assert "none" not in offered(model, 1)
    assert outputs[-1] == Result("It is 409.5.", "answered")


async def test_a_finish_that_forgets_a_part_is_told_which_once(run: Callable[..., Any]) -> None:
    model = ScriptedChatModel([SHARE, FINISH, DAY, FINISH, "409.5 and a Friday."])
    outputs = await run(model, BOTH)
    assert "Nothing was done yet with 1999-12-31." in model.requests[2].text
    assert outputs[-1] == Result("409.5 and a Friday.", "answered")


async def test_a_model_that_insists_on_finishing_may(run: Callable[..., Any]) -> None:
    outputs = await run(ScriptedChatModel([SHARE, FINISH, FINISH, "409.5"]), BOTH)
    assert outputs[-1] == Result("409.5", "answered")


async def test_it_can_end_only_with_what_makes_sense(run: Callable[..., Any]) -> None:
    model = ScriptedChatModel([SHARE, FINISH, "409.5"])
    await run(model)
    assert {"none", "finish"} & offered(model, 0) == {"none"}
    assert {"none", "finish"} & offered(model, 1) == {"finish"}


async def test_a_second_failure_in_a_row_lets_it_give_up(run: Callable[..., Any]) -> None:
    outputs = await run(ScriptedChatModel([BROKEN, call("weekday", date="soon"), NONE]))
    assert outputs[-1].outcome == "no_answer"
    assert "'soon' is not a date" in outputs[-1].text


async def test_a_repeated_call_ends_the_calling(run: Callable[..., Any]) -> None:
    outputs = await run(ScriptedChatModel([SHARE, SHARE, "It is 409.5."]))
    assert sum(isinstance(item, ToolCall) for item in outputs) == 1
    assert outputs[-1] == Result("It is 409.5.", "answered")


async def test_the_bound_on_steps_holds_and_the_results_are_still_answered(run: Callable[..., Any]) -> None:
    script = [call("calculate", expression=f"{number} + 1") for number in range(9)]
    model = ScriptedChatModel([*script[:3], "They are 1, 2 and 3."])
    outputs = await run(model, steps=3)
    assert sum(isinstance(item, ToolCall) for item in outputs) == 3
    assert outputs[-1] == Result("They are 1, 2 and 3.", "incomplete")


async def test_an_invented_number_never_leaves(run: Callable[..., Any]) -> None:
    outputs = await run(ScriptedChatModel([SHARE, DAY, FINISH, "The share is 411.2. It was a Friday."]), BOTH)
    assert texts(outputs) == "17.5% of 2340 = 409.5\n1999-12-31 was a Friday"
    assert outputs[-1] == Result(texts(outputs), "answered")


async def test_what_the_answer_leaves_out_is_added(run: Callable[..., Any]) -> None:
    outputs = await run(ScriptedChatModel([SHARE, DAY, FINISH, "The share is 409.5."]), BOTH)
    assert outputs[-1] == Result("The share is 409.5.\n1999-12-31 was a Friday", "answered")


async def test_sentences_before_an_invented_one_stay(run: Callable[..., Any]) -> None:
    outputs = await run(ScriptedChatModel([SHARE, FINISH, "It is 409.5. \nThat is 77 more than last year."]))
    assert outputs[-1].text.startswith("It is 409.5.")
    assert "77" not in outputs[-1].text


@pytest.mark.parametrize("failure", [ModelUnavailable("gone"), DeadlineExceeded("late")])
async def test_a_model_that_fails_after_a_result_degrades_the_answer(
    run: Callable[..., Any], failure: Exception
) -> None:
    for script in ([SHARE, failure], [SHARE, FINISH, failure]):
        outputs = await run(ScriptedChatModel(list(script)))
        assert outputs[-1] == Result("17.5% of 2340 = 409.5", "degraded")


async def test_a_model_that_fails_first_fails_the_task(run: Callable[..., Any]) -> None:
    with pytest.raises(ModelUnavailable):
        await run(ScriptedChatModel([ModelUnavailable("gone")]))


@pytest.mark.parametrize(
    "reply", ["I think it is 409.5", "[]", '{"tool": 5}', '{"tool": "weekday", "arguments": [1]}', "{"]
)
async def test_a_reply_that_is_no_call_is_answered_with_what_one_is(run: Callable[..., Any], reply: str) -> None:
    model = ScriptedChatModel([reply, SHARE, FINISH, "It is 409.5."])
    outputs = await run(model)
    assert outputs[-1].outcome == "answered"
    assert "not one JSON object" in model.requests[1].text


async def test_a_fence_around_the_call_does_not_matter(run: Callable[..., Any]) -> None:
    outputs = await run(ScriptedChatModel([f"Sure:\n```json\n{SHARE}\n```", FINISH, "It is 409.5."]))
    assert outputs[-1].outcome == "answered"


async def test_an_unknown_tool_and_bad_arguments_are_results(run: Callable[..., Any]) -> None:
    outputs = await run(ScriptedChatModel([call("fly"), call("weekday", day="x"), SHARE, FINISH, "It is 409.5."]))
    errors = [item.content for item in outputs if isinstance(item, ToolResult) and item.is_error]
    assert "no tool named 'fly'" in errors[0]
    assert "date: Field required" in errors[1]


async def test_nothing_is_asked_when_time_is_up(run: Callable[..., Any]) -> None:
    model = ScriptedChatModel([])
    outputs = await run(model, deadline=time.monotonic() + 1)
    assert outputs[-1].outcome == "no_answer"
    assert model.requests == []


async def test_a_token_budget_is_kept(run: Callable[..., Any]) -> None:
    model = ScriptedChatModel([SHARE])  # the script's usage is a token a line
    outputs = await run(model, Task(TASK, output_tokens=1))
    assert model.requests[0].max_tokens == 1
    assert outputs[-1] == Result("17.5% of 2340 = 409.5", "incomplete")


async def test_the_model_sees_a_long_result_cut_and_the_caller_all_of_it(run: Callable[..., Any], root: Path) -> None:
    (root / "long.txt").write_text("x" * 9_000)
    model = ScriptedChatModel([call("read_file", path="long.txt"), FINISH, "It is long."])
    outputs = await run(model, Task("what does the long file say"))
    assert len(model.requests[1].messages[-1].content) < MAX_RESULT_CHARS + 20
    assert next(len(item.content) for item in outputs if isinstance(item, ToolResult)) > 9_000


async def test_earlier_work_is_shown_before_the_task(run: Callable[..., Any]) -> None:
    model = ScriptedChatModel([NONE])
    await run(model, Task("double it", known="rag: the price is 21"))
    assert "the price is 21" in model.requests[0].messages[1].content
    assert "the price is 21" not in model.requests[0].messages[0].content


async def test_every_model_call_has_a_timeout_within_the_deadline(run: Callable[..., Any]) -> None:
    model = ScriptedChatModel([SHARE, FINISH, "It is 409.5."])
    await run(model, deadline=time.monotonic() + 30, model_timeout=timedelta(seconds=60))
    assert all(request.timeout is not None and request.timeout <= 30 for request in model.requests)
