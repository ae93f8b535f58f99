"""Writes a program for a task, runs it, and repairs it once when it fails; tells all of it as it happens."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from services.coding.extract import extract_code, is_stuck
from services.coding.inbox import findings_in, words_in
from services.coding.prompts import NO_CODE, REFUSED, complaint_of, repair_messages, revise_messages, write_messages
from services.coding.sandbox.execution import Execution
from services.coding.sandbox.program import MAIN, Program
from services.coding.sandbox.sandbox import Sandbox
from shared.call_context import CallContext
from shared.capability import Artifact, Invocation, Output, Result, TextDelta, Usage
from shared.errors import ModelNonsense
from shared.models.chat import ChatMessage, ChatModel

MAX_ATTEMPTS = 2
MAX_SHOWN_CHARS = 2_000
RETRY_TEMPERATURE = 0.7
SERVICE = "coding"
OWN_KINDS = ("code", "run", "verdict")


@dataclass
class _Draft:
    """One attempt at a program, as far as it has come."""

    number: int
    temperature: float
    reply: str = ""
    output_tokens: int = 0
    code: str | None = None
    execution: Execution | None = None
    refused: str = ""
    """The program that a review refused; a draft that is the same is no repair."""

    @property
    def is_repeated(self) -> bool:
        """Whether it is the refused program again."""
        return self.code is not None and self.code.split() == self.refused.split()

    @property
    def is_success(self) -> bool:
        """Whether there is a program that runs, and is not known to be wrong."""
        return self.execution is not None and self.execution.is_success and not self.is_repeated

    @property
    def complaint(self) -> str:
        """What is wrong with it, for the model."""
        return complaint_of(self.execution) if self.execution else NO_CODE


@dataclass(frozen=True)
class _Order:
    """What is asked of the model."""

    messages: list[ChatMessage]
    """For a program, or, when a review found fault with one, for its repair."""
    anew: list[ChatMessage]
    """For another program than the refused one."""
    refused: str = ""

    @classmethod
    def of(cls, invocation: Invocation) -> "_Order":
        """From the task, the work of earlier hops and the inbox."""
        findings, former = findings_in(invocation.inbox), newest_code(invocation.context)
        words = words_in(invocation.inbox)
        mind = "\n".join(filter(None, (words, findings and f"{REFUSED}\n{findings}")))
        if not findings or not former:
            messages = write_messages(invocation.task, invocation.context, mind)
            return cls(messages, messages)
        # what the program printed and what was said of it stands in the findings, as far as it matters
        sources = [item for item in invocation.context if item.name != SERVICE and item.kind not in OWN_KINDS]
        return cls(
            revise_messages(invocation.task, sources, words, former.text, findings),
            write_messages(invocation.task, sources, mind),
            former.text,
        )


class Coder:
    """The role that writes code."""

    def __init__(self, sandbox: Sandbox, max_output_tokens: int) -> None:
        self._sandbox = sandbox
        self._max_output_tokens = max_output_tokens

    async def write(self, model: ChatModel, invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
        """Yields text, code and runs, and a result that is `incomplete` when the repaired program fails as well.

        A model that answers a review with the same program is asked for another, at a temperature. No model is asked
        on a machine that cannot run its code.

        Raises ModelNonsense when the model writes no program twice, and what the model and the sandbox raise.
        """
        await self._sandbox.check()
        order = _Order.of(invocation)
        messages, temperature = order.messages, 0.0
        tokens = min(invocation.max_output_tokens or self._max_output_tokens, self._max_output_tokens)
        told: list[str] = []
        execution: Execution | None = None
        for number in range(1, MAX_ATTEMPTS + 1):
            if number > 1:
                yield _remember(TextDelta("\n\nAnother try:\n\n"), told)
            draft = _Draft(number, temperature, refused=order.refused)
            async with aclosing(cast(Any, self._attempt(model, messages, tokens, draft, invocation, call))) as outputs:
                async for output in outputs:
                    yield _remember(output, told)
            tokens -= draft.output_tokens
            execution = draft.execution or execution
            if tokens <= 0 or draft.is_success:
                break
            if draft.is_repeated:
                messages, temperature = order.anew, RETRY_TEMPERATURE
            else:
                messages = [*messages, *repair_messages(draft.reply, draft.complaint)]
        if execution is None:
            raise ModelNonsense(
                f"The model wrote no Python program for this task in {number} replies.",
                remedy="Ask for a program in plain words, or set a larger model.",
            )
        yield Result("".join(told), "answered" if draft.is_success else "incomplete")

    async def _attempt(
        self,
        model: ChatModel,
        messages: Sequence[ChatMessage],
        max_tokens: int,
        draft: _Draft,
        invocation: Invocation,
        call: CallContext,
    ) -> AsyncIterator[Output]:
        async with aclosing(cast(Any, self._reply(model, messages, max_tokens, draft))) as outputs:
            async for output in outputs:
                yield output
        draft.code = extract_code(draft.reply, is_one_block=bool(draft.refused))
        if draft.code is None:
            return
        yield _code_artifact(invocation, draft)
        limits = self._sandbox.limits.within(call.remaining_s())
        draft.execution = await self._sandbox.run(Program(draft.code), limits)
        yield _run_artifact(invocation, draft, draft.execution)
        yield TextDelta(_report(draft.reply, draft.execution))

    async def _reply(
        self, model: ChatModel, messages: Sequence[ChatMessage], max_tokens: int, draft: _Draft
    ) -> AsyncIterator[Output]:
        async with aclosing(
            cast(Any, model.stream(messages, max_tokens=max_tokens, temperature=draft.temperature))
        ) as deltas:
            async for delta in deltas:
                if delta.text:
                    draft.reply += delta.text
                    draft.output_tokens += 1
                    yield TextDelta(delta.text)
                if delta.usage:
                    draft.output_tokens = delta.usage.output_tokens
                    yield Usage.of(delta.usage)
                elif "\n" in delta.text and is_stuck(draft.reply):
                    # We leave before the usage comes: a piece is a token.
                    yield Usage(output_tokens=draft.output_tokens)
                    break


def newest_code(context: Sequence[Artifact]) -> Artifact | None:
    """The last program among the work of earlier hops."""
    return next((item for item in reversed(context) if item.kind == "code" and item.text.strip()), None)


def _remember(output: Output, told: list[str]) -> Output:
    if isinstance(output, TextDelta):
        told.append(output.text)
    return output


def _report(reply: str, execution: Execution) -> str:
    """Says how the program's run went, in Markdown, after the reply that holds the program."""
    fences = [line for line in reply.splitlines() if line.lstrip().startswith("```")]
    lines = ["\n```\n" if len(fences) % 2 else "\n"]
    if not execution.is_success:
        lines.append(f"It did not run: {execution.describe()}. {execution.last_error}".rstrip())
    if execution.stdout.strip():
        lines.append(f"It printed:\n\n{_fenced(execution.stdout)}")
    elif execution.is_success:
        lines.append("It ran and printed nothing.")
    if execution.files:
        lines.append("It wrote " + ", ".join(f"{file.name} ({file.size_bytes} bytes)" for file in execution.files))
    return "\n\n".join(lines)


def _fenced(text: str) -> str:
    shown = text.rstrip("\n")
    if len(shown) > MAX_SHOWN_CHARS:
        shown = f"{shown[:MAX_SHOWN_CHARS]}\n… ({len(shown) - MAX_SHOWN_CHARS} more characters in the run artifact)"
    fence = "````" if "```" in shown else "```"
    return f"{fence}text\n{shown}\n{fence}"


def _code_artifact(invocation: Invocation, draft: _Draft) -> Artifact:
    return Artifact(
        id=_artifact_id(invocation, "code", draft),
        kind="code",
        name=MAIN,
        media_type="text/x-python",
        text=draft.code or "",
        metadata={"attempt": str(draft.number)},
    )


def _run_artifact(invocation: Invocation, draft: _Draft, execution: Execution) -> Artifact:
    return Artifact(
        id=_artifact_id(invocation, "run", draft),
        kind="run",
        name=f"run of {MAIN}",
        media_type="application/json",
        text=json.dumps(execution.to_json(), ensure_ascii=False),
        metadata={
            "attempt": str(draft.number),
            "code": _artifact_id(invocation, "code", draft),
            "state": execution.state.value,
            "exit_code": str(execution.exit_code),
        },
    )


def _artifact_id(invocation: Invocation, kind: str, draft: _Draft) -> str:
    return f"coding-{invocation.hop_index}-{kind}-{draft.number}"
