"""What the chat model says of a program that ran: calls worth trying, faults it sees, and whether it would approve."""

from dataclasses import dataclass
from typing import Any

from services.coding.prompts import REVIEW_SCHEMA, review_messages
from services.coding.sandbox.execution import Execution
from services.coding.verdict import Finding, Severity
from shared.errors import ModelNonsense
from shared.models.chat import ChatMessage, ChatModel, ChatUsage

MAX_REVIEW_TOKENS = 500
_ATTEMPTS = 2


@dataclass(frozen=True)
class Opinion:
    """A model's word, shown by nothing yet."""

    calls: tuple[str, ...]
    findings: tuple[Finding, ...]
    is_approved: bool
    summary: str

    @property
    def objects(self) -> bool:
        """Whether it stands against approval; an approval that its own findings contradict does not count."""
        return not self.is_approved or any(finding.severity is not Severity.MINOR for finding in self.findings)


async def ask_opinion(
    model: ChatModel, task: str, code: str, tests: str, execution: Execution
) -> tuple[Opinion | ModelNonsense, ChatUsage]:
    """Asks, and once more after nonsense; the second nonsense is returned, for it has a price too.

    Raises what the model raises besides.
    """
    messages = review_messages(task, code, tests, execution)
    usages: list[ChatUsage] = []
    for _ in range(_ATTEMPTS):
        completion = await model.complete(messages, schema=REVIEW_SCHEMA, max_tokens=MAX_REVIEW_TOKENS)
        usages.append(completion.usage)
        try:
            return _parse(completion.json(), len(code.splitlines())), _sum(usages)
        except ModelNonsense as error:
            nonsense = error
            messages = [*messages, ChatMessage("user", f"{error.message} Reply with JSON only.")]
    return nonsense, _sum(usages)


def _parse(reply: Any, line_count: int) -> Opinion:
    try:
        findings = tuple(
            Finding(Severity(item["severity"]), str(item["message"]), line=min(max(int(item["line"]), 0), line_count))
            for item in reply["findings"]
        )
        calls = tuple(str(call) for call in reply["calls"])
        return Opinion(calls, findings, reply["is_approved"] is True, str(reply["summary"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelNonsense(f"The model's review does not follow its schema: {error}.") from error


def _sum(usages: list[ChatUsage]) -> ChatUsage:
    return ChatUsage(
        model=usages[0].model,
        input_tokens=sum(usage.input_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
        cached_tokens=sum(usage.cached_tokens for usage in usages),
        time_to_first_token_s=usages[0].time_to_first_token_s,
        duration_s=sum(usage.duration_s for usage in usages),
    )
