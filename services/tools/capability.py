"""Tools as the mesh sees them: a capability that the router can recommend."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from services.tools.loop import ToolLoop
from shared.call_context import CallContext
from shared.capability import Descriptor, Invocation, Output
from shared.capability.service import Effort
from shared.models.chat import ChatModel


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
        return self._loop.run(invocation.task, self._models[invocation.effort], call)
