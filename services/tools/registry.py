"""The registry: tools by name, and the one way to call them (bounded in time and size, failures as results)."""

import asyncio
import difflib
import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from opentelemetry import trace

from services.tools.tool import JsonObject, Tool, ToolError, ToolOutput
from shared.errors import WaystationError
from shared.telemetry import attributes
from shared.telemetry.content import record_tool

MAX_TEXT_CHARS = 20_000
"""The longest text one result may carry; what is longer is cut and says so."""
MAX_NAME_CHARS = 60

logger = logging.getLogger(__name__)
tracer = trace.get_tracer(__name__)


class ToolRegistry:
    """Tools by name, in the order they were added."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            self.add(tool)

    def add(self, tool: Tool) -> None:
        """Add one tool. Raises ValueError when the name is taken: which of two is meant cannot be guessed."""
        if tool.name in self._tools:
            raise ValueError(f"two tools are named {tool.name!r}: rename one of them")
        self._tools[tool.name] = tool

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __contains__(self, name: str) -> bool:
        return name in self._tools

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in order."""
        return tuple(self._tools)

    async def call(
        self, name: str, arguments: Mapping[str, Any], limit: timedelta | None = None, call_id: str = ""
    ) -> ToolOutput:
        """Call one tool within its own time bound or `limit`, whichever is shorter, under a `tool.call` span.

        Never raises for what a tool did: failures, unknown names and lapsed time are outputs with `is_error`,
        and `content` holds `reason` and `message`.
        """
        told = {
            attributes.OPERATION: attributes.EXECUTE_TOOL,
            attributes.TOOL_NAME: name[:MAX_NAME_CHARS],
            attributes.TOOL_TYPE: "function",
            attributes.TOOL_CALL_ID: call_id,
        }
        with tracer.start_as_current_span(attributes.SPAN_TOOL, attributes=told) as span:
            output = await self._call(name, arguments, limit)
            record_tool(span, arguments, output.text)
            if output.is_error:
                span.set_attribute(attributes.ERROR_REASON, str(output.content["reason"]))
                span.set_status(trace.StatusCode.ERROR)
            return output

    async def _call(self, name: str, arguments: Mapping[str, Any], limit: timedelta | None) -> ToolOutput:
        tool = self._tools.get(name)
        if tool is None:
            return failure("UNKNOWN_TOOL", self._unknown(name))
        bound = tool.timeout if limit is None else min(tool.timeout, limit)
        try:
            async with asyncio.timeout(bound.total_seconds()):
                return _bounded(await tool.call(arguments))
        except ToolError as error:
            return failure(error.reason, error.message)
        except WaystationError as error:
            return failure(error.reason, str(error))
        except TimeoutError:
            return failure("TIMED_OUT", f"{name} took longer than {bound.total_seconds():g} s and was stopped.")
        except Exception:
            # A defect in a tool is ours to read in the log; the caller learns only that this tool is of no use now.
            logger.exception("tool %s failed", name)
            return failure("TOOL_FAILED", f"{name} failed inside; the log of the tools service says why.")

    def _unknown(self, name: str) -> str:
        close = difflib.get_close_matches(name, self._tools, n=1)
        hint = f"Did you mean {close[0]}? " if close else ""
        return f"There is no tool named {name[:MAX_NAME_CHARS]!r}. {hint}Tools: {', '.join(self._tools)}."


def failure(reason: str, message: str) -> ToolOutput:
    """An error output with a stable reason and a sentence."""
    content: JsonObject = {"reason": reason, "message": message}
    return ToolOutput(text=message, content=content, is_error=True)


def _bounded(output: ToolOutput) -> ToolOutput:
    if len(output.text) <= MAX_TEXT_CHARS:
        return output
    text = output.text[:MAX_TEXT_CHARS] + f"\n[cut: {len(output.text):,} characters in all]"
    return ToolOutput(text, output.content, output.values, output.is_error)
