"""Tools as the mesh sees them: a capability that the router can recommend."""

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from services.tools.loop import Task, ToolLoop
from shared.call_context import CallContext
from shared.capability import Descriptor, Invocation, Output
from shared.capability.service import Effort
from shared.models.chat import ChatModel

MAX_KNOWN_CHARS = 1_200
"""How much of earlier work and messages the model is shown."""


def describe_tools() -> Descriptor:
    """Return the descriptor, with the example requests that lie beside this module."""
    examples = Path(__file__).with_name("examples.txt").read_text(encoding="utf-8").splitlines()
    return Descriptor(
        name="tools",
        description=(
            "Calculates, works with dates, time zones and units, reads files, fetches web pages, queries databases."
        ),
        tags=("tools", "calculator", "dates", "units", "files", "web", "sql"),
        examples=tuple(line for line in examples if line.strip()),
        # every built-in tool only reads
        is_idempotent=True,
    )


class ToolsCapability:
    """Hands a task to the loop, with the model for its effort."""

    def __init__(self, descriptor: Descriptor, loop: ToolLoop, models: Mapping[Effort, ChatModel]) -> None:
        self.descriptor, self._loop, self._models = descriptor, loop, models

    def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
        """See `Capability.invoke`."""
        task = Task(invocation.task, _known(invocation), invocation.max_output_tokens)
        return self._loop.run(task, self._models[invocation.effort], call)


def _known(invocation: Invocation) -> str:
    """Messages for this role and the work of earlier hops, in words; the newest first, and the rest cut."""
    messages = (f"{message.sender_role}: {json.dumps(message.payload)}" for message in reversed(invocation.inbox))
    works = (f"{artifact.name}: {artifact.text}" for artifact in reversed(invocation.context))
    return "\n".join([*messages, *works])[:MAX_KNOWN_CHARS]
