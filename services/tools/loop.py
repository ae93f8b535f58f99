"""The tool-use loop: the model picks a tool and its arguments, sees the result, and goes on, within bounds; then it
says what came out. A tool's failure is a result the model sees, and what the answer says is held to the results."""

import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.tools.grounding import Grounding, Step, render, untouched
from services.tools.menu import FINISH, NO_TOOL, call_schema
from services.tools.prompts import after_call, after_early_finish, after_nonsense, closing, opening
from services.tools.registry import ToolRegistry
from shared.call_context import CallContext
from shared.capability import Output, Result, TextDelta, ToolCall, ToolResult, Usage
from shared.capability.outputs import Outcome
from shared.errors import DeadlineExceeded, LimitExceeded, ModelNonsense, Unavailable
from shared.models.chat import ChatMessage, ChatModel, ChatUsage

MODEL_FAILURES = (Unavailable, DeadlineExceeded, LimitExceeded, ModelNonsense)
"""What a model call may fail with; results that came before are still worth an answer."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_OBJECT = re.compile(r"\{.*\}", re.DOTALL)


@dataclass(frozen=True)
class LoopLimits:
    """How far one task may go."""

    steps: int = 6
    """Replies of the model that ask for a tool."""
    output_tokens: int = 1_000
    """Tokens the model may write in all."""
    call_tokens: int = 300
    """Tokens of one reply that asks for a tool."""
    answer_tokens: int = 300
    model_timeout: timedelta = timedelta(seconds=90)
    """For one model call."""
    reserve: timedelta = timedelta(seconds=5)
    """With less time left than this the model is not asked again: the results themselves are the answer."""


@dataclass(frozen=True)
class Task:
    """What is to be done."""

    text: str
    known: str = ""
    """What earlier steps found out, in words."""
    output_tokens: int = 0
    """Tokens that may be written; 0 means the loop's own bound."""


class ToolLoop:
    """Does tasks with the tools of a registry. `clock` gives the time now with its zone."""

    def __init__(self, registry: ToolRegistry, clock: Callable[[], datetime], limits: LoopLimits | None = None) -> None:
        self._registry = registry
        self._clock = clock
        self._limits = limits or LoopLimits()

    def run(self, task: Task, model: ChatModel, call: CallContext) -> AsyncIterator[Output]:
        """Do one task: yields calls and results as they happen, usage, the answer's text, and the `Result`.

        Outcomes: "no_answer" when no tool fits or all failed, "incomplete" when a bound was reached first, "degraded"
        when the model failed after results came (they are the answer then). Raises one of MODEL_FAILURES when it fails
        before there is any result.
        """
        messages = opening(self._registry, task.text, task.known, self._clock())
        budget = _Budget(self._limits, task, call)
        return _Run(self._registry, model, budget, task, messages).outputs()


class _Budget:
    """What is left of tokens and time."""

    def __init__(self, limits: LoopLimits, task: Task, call: CallContext) -> None:
        self.limits = limits
        self._call = call
        self._tokens = min(task.output_tokens or limits.output_tokens, limits.output_tokens)

    @property
    def is_spent(self) -> bool:
        left = self.time_left()
        return self._tokens <= 0 or (left is not None and left <= self.limits.reserve)

    def time_left(self) -> timedelta | None:
        remaining = self._call.remaining_s()
        return None if remaining is None else timedelta(seconds=remaining)

    def tokens(self, at_most: int) -> int:
        return min(at_most, self._tokens)

    def model_timeout_s(self) -> float:
        return self._call.timeout_s(self.limits.model_timeout.total_seconds())

    def spend(self, usage: ChatUsage) -> Usage:
        """Count one model call, and put it as the SDK reports it."""
        self._tokens -= usage.output_tokens
        return Usage.of(usage)


class _Run:
    """One task under way."""

    def __init__(
        self, registry: ToolRegistry, model: ChatModel, budget: _Budget, task: Task, messages: list[ChatMessage]
    ) -> None:
        self._registry = registry
        self._model = model
        self._budget = budget
        self._task = task
        self._messages = messages
        self._steps: list[Step] = []
        self._failures_in_a_row = 0
        self._is_reminded = False
        self._outcome: Outcome = "answered"

    async def outputs(self) -> AsyncIterator[Output]:
        async for output in self._gather():
            yield output
        if not self._has_result():
            text = self._refusal()
            yield TextDelta(text)
            yield Result(text, "no_answer")
            return
        parts = []
        async for output in self._answer():
            if isinstance(output, TextDelta):
                parts.append(output.text)
            yield output
        yield Result("".join(parts), self._outcome)

    async def _gather(self) -> AsyncIterator[Output]:
        """Call tools until the model has enough or repeats itself, or a bound is reached."""
        for number in range(1, self._budget.limits.steps + 1):
            if self._budget.is_spent:
                break
            try:
                reply, usage = await self._next_reply()
            except MODEL_FAILURES:
                if not self._has_result():
                    raise
                self._outcome = "degraded"
                return
            yield usage
            choice = _read_choice(reply)
            if choice is None:
                self._failures_in_a_row += 1
                self._messages += after_nonsense(reply)
                continue
            name, arguments = choice
            if name == FINISH and not self._is_reminded:
                self._is_reminded = True
                if parts := untouched(self._task.text, self._steps):
                    self._messages += after_early_finish(reply, parts)
                    continue
            if name in (FINISH, NO_TOOL) or self._is_repeated(name, arguments):
                return
            yield ToolCall(f"call-{number}", name, arguments)
            output = await self._registry.call(name, arguments, self._budget.time_left(), f"call-{number}")
            yield ToolResult(f"call-{number}", name, output.text, output.is_error)
            self._steps.append(Step(name, arguments, output))
            self._failures_in_a_row = self._failures_in_a_row + 1 if output.is_error else 0
            self._messages += after_call(reply, output)
        self._outcome = "incomplete"

    async def _next_reply(self) -> tuple[str, Usage]:
        completion = await self._model.complete(
            self._messages,
            schema=call_schema(self._registry, self._endings()),
            max_tokens=self._budget.tokens(self._budget.limits.call_tokens),
            timeout=self._budget.model_timeout_s(),
        )
        return completion.text, self._budget.spend(completion.usage)

    async def _answer(self) -> AsyncIterator[TextDelta | Usage]:
        """The model's words, sentence by sentence for as long as they hold, and then what they left out."""
        grounding = Grounding(f"{self._task.known}\n{self._task.text}", self._steps)
        written = ""
        if self._outcome != "degraded" and not self._budget.is_spent:
            try:
                async for item in self._sentences():
                    if isinstance(item, Usage):
                        yield item
                    elif not grounding.supports(item):
                        break
                    else:
                        written += item
                        yield TextDelta(item)
            except MODEL_FAILURES:
                self._outcome = "degraded"
        is_silent = not written.strip()
        rest = grounding.render() if is_silent else render(grounding.unsaid(written))
        if rest:
            yield TextDelta(rest if is_silent else f"\n{rest}")

    async def _sentences(self) -> AsyncIterator[str | Usage]:
        buffer = ""
        stream = self._model.stream(
            [*self._messages, *closing(self._task.text)],
            max_tokens=self._budget.tokens(self._budget.limits.answer_tokens),
            timeout=self._budget.model_timeout_s(),
        )
        async for delta in stream:
            buffer += delta.text
            while end := _SENTENCE_END.search(buffer):
                yield buffer[: end.end()]
                buffer = buffer[end.end() :]
            if delta.usage:
                yield self._budget.spend(delta.usage)
        if buffer:
            yield buffer

    def _endings(self) -> Sequence[str]:
        """How the model may end now. After one failure it has to try again: small models give up too soon."""
        if self._failures_in_a_row == 1:
            return ()
        return (FINISH,) if self._has_result() else (NO_TOOL,)

    def _has_result(self) -> bool:
        return any(not step.output.is_error for step in self._steps)

    def _is_repeated(self, name: str, arguments: dict[str, Any]) -> bool:
        """Asking the same again means that the model is stuck: the same result will not help it on."""
        return any(step.name == name and step.arguments == arguments for step in self._steps)

    def _refusal(self) -> str:
        names = ", ".join(self._registry.names)
        if self._steps:
            return f"The tools could not do this. {self._steps[-1].output.text}"
        return f"No tool here fits this request. There are: {names}."


def _read_choice(reply: str) -> tuple[str, dict[str, Any]] | None:
    """Tool and arguments in a reply; a server that knows no grammar may put words or a fence around the object."""
    found = _OBJECT.search(reply)
    try:
        choice = json.loads(found.group()) if found else None
    except ValueError:
        return None
    if not isinstance(choice, dict) or not isinstance(choice.get("tool"), str):
        return None
    arguments = choice.get("arguments", {})
    return (choice["tool"], arguments) if isinstance(arguments, dict) else None
