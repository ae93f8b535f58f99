"""What the model is told. The fixed part comes first, so that the server's prompt cache holds it."""

from collections.abc import Iterable
from datetime import datetime

from services.tools.menu import describe
from services.tools.tool import Tool, ToolOutput
from shared.models.chat import ChatMessage

MAX_RESULT_CHARS = 1_200

_RULES = """You solve tasks with tools, never from memory. Each turn you write one JSON object that calls one tool:
{{"tool": name, "arguments": {{...}}}}
When every part of the task has its result: {{"tool": "finish"}}
When no tool can do the task: {{"tool": "none"}}

Tools (? marks optional arguments):
{tools}

Example task: What is 12% of 80, and what day is 2020-02-29?
{{"tool": "calculate", "arguments": {{"expression": "12% of 80"}}}}
{{"tool": "weekday", "arguments": {{"date": "2020-02-29"}}}}
{{"tool": "finish"}}
Example task: Order a pizza.
{{"tool": "none"}}"""

FINAL = "Answer the task in one or two short sentences, using only the results above."


def opening(tools: Iterable[Tool], task: str, now: datetime) -> list[ChatMessage]:
    """The rules, the tools, and the task."""
    return [
        ChatMessage("system", _RULES.format(tools=describe(tools))),
        ChatMessage("user", f"Today is {now:%A %Y-%m-%d}.\nTask: {task}"),
    ]


def after_call(reply: str, output: ToolOutput) -> list[ChatMessage]:
    """A call and its result, as the model sees them."""
    label = "Error" if output.is_error else "Result"
    text = output.text if len(output.text) <= MAX_RESULT_CHARS else f"{output.text[:MAX_RESULT_CHARS]}…"
    return [ChatMessage("assistant", reply), ChatMessage("user", f"{label}: {text}")]


def closing() -> list[ChatMessage]:
    """Asks for the answer."""
    return [ChatMessage("assistant", '{"tool": "finish"}'), ChatMessage("user", FINAL)]
