"""What the reviews of a run came to."""

import json
from typing import Any, cast

from services.agent.state import RunState

REVIEWER = "reviewer"
"""The role whose hops bring verdicts."""
VERDICT = "verdict"
"""The kind of the artifact that a verdict is."""


def is_approved(state: RunState) -> bool:
    """Whether the newest review approves. One that failed, or brought no verdict, does not."""
    hop = next((hop for hop in reversed(state["hops"]) if hop["role"] == REVIEWER), None)
    verdicts = [item for item in hop["artifacts"] if item.get("kind") == VERDICT] if hop and not hop["error"] else []
    if not verdicts:
        return False
    try:
        verdict: Any = json.loads(cast(str, verdicts[-1]["text"]))
    except (ValueError, TypeError, KeyError):
        return False
    return isinstance(verdict, dict) and verdict.get("is_approved") is True


def is_unresolved(state: RunState) -> bool:
    """Whether there was a review and the newest one does not approve."""
    return any(hop["role"] == REVIEWER for hop in state["hops"]) and not is_approved(state)
