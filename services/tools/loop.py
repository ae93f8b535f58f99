"""The tool-use loop: the model picks a tool and its arguments, sees the result, and goes on up to a bound."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from opentelemetry import trace
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.tools.grounding import Grounding, Step
from services.tools.menu import FINISH, NO_TOOL, call_schema
from services.tools.prompts import after_call, closing, opening
from services.tools.registry import ToolRegistry, failure
from services.tools.tool import ToolOutput
from shared.call_context import CallContext
from shared.capability import Output, Result, TextDelta, ToolCall, ToolResult, Usage
from shared.errors import ModelNonsense, WaystationError
from shared.models.chat import ChatMessage, ChatModel, ChatUsage
from shared.telemetry import attributes

tracer = trace.get_tracer(__name__)

MAX_CALL_TOKENS = 200
MAX_ANSWER_TOKENS = 160
MODEL_TIMEOUT_S = 60.0


class NextStep(BaseModel):
    """What the model wants next."""

    model_config = ConfigDict(extra="ignore")

    tool: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class ToolLoop:
    """Does tasks with the tools of a registry."""

    def __init__(self, registry: ToolRegistry, max_steps: int, clock: Callable[[], datetime]) -> None:
        self._registry, self._max_steps, self._clock = registry, max_steps, clock

    async def run(self, task: str, model: ChatModel, call: CallContext) -> AsyncIterator[Output]:
        """Yield calls, results, the answer's text, usage, and the `Result`.

        Without a fitting tool the outcome is "no_answer"; when the model fails after results came, they are the
        answer and the outcome is "degraded". Raises what the model raises before there is any result.
        """
        messages = opening(self._registry, task, self._clock())
        schema = call_schema(self._registry)
        steps: list[Step] = []
        problem: WaystationError | None = None
        while len(steps) < self._max_steps and problem is None:
            try:
                completion = await model.complete(
                    messages, schema=schema, max_tokens=MAX_CALL_TOKENS, timeout=call.timeout_s(MODEL_TIMEOUT_S)
                )
                yield _usage(completion.usage)
                wanted = _read(completion.text)
            except WaystationError as error:
                if not _has_result(steps):
                    raise
                problem = error
                continue
            if wanted.tool in (FINISH, NO_TOOL) or _is_repeated(wanted, steps):
                break
            tool_call = ToolCall(f"call-{len(steps) + 1}", wanted.tool, wanted.arguments)
            yield tool_call
            output = await self._call(wanted, call)
            yield ToolResult(tool_call.id, wanted.tool, output.text, output.is_error)
            steps.append(Step(wanted.tool, wanted.arguments, output))
            messages = [*messages, *after_call(completion.text, output)]
        if not _has_result(steps):
            text = self._refusal(steps)
            yield TextDelta(text)
            yield Result(text, "no_answer")
            return
        async for last in self._answer(task, steps, [*messages, *closing()], model, call, problem):
            yield last

    async def _call(self, wanted: NextStep, call: CallContext) -> ToolOutput:
        with tracer.start_as_current_span(attributes.SPAN_TOOL) as span:
            span.set_attributes({attributes.TOOL_NAME: wanted.tool, attributes.OPERATION: "execute_tool"})
            remaining = call.remaining_s()
            if remaining == 0:
                return failure("DEADLINE", "No time is left for a call.")
            limit = None if remaining is None else timedelta(seconds=remaining)
            output = await self._registry.call(wanted.tool, wanted.arguments, limit)
            if output.is_error:
                span.set_attribute(attributes.ERROR_REASON, str(output.content.get("reason", "")))
            return output

    async def _answer(
        self,
        task: str,
        steps: list[Step],
        messages: list[ChatMessage],
        model: ChatModel,
        call: CallContext,
        problem: WaystationError | None,
    ) -> AsyncIterator[Output]:
        """The answer in the model's words when they say what the tools said, otherwise in the tools' own."""
        grounding, text = Grounding(task, steps), ""
        if problem is None:
            with suppress(WaystationError):
                completion = await model.complete(
                    messages, max_tokens=MAX_ANSWER_TOKENS, timeout=call.timeout_s(MODEL_TIMEOUT_S)
                )
                yield _usage(completion.usage)
                text = completion.text.strip()
        outcome: Any = "answered" if text else "degraded"
        if not text or not grounding.supports(text):
            text = grounding.render()
        elif unsaid := grounding.unsaid(text):
            text = "\n".join([text, *(step.output.text for step in unsaid)])
        # sent whole: it may not be sent before it is known to be grounded
        yield TextDelta(text)
        yield Result(text, outcome)

    def _refusal(self, steps: list[Step]) -> str:
        names = ", ".join(self._registry.names)
        if steps:
            return f"No tool could do this. The last one said: {steps[-1].output.text} There are: {names}."
        return f"No tool fits this request. There are: {names}."


def _read(reply: str) -> NextStep:
    try:
        return NextStep.model_validate_json(reply)
    except ValidationError:
        raise ModelNonsense("The model named no tool.") from None


def _has_result(steps: list[Step]) -> bool:
    return any(not step.output.is_error for step in steps)


def _is_repeated(wanted: NextStep, steps: list[Step]) -> bool:
    key = json.dumps(wanted.arguments, sort_keys=True)
    return any(step.name == wanted.tool and json.dumps(dict(step.arguments), sort_keys=True) == key for step in steps)


def _usage(usage: ChatUsage) -> Usage:
    return Usage(
        usage.model,
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        1,
        usage.time_to_first_token_s,
        usage.duration_s,
    )
