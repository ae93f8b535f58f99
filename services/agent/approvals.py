"""Which calls somebody must approve first, and how they are asked."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from shared.errors import Forbidden

APPROVE, DENY = "approve", "deny"
MAX_COMMENT_CHARS = 2_000
MAX_TASK_CHARS = 500
"""Of the task, what the question shows."""
RISKS = ("risk:low", "risk:high")
"""Every call, and those that cannot be repeated without harm (services that are not idempotent)."""
TOOL = "tool:"
"""Begins the name of a single tool."""
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}|tool:[\w.-]{1,64}", re.ASCII)

_DECISIONS = {"enum": [APPROVE, DENY]}
SCHEMA: dict[str, Any] = {
    "anyOf": [
        _DECISIONS,
        {
            "type": "object",
            "properties": {"decision": _DECISIONS, "comment": {"type": "string", "maxLength": MAX_COMMENT_CHARS}},
            "required": ["decision"],
            "additionalProperties": False,
        },
    ]
}
"""An answer is the word alone, or the word with a comment."""


@dataclass(frozen=True)
class Approvals:
    """The policy: names of capabilities, roles and tools, and levels of risk."""

    names: Collection[str] = ()

    def is_needed(self, capability: str, role: str, *, is_idempotent: bool) -> bool:
        """Whether somebody must approve this call."""
        asked = set(self.names)
        return bool(asked & {capability, role, "risk:low"}) or ("risk:high" in asked and not is_idempotent)

    @property
    def tools(self) -> tuple[str, ...]:
        """The tools whose calls somebody must approve, whoever has them."""
        return tuple(sorted(name.removeprefix(TOOL) for name in self.names if name.startswith(TOOL)))


def check_names(names: Collection[str]) -> None:
    """Raise `ValueError` for what names no capability, role or risk."""
    for name in names:
        if name not in RISKS and not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} is no name of a capability, role or tool (tool:…), and none of {', '.join(RISKS)}"
            )


def question(capability: str, role: str, task: str) -> str:
    """What is asked before a call."""
    acting = f" as {role}" if role and role != capability else ""
    return f"May {capability} be called{acting}? Its task: {task[:MAX_TASK_CHARS]}"


def tool_question(capability: str, tool: str, arguments: str, before: int) -> str:
    """What is asked before a tool call; `before` it so many others of the same task were approved."""
    again = f" The task begins anew, and what was approved before ({before}) may be called again." if before else ""
    return f"May {capability} call the tool {tool}? Its arguments: {arguments}{again}"


def denial(answer: Any) -> Forbidden | None:
    """Why the call must not be made; None when it was approved."""
    decision, comment = (answer["decision"], answer.get("comment", "")) if isinstance(answer, dict) else (answer, "")
    if decision == APPROVE:
        return None
    return Forbidden(f"The call was denied{f': {comment}' if comment.strip() else '.'}")
