"""What a step asks: the run waits, and the step is done again from the same state when there is an answer."""

from typing import Any

from langgraph.types import interrupt

from services.agent.state import RunState

ENTRY = "guardian_entry"
"""What of the guardian's log the state had when the step asked; the answer is about that state and no later one."""


def ask(state: RunState, text: str, asked_by: str, response_schema: dict[str, Any]) -> Any:
    """The answer; while there is none, the step ends here."""
    asked = {"text": text, "asked_by": asked_by, "response_schema": response_schema, ENTRY: state.get(ENTRY, 0)}
    return interrupt(asked)
