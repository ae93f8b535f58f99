"""A call through the registry is bounded, and whatever a tool does is an output."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from services.tools.registry import MAX_TEXT_CHARS, ToolRegistry
from services.tools.tool import Arguments, ToolError, ToolOutput, TypedTool
from shared.errors import Forbidden


class EchoArguments(Arguments):
    """What to say."""

    word: str
    count: int = 1


class Echo(TypedTool[EchoArguments]):
    """Does what the test wants."""

    name = "echo"
    description = "Says a word."
    arguments = EchoArguments

    def __init__(self, work: Callable[[EchoArguments], Awaitable[ToolOutput]]) -> None:
        self._work = work

    async def run(self, arguments: EchoArguments) -> ToolOutput:
        return await self._work(arguments)


async def say(arguments: EchoArguments) -> ToolOutput:
    return ToolOutput(arguments.word * arguments.count)


def failing_with(error: Exception) -> Echo:
    async def fail(_: EchoArguments) -> ToolOutput:
        raise error

    return Echo(fail)


async def test_a_tool_is_called_with_checked_arguments() -> None:
    assert (await ToolRegistry([Echo(say)]).call("echo", {"word": "hi", "count": 2.0})).text == "hihi"


@pytest.mark.parametrize(
    "arguments, named", [({}, "word"), ({"word": "a", "count": "many"}, "count"), ({"word": "a", "wrod": 1}, "wrod")]
)
async def test_arguments_that_do_not_fit_name_the_field(arguments: dict[str, object], named: str) -> None:
    output = await ToolRegistry([Echo(say)]).call("echo", arguments)
    assert output.is_error
    assert output.content["reason"] == "INVALID_ARGUMENTS"
    assert named in output.text


@pytest.mark.parametrize(
    "error, reason",
    [
        (ToolError("NO_LUCK", "Not today."), "NO_LUCK"),
        (Forbidden("Not that."), "FORBIDDEN"),
        (RuntimeError("secret detail"), "TOOL_FAILED"),
    ],
)
async def test_a_failure_is_an_output_with_a_reason(error: Exception, reason: str) -> None:
    output = await ToolRegistry([failing_with(error)]).call("echo", {"word": "a"})
    assert output.is_error
    assert output.content["reason"] == reason
    assert "secret detail" not in output.text


async def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    output = await ToolRegistry([Echo(say)]).call("ecko", {})
    assert output.content["reason"] == "UNKNOWN_TOOL"
    assert "Did you mean echo?" in output.text


async def test_a_tool_that_hangs_is_stopped() -> None:
    was_cancelled = asyncio.Event()

    async def hang(_: EchoArguments) -> ToolOutput:
        try:
            await asyncio.Event().wait()
        finally:
            was_cancelled.set()
        return ToolOutput("never")

    output = await ToolRegistry([Echo(hang)]).call("echo", {"word": "a"}, timedelta(milliseconds=20))
    assert output.content["reason"] == "TIMED_OUT"
    assert was_cancelled.is_set()


async def test_a_caller_that_leaves_is_not_answered_with_a_failure() -> None:
    async def hang(_: EchoArguments) -> ToolOutput:
        return await asyncio.get_running_loop().create_future()

    call = asyncio.create_task(ToolRegistry([Echo(hang)]).call("echo", {"word": "a"}))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_long_text_is_cut_and_says_so() -> None:
    output = await ToolRegistry([Echo(say)]).call("echo", {"word": "x", "count": MAX_TEXT_CHARS + 1})
    assert output.text.endswith("[cut: 20,001 characters in all]")


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="echo"):
        ToolRegistry([Echo(say), Echo(say)])
